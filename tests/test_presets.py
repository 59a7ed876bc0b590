"""The presets: locked, of the published layers and parameters, and each of them trains, loads and exports."""

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
from tiny_presets import tiny

from genre_tagger.config import Config, load_config, preset_names
from genre_tagger.errors import UserError
from genre_tagger.export.folding import inference_model
from genre_tagger.models.cnn import cnn_branch
from genre_tagger.models.tagger import build_tagger, load_tagger
from genre_tagger.models.wavenet import cascade, wavenet
from genre_tagger.training.losses import WeightedBinaryCrossentropy

PINNED = yaml.safe_load(Path(__file__).with_name("presets.yaml").read_text(encoding="utf-8"))
V1 = ("wavenet_only", "parallel_64", "deep_8x4", "parallel_128", "weighted", "wide_cnn", "elu_gate")
V2 = ("no_dropout", "squeeze_excite", "resnext")
V3 = ("stable", "squeeze_excite_max", "attention")
SYSTEMS = ("crnn_baseline", *V1, *V2, *V3, "fcn", "short_chunk_resnet", "best")
PARALLEL = [name for name in (*V1, *V2, *V3, "best") if name != "wavenet_only"]
# At tiny widths the others are `parallel_64` again; those behind have layers of their own.
DISTINCT = [name for name in SYSTEMS if name not in ("deep_8x4", "parallel_128", "weighted", "wide_cnn", "best")]
OWN_LAYERS = ("crnn_baseline", "wavenet_only", "squeeze_excite_max", "resnext", "attention", "short_chunk_resnet")
TAGS = 3


# Locked


def laid_over(base, change):
    """Nested values with those of a change in place of their own."""
    both = isinstance(base, dict) and isinstance(change, dict)
    return {**base, **{key: laid_over(base.get(key), value) for key, value in change.items()}} if both else change


def test_every_preset_is_pinned():
    assert sorted(PINNED) == sorted(["defaults", *preset_names()])
    assert set(SYSTEMS) <= set(preset_names())


@pytest.mark.parametrize("name", PINNED)
def test_locked(name):
    """A change of what a preset means has to be made in tests/presets.yaml too."""
    config = Config() if name == "defaults" else load_config(name)
    expected = laid_over(PINNED["defaults"], {} if name == "defaults" else PINNED[name])
    assert json.loads(config.model_dump_json()) == expected


@pytest.mark.parametrize("name", preset_names())
def test_head_comment(name):
    """Where it comes from, how it is run, what was published; for the demo's own preset, where its score stands."""
    text = (resources.files("genre_tagger.presets") / f"{name}.yaml").read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("# ")]
    for beginning in ("# Source: ", "# Command: genre-tagger ", "# Published: " if name != "small" else "# Score"):
        assert any(line.startswith(beginning) for line in head), beginning
    if name in SYSTEMS:
        assert f"--preset {name}" in text


# Parameters of each part, by hand from the description of the systems


def convolution(positions, inputs, outputs, bias=True):
    return positions * inputs * outputs + bias * outputs


def norm(channels):
    return 2 * channels  # scale and offset


def dense(inputs, outputs):
    return (inputs + 1) * outputs


def plain_cnn(kernels, output):
    """3x3 convolutions, each with batch norm."""
    widths = (1, *kernels, output)
    return sum(convolution(9, before, after) + norm(after) for before, after in itertools.pairwise(widths))


def squeeze_excite(kernels):
    """1x1 to a sixteenth and back, in each block."""
    return sum(dense(width, width // 16) + dense(width // 16, width) for width in kernels)


def resnext_cnn(kernels, output):
    """1x1 to half, 3x3 in 32 groups, 1x1 back, each with batch norm; a 1x1 with batch norm where the width changes."""
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
    """1x1 in; three pairs of 3; 1x1; 1x1 back to the 1,366 frames."""
    pair = 2 * convolution(3, width, width) + norm(width) + first_norm * norm(width)
    mix = convolution(1, width, width) + mix_norm * norm(width)
    return convolution(1, 1366, width) + 3 * pair + mix + convolution(1, width, 1366)


def wavenet_parameters(layers, output, mix_norm, readout=0):
    """Kernels of 2, 32 channels, 256 skip channels; the last layer's way back to the residual reaches no output."""
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


def test_the_hand_counts_give_the_published_ones():
    """Those of the third version are published, the last layer's way back (1,088) among them."""
    assert PARTS["stable"] == (518_400, 6_392_150, 520_256 - 1_088)


@pytest.mark.parametrize("name", PARTS)
def test_parameters_of_each_part(name):
    model = load_config(name).model
    for part, expected in zip(BUILDERS, PARTS[name], strict=True):
        section = getattr(model, part)
        assert (None if section is None else trainable(part, section)) == expected, part


# Each of them at tiny widths, on windows of half a second


def sound(config):
    return np.random.default_rng(0).normal(0, 0.1, (4, config.window_samples)).astype("float32")


@pytest.fixture(scope="module", params=SYSTEMS)
def trained(request):
    """(preset, configuration, model after one training step, its gradients by the paths of the weights)."""
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
    # Behind the ReLU of the one squeezed channel of these widths may be nothing.
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
    """The widths of every preset fit `merge: add` as they stand."""
    branches = load_config(name, overrides=["model.merge=add"]).model
    assert branches.wavenet.output_width == branches.cnn.output_width
    if name in ("parallel_64", "attention"):  # built once in each read-out
        model = build_tagger(tiny(name, merge="add"), TAGS)
        assert model.get_layer("merge").output.shape == (None, 6)
        assert isinstance(model.get_layer("merge"), keras.layers.Add)


def test_dropout_is_gone_beside_batch_norm():
    """V1 has it in the branches and the head, V2 in the head alone."""
    for name, prefixes in (("parallel_64", {"cnn", "cascade", "wavenet", "head"}), ("no_dropout", {"head"})):
        model = build_tagger(tiny(name), TAGS)
        dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        assert {layer.name.split("_")[0] for layer in dropouts} == prefixes


# Bad input


def test_misspelt():
    with pytest.raises(UserError, match=r"--preset: unknown preset 'squeze_excite'; did you mean squeeze_excite"):
        load_config("squeze_excite")


REFUSED = {
    "unequal widths": ("wavenet_only", ["model.crnn={}", "model.merge=add"], r"add needs .* wavenet 64, crnn 32"),
    "groups": ("resnext", ["model.cnn.kernels=[64, 96, 128, 128]"], r"kernels': found \[64, 96, 128, 128\].*of 64"),
    "heads": ("attention", ["model.wavenet.attention.heads=3"], r"heads': found 3, expected a divisor of .* = 256"),
    "no branch": ("crnn_baseline", ["model.crnn=none"], r"'model': expected a branch"),
    "empty": ("crnn_baseline", ["model.crnn.recurrent_widths=[]"], r"'model\.crnn\.recurrent_widths': found \[\]"),
    "unknown": ("attention", ["model.wavenet.attention.head=2"], r"attention\.head': unknown; did you mean heads"),
    "unknown in a section left out": ("stable", ["model.crnn.kernles=[1]"], r"model\.crnn\.kernles': unknown; did"),
}


@pytest.mark.parametrize("name, overrides, message", REFUSED.values(), ids=REFUSED)
def test_refused(name, overrides, message):
    with pytest.raises(UserError, match=message) as refusal:
        build_tagger(load_config(name, overrides=overrides), TAGS)
    assert "\n" not in str(refusal.value)
