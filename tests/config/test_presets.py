"""The presets: pinned values, published layers and parameter counts. Each preset trains, loads and exports."""

import itertools
import json
from functools import cache
from importlib import resources
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from facts import expect_error
from tiny_presets import tiny

from genre_tagger.config import CascadeConfig, CnnConfig, Config, WavenetConfig, load_config, preset_names
from genre_tagger.export.folding import inference_model
from genre_tagger.models.cnn import cnn_branch
from genre_tagger.models.tagger import build_tagger, load_tagger
from genre_tagger.models.wavenet import cascade, wavenet
from genre_tagger.training.losses import WeightedBinaryCrossentropy

PINNED = yaml.safe_load(Path(__file__).with_name("presets.yaml").read_text(encoding="utf-8"))
DEFAULTS, DEFAULT_BRANCHES = PINNED.pop("defaults"), PINNED.pop("branches")
V1 = ("wavenet_only", "parallel_64", "deep_8x4", "parallel_128", "weighted", "wide_cnn", "elu_gate")
V2 = ("no_dropout", "squeeze_excite", "resnext")
V3 = ("stable", "squeeze_excite_max", "attention")
SYSTEMS = ("crnn_baseline", *V1, *V2, *V3, "fcn", "short_chunk_resnet", "best")
PARALLEL = [name for name in (*V1, *V2, *V3, "best") if name != "wavenet_only"]
# At tiny widths the systems that are left out equal others. OWN_LAYERS lists presets with layers that no other has.
DISTINCT = [name for name in SYSTEMS if name not in ("deep_8x4", "parallel_128", "weighted", "wide_cnn", "best")]
OWN_LAYERS = ("crnn_baseline", "wavenet_only", "squeeze_excite_max", "resnext", "attention", "short_chunk_resnet")
TAGS = 3


# Pinned values


def laid_over(base, change):
    """Return nested values in which the values of `change` replace those of `base`."""
    both = isinstance(base, dict) and isinstance(change, dict)
    return {**base, **{key: laid_over(base.get(key), value) for key, value in change.items()}} if both else change


def pinned(name):
    """Return the resolved values of a preset according to the file of pinned values."""
    branches = {branch: DEFAULT_BRANCHES[branch] for branch in PINNED[name]["model"] if branch in DEFAULT_BRANCHES}
    return laid_over(laid_over(DEFAULTS, {"model": branches}), PINNED[name])


def test_every_preset_is_pinned():
    assert sorted(PINNED) == preset_names()
    assert set(SYSTEMS) <= set(preset_names())


def test_defaults_are_pinned():
    assert json.loads(Config().model_dump_json()) == DEFAULTS
    branches = {"cnn": CnnConfig(), "wavenet": WavenetConfig(cascade=CascadeConfig())}
    assert {name: json.loads(section.model_dump_json()) for name, section in branches.items()} == DEFAULT_BRANCHES


@pytest.mark.parametrize("name", PINNED)
def test_values_are_pinned(name):
    """A change to the values of a preset must also be made in presets.yaml."""
    assert json.loads(load_config(name).model_dump_json()) == pinned(name)


@pytest.mark.parametrize("name", preset_names())
def test_head_comment(name):
    """The head gives the source, the command and the published score. `small` names the page of its score."""
    text = (resources.files("genre_tagger.presets") / f"{name}.yaml").read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("# ")]
    for beginning in ("# Source: ", "# Command: genre-tagger ", "# Published: " if name != "small" else "# Score"):
        assert any(line.startswith(beginning) for line in head), beginning
    if name in SYSTEMS:
        assert f"--preset {name}" in text


# Parameters of each part, counted by hand from the description of the systems


def convolution(positions, inputs, outputs, bias=True):
    return positions * inputs * outputs + bias * outputs


def norm(channels):
    return 2 * channels  # scale and offset


def dense(inputs, outputs):
    return (inputs + 1) * outputs


def plain_cnn(kernels, output):
    """Count 3x3 convolutions, each with batch norm."""
    widths = (1, *kernels, output)
    return sum(convolution(9, before, after) + norm(after) for before, after in itertools.pairwise(widths))


