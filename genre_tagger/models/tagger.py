"""The tagger: log-mel front-end, branches in parallel, merge and head, all built from a configuration."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import KerasTensor, layers
from packaging.version import Version

from genre_tagger.config import Config, HeadConfig, ModelConfig
from genre_tagger.errors import UserError
from genre_tagger.frontend import LogMelSpectrogram
from genre_tagger.models.cnn import cnn_branch
from genre_tagger.models.crnn import crnn_branch
from genre_tagger.models.layers import EPSILON
from genre_tagger.models.musicnn import musicnn
from genre_tagger.models.short_chunk import short_chunk_branch
from genre_tagger.models.spec_augment import SpecAugment
from genre_tagger.models.wavenet import wavenet

# Section of the configuration -> function that builds the branch from log-mel, section and batch-norm momentum.
# Every section has an `output_width`.
BRANCHES: dict[str, Callable[[KerasTensor, Any, float], KerasTensor]] = {
    "wavenet": wavenet,
    "cnn": cnn_branch,
    "crnn": crnn_branch,
    "short_chunk": short_chunk_branch,
    "musicnn": musicnn,
}
OUTPUT_NAME = "probabilities"


def build_tagger(config: Config, num_tags: int) -> keras.Model:
    """Build the model: `waveform` float32 [batch, samples] -> `probabilities` float32 [batch, tags].

    The initial weights depend on `config.seed`, which is set as the global seed (`keras.utils.set_random_seed`).

    Args:
        config: configuration of the run.
        num_tags: number of tags.

    Returns:
        The model with initial weights, not compiled.

    Raises:
        UserError: the configuration has no branch, or its sizes do not fit together.
    """
    _check(config)
    keras.utils.set_random_seed(config.seed)
    waveform = keras.Input((config.window_samples,), name="waveform")
    log_mel = frontend_layer(config)(waveform)
    if masks := config.model.spec_augment:
        log_mel = SpecAugment(**masks.model_dump(), seed=config.seed, dtype="float32", name="log_mel_masks")(log_mel)
    merged = _merge(_branches(log_mel, config.model), config.model)
    probabilities = _head(merged, config.model.head, config.model.batch_norm_momentum, num_tags)
    return keras.Model(waveform, probabilities, name="tagger")


def load_tagger(path: Path) -> keras.Model:
    """Load a saved tagger. Its layers are registered when this module is imported.

    Raises:
        UserError: the file does not exist, is not a saved tagger, or was saved by a newer Keras with arguments of
            layers that this Keras does not know.
    """
    try:
        saved_by = _keras_version(path)
        return keras.models.load_model(path)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be loaded as a model ({reason}); restore the file, or train again") from error
    except TypeError as error:  # findings/keras_3_15_files.sh
        if Version(saved_by) > Version(keras.__version__):
            raise UserError(
                f"{path}: saved by Keras {saved_by}, which Keras {keras.__version__} cannot read; expected the same "
                "Keras or a later one"
            ) from error
        raise  # an error in the code of a layer


def _keras_version(path: Path) -> str:
    """Return the version of Keras that saved a model; raise ValueError if the file is not a saved model."""
    with zipfile.ZipFile(path) as archive:
        if missing := {"config.json", "metadata.json"} - set(archive.namelist()):
            raise ValueError(f"found no {min(missing)} in it")
        return str(json.loads(archive.read("metadata.json"))["keras_version"])


def with_embedding(model: keras.Model) -> keras.Model:
    """Return a tagger that also outputs its embedding, the input of the output layer.

    Returns:
        waveform [batch, samples] -> probabilities [batch, tags], embedding [batch, dim].
    """
    embedding = model.get_layer(OUTPUT_NAME).input
    return keras.Model(model.inputs[0], [model.outputs[0], embedding], name=model.name)


def frontend_layer(config: Config) -> LogMelSpectrogram:
    """Return the front-end of a configuration, the same as in the tagger."""
    return LogMelSpectrogram(**config.frontend.model_dump(), name="log_mel")


def _branches(log_mel: KerasTensor, model: ModelConfig) -> list[KerasTensor]:
    momentum = model.batch_norm_momentum
    return [BRANCHES[name](log_mel, section, momentum) for name, section in _sections(model).items()]


def _sections(model: ModelConfig) -> dict[str, Any]:
    return {name: section for name in BRANCHES if (section := getattr(model, name)) is not None}


def _merge(branches: list[KerasTensor], model: ModelConfig) -> KerasTensor:
    if len(branches) == 1:
        return branches[0]
    return (layers.Concatenate if model.merge == "concat" else layers.Add)(name="merge")(branches)


def _head(x: KerasTensor, head: HeadConfig, momentum: float, num_tags: int) -> KerasTensor:
    for number, width in enumerate(head.widths, start=1):
        x = _head_dense(x, width, head, momentum, f"head_dense{number}")
        x = layers.Dropout(head.dropout, name=f"head_dropout{number}")(x)
    return layers.Dense(num_tags, activation="sigmoid", dtype="float32", name=OUTPUT_NAME)(x)


def _head_dense(x: KerasTensor, width: int, head: HeadConfig, momentum: float, name: str) -> KerasTensor:
    if not head.batch_norm:
        return layers.Dense(width, activation=head.activation, name=name)(x)
    x = layers.Dense(width, name=name)(x)
    x = layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, name=f"{name}_norm")(x)
    return layers.Activation(head.activation, name=f"{name}_activation")(x)


def _check(config: Config) -> None:
    model = config.model
    if config.window_samples < config.frontend.n_fft:
        raise UserError(
            f"config key 'window.seconds': {config.window.seconds} s is {config.window_samples} samples, "
            f"expected at least n_fft = {config.frontend.n_fft}"
        )
    widths = {name: section.output_width for name, section in _sections(model).items()}
    if not widths:
        raise UserError(f"config key 'model': expected a branch ({', '.join(BRANCHES)}), found none")
    if model.merge == "add" and len(set(widths.values())) > 1:
        found = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(f"config key 'model.merge': add needs the same output_width in all branches, found {found}")
