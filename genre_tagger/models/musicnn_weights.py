"""The published weights of musicnn: the wheel that contains them, their tags, and how they map to our layers."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genre_tagger.models.tagger import OUTPUT_NAME

REQUIREMENT = "musicnn==0.1.0"
WHEEL_NAME = "musicnn-0.1.0-py3-none-any.whl"
WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
NOTICE_MEMBER = "musicnn-0.1.0.dist-info/LICENSE.md"
CHECKPOINT = "MTT_musicnn"
CHECKPOINT_PARTS = (".index", ".data-00000-of-00001")  # in the wheel the files have these names

_TAG_LIST = (
    "guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano, ambient, beat, violin, vocal, "
    "synth, female, indian, opera, male, singing, vocals, no vocals, harpsichord, loud, quiet, flute, woman, "
    "male vocal, no vocal, pop, soft, sitar, solo, man, classic, choir, voice, new age, dance, male voice, "
    "female vocal, beats, harp, cello, no voice, weird, country, metal, female voice, choral"
)
TAGS = tuple(_TAG_LIST.split(", "))

# Each of these tuples lists layers in the order of the variable numbers in the checkpoint.
CONVOLUTIONS = ("timbral1", "timbral2", "temporal1", "temporal2", "temporal3", "midend1", "midend2", "midend3")
NORMS = ("input", *CONVOLUTIONS, "pooled", "output")
DENSE_LAYERS = ("musicnn_output", OUTPUT_NAME)
NORM_WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")


def extract_checkpoint(wheel: Path, folder: Path) -> Path:
    """Copy the checkpoint from the wheel to `folder`, without any other file, and return its path prefix."""
    prefix = folder / CHECKPOINT
    with zipfile.ZipFile(wheel) as archive:
        for part in CHECKPOINT_PARTS:
            content = archive.read(f"musicnn/{CHECKPOINT}/{part}")
            prefix.with_name(f"{CHECKPOINT}{part}").write_bytes(content)
    return prefix


def read_notice(wheel: Path) -> str:
    """Return the text of the licence, which must accompany every copy of the weights."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(NOTICE_MEMBER).decode("utf-8").strip()


def load_weights(model: keras.Model, prefix: Path) -> None:
    """Load the variables of a TensorFlow 1 checkpoint into a tagger of the preset `musicnn`.

    Args:
        model: tagger built with `TAGS`.
        prefix: path prefix of the checkpoint, as returned by `extract_checkpoint`.
    """
    import tensorflow as tf  # imported here because `genre_tagger.models` must import without TensorFlow

    reader = tf.train.load_checkpoint(str(prefix))

    def read(kind: str, number: int, names: tuple[str, ...]) -> list[np.ndarray[Any, Any]]:
        scope = f"{kind}_{number}" if number else kind
        return [reader.get_tensor(f"{scope}/{name}") for name in names]

    for number, name in enumerate(CONVOLUTIONS):
        layer = model.get_layer(f"musicnn_{name}")
        kernel, bias = read("conv2d", number, ("kernel", "bias"))
        # The checkpoint's mid-end kernels are 2-D: [frames, channels, 1, filters].
        layer.set_weights([kernel.reshape(layer.kernel.shape), bias])
    for number, name in enumerate(NORMS):
        weights = read("batch_normalization", number, NORM_WEIGHTS)
        weights = [_maxima_first(weight) for weight in weights] if name == "pooled" else weights
        model.get_layer(f"musicnn_{name}_norm").set_weights(weights)
    for number, name in enumerate(DENSE_LAYERS):
        kernel, bias = read("dense", number, ("kernel", "bias"))
        model.get_layer(name).set_weights([kernel if number else _maxima_first(kernel), bias])


def _maxima_first(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Reorder rows: the checkpoint alternates maximum and mean of each channel, our layer has all maxima first."""
    return np.concatenate([weight[0::2], weight[1::2]])