def squeeze_excite(kernels):
    """Count 1x1 convolutions to a sixteenth of the channels and back, in each block."""
    return sum(dense(width, width // 16) + dense(width // 16, width) for width in kernels)


def resnext_cnn(kernels, output):
    """Count the ResNeXt blocks.

    Each has a 1x1 to half the channels, a 3x3 in 32 groups and a 1x1 back, all with batch norm. If the width changes,
    there is another 1x1 with batch norm.
    """
    total, before = 0, 1
    for after in kernels:
        half = after // 2
        total += convolution(1, before, half) + norm(half)
        total += 32 * convolution(9, half // 32, half // 32) + norm(half)
        total += convolution(1, half, after) + norm(after)
        total += (convolution(1, before, after) + norm(after)) * (before != after)
        before = after
    return total + convolution(9, before, output) + norm(output)


def cascade_parameters(width, first_norm, mix_norm):
    """Count a 1x1, three pairs of kernel size 3, a 1x1, and a 1x1 back to the 1,366 frames."""
    pair = 2 * convolution(3, width, width) + norm(width) + first_norm * norm(width)
    mix = convolution(1, width, width) + mix_norm * norm(width)
    return convolution(1, 1366, width) + 3 * pair + mix + convolution(1, width, 1366)


def wavenet_parameters(layers, output, mix_norm, readout=0):
    """Count layers of kernel size 2, 32 channels and 256 skip channels. The last layer has no residual output."""
    filter_and_gate = 2 * (convolution(2, 32, 32, bias=False) + norm(32))
    skip = convolution(1, 32, 256, bias=False) + norm(256)
    back = convolution(1, 32, 32, bias=False) + norm(32)
    total = convolution(2, 9, 32, bias=False) + layers * (filter_and_gate + skip + back) - back
    return total + convolution(1, 256, 256) + mix_norm * norm(256) + readout + convolution(1, 256, output)


KERNELS, WIDE = (64, 128, 128, 128), (128, 256, 256, 256)
CASCADE_V1 = cascade_parameters(512, first_norm=False, mix_norm=False)
CASCADE_V2 = cascade_parameters(512, first_norm=False, mix_norm=True)
CASCADE_V3 = cascade_parameters(512, first_norm=True, mix_norm=True)
WAVENET_V1 = wavenet_parameters(30, 128, mix_norm=False)
WAVENET_V2 = wavenet_parameters(30, 128, mix_norm=True)
ATTENTION = 4 * dense(256, 256) + 2 * 256  # queries, keys, values, output; layer norm
PARTS = {  # cnn, cascade, wavenet
    "wavenet_only": (
        None,
        cascade_parameters(256, first_norm=False, mix_norm=False),
        wavenet_parameters(30, 64, mix_norm=False),
    ),
    "parallel_64": (plain_cnn(KERNELS, 64), CASCADE_V1, wavenet_parameters(30, 64, mix_norm=False)),
    "deep_8x4": (plain_cnn(KERNELS, 64), CASCADE_V1, wavenet_parameters(32, 64, mix_norm=False)),
    "parallel_128": (plain_cnn(KERNELS, 128), CASCADE_V1, WAVENET_V1),
    "weighted": (plain_cnn(KERNELS, 128), CASCADE_V1, WAVENET_V1),
    "wide_cnn": (plain_cnn(WIDE, 128), CASCADE_V1, WAVENET_V1),
    "elu_gate": (plain_cnn(KERNELS, 128), CASCADE_V1, WAVENET_V1),
    "no_dropout": (plain_cnn(KERNELS, 128), CASCADE_V2, WAVENET_V2),
    "squeeze_excite": (plain_cnn(KERNELS, 128) + squeeze_excite(KERNELS), CASCADE_V2, WAVENET_V2),
    "resnext": (resnext_cnn(KERNELS, 128), CASCADE_V2, WAVENET_V2),
    "stable": (plain_cnn(KERNELS, 128), CASCADE_V3, WAVENET_V2),
    "squeeze_excite_max": (plain_cnn(KERNELS, 128) + squeeze_excite(KERNELS), CASCADE_V3, WAVENET_V2),
    "attention": (plain_cnn(KERNELS, 128), CASCADE_V3, wavenet_parameters(30, 128, mix_norm=True, readout=ATTENTION)),
    "fcn": (plain_cnn((128, 384, 768), 2048), None, None),
}
BUILDERS = {"cnn": cnn_branch, "cascade": cascade, "wavenet": wavenet}
BANDS = {"cnn": 96, "cascade": 96, "wavenet": 9}


@cache
def trainable(part, section):
    inputs = keras.Input((1366, BANDS[part]))
    model = keras.Model(inputs, BUILDERS[part](inputs, section, 0.99))
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def without_cascade(model):
    return model.wavenet and model.wavenet.model_copy(update={"cascade": None})


def test_the_hand_counts_give_the_published_ones():
    """The counts of the third version are published. They include a residual output of the last layer, 1,088."""
    assert PARTS["stable"] == (518_400, 6_392_150, 520_256 - 1_088)


@pytest.mark.parametrize("name", PARTS)
def test_parameters_of_each_part(name):
    model = load_config(name).model
    sections = {"cnn": model.cnn, "cascade": model.wavenet and model.wavenet.cascade, "wavenet": without_cascade(model)}
    for (part, section), expected in zip(sections.items(), PARTS[name], strict=True):
        assert (None if section is None else trainable(part, section)) == expected, part


# Every system at tiny widths, on windows of half a second


def sound(config):
    return np.random.default_rng(0).normal(0, 0.1, (4, config.window_samples)).astype("float32")


@pytest.fixture(scope="module", params=SYSTEMS)
def trained(request):
    """Return the preset, its configuration, the model after a training step, and the gradients by weight path."""
    config = tiny(request.param)
    model = build_tagger(config, TAGS)
    labels = np.random.default_rng(1).integers(0, 2, (4, TAGS)).astype("float32")
    with tf.GradientTape() as tape:
        loss = WeightedBinaryCrossentropy(config.training.alpha)(labels, model(sound(config), training=True))
    weights = model.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    keras.optimizers.SGD(0.1).apply(gradients, weights)
    return request.param, config, model, {weight.path: part for weight, part in zip(weights, gradients, strict=True)}


def test_a_training_step_reaches_every_weight(trained):
    _, config, model, gradients = trained
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())
    still = [path for path, gradient in gradients.items() if "kernel" in path and not np.any(gradient)]
    # At these widths the squeezed layer has one channel, and its ReLU may be 0 for every clip.
    assert not [path for path in still if "_squeeze_dense" not in path and "_excite_dense" not in path]
    output = model(sound(config), training=False)
    assert output.shape == (4, TAGS)
    assert ((np.asarray(output) > 0) & (np.asarray(output) < 1)).all()


@pytest.mark.parametrize("trained", DISTINCT, indirect=True)
def test_exports_with_the_same_answers(trained):
    _, config, model, _ = trained
    folded = inference_model(model)
    expected = np.asarray(model(sound(config), training=False))
    assert np.ptp(expected, axis=0).max() > 1e-4  # the clips differ
    np.testing.assert_allclose(folded(sound(config))[0], expected, atol=1e-5)


@pytest.mark.parametrize("trained", OWN_LAYERS, indirect=True)
def test_loads_as_it_was_saved(trained, tmp_path):
    _, config, model, _ = trained
    model.save(tmp_path / "model.keras")
    loaded = load_tagger(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(sound(config)), model(sound(config)))


@pytest.mark.parametrize("name", PARALLEL)
def test_branches_can_be_added(name):
    """The branches of every parallel preset have the same width, so that `merge: add` needs no other change."""
    branches = load_config(name, overrides=["model.merge=add"]).model
    assert branches.wavenet.output_width == branches.cnn.output_width
    if name in ("parallel_64", "attention"):  # one preset per kind of read-out
        model = build_tagger(tiny(name, merge="add"), TAGS)
        assert model.get_layer("merge").output.shape == (None, 6)
        assert isinstance(model.get_layer("merge"), keras.layers.Add)


def test_no_dropout_together_with_batch_norm():
    """V1 has dropout in the branches and the head, V2 in the head only."""
    for name, prefixes in (("parallel_64", {"cnn", "cascade", "wavenet", "head"}), ("no_dropout", {"head"})):
        model = build_tagger(tiny(name), TAGS)
        dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert {layer.name.split("_")[0] for layer in dropouts} == prefixes


# Bad input


def test_misspelt():
    with expect_error("preset", "'squeze_excite'", "'squeeze_excite'"):
        load_config("squeze_excite")


REFUSED = {
    "unequal widths": (
        "wavenet_only",
        ["model.crnn={}", "model.merge=add"],
        ("model.merge", "wavenet 64", "crnn 32"),
    ),
    "groups": ("resnext", ["model.cnn.kernels=[64, 96, 128, 128]"], ("model.cnn.kernels", "[64, 96, 128, 128]", "64")),
    "heads": ("attention", ["model.wavenet.attention.heads=3"], ("model.wavenet.attention.heads", "found 3", "256")),
    "no branch": ("crnn_baseline", ["model.crnn=none"], ("'model'", "wavenet, cnn, crnn, short_chunk, musicnn")),
    "empty": ("crnn_baseline", ["model.crnn.recurrent_widths=[]"], ("model.crnn.recurrent_widths", "[]")),
    "unknown": ("attention", ["model.wavenet.attention.head=2"], ("model.wavenet.attention.head'", "'heads'")),
    "unknown in an absent section": ("stable", ["model.crnn.kernles=[1]"], ("model.crnn.kernles", "'kernels'")),
}


@pytest.mark.parametrize("name, overrides, facts", REFUSED.values(), ids=REFUSED)
def test_refused(name, overrides, facts):
    with expect_error(*facts) as refusal:
        build_tagger(load_config(name, overrides=overrides), TAGS)
    assert "\n" not in str(refusal.value)
