"""Building the tagger: parameter counts, every option, windows, precision, files and invalid configurations."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from facts import expect_error
from keras import layers

from genre_tagger.config import load_config, parse_config
from genre_tagger.models.tagger import build_tagger, load_tagger

TAGS = 3
BRANCH_OF_PREFIX = {"cnn": "cnn", "cascade": "cascade", "wavenet": "wavenet", "head": "head", "probabilities": "head"}


@pytest.fixture(scope="module")
def tiny_model(tiny_config, randomise):
    model = build_tagger(tiny_config(), TAGS)
    randomise(model)
    return model


def probabilities(model, waveform):
    return np.asarray(model(waveform, training=False))


# Parameters


def trainable_by_branch(model):
    counts = dict.fromkeys(("cnn", "cascade", "wavenet", "head"), 0)
    for layer in model.layers:
        count = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        if count:
            counts[BRANCH_OF_PREFIX[layer.name.split("_")[0]]] += count
    return counts


def test_published_parameter_counts():
    """The numbers of parameters equal those counted from the description of the published model."""
    model = build_tagger(load_config("stable"), 50)
    cnn = (9 * 1 + 1) * 64 + 2 * 64  # 3x3 with bias, then scale and offset of batch norm
    cnn += (9 * 64 + 1) * 128 + 2 * 128
    cnn += 3 * ((9 * 128 + 1) * 128 + 2 * 128)  # two more blocks and the output convolution
    cascade_count = (1366 + 1) * 512  # 1x1 in
    cascade_count += 6 * ((3 * 512 + 1) * 512 + 2 * 512)  # three pairs
    cascade_count += (512 + 1) * 512 + 2 * 512  # 1x1
    cascade_count += (512 + 1) * 1366  # 1x1 back
    layer = 2 * (2 * 32 * 32 + 2 * 32)  # filter and gate of kernel 2, each with batch norm
    layer += 32 * 256 + 2 * 256  # skip
    residual = 32 * 32 + 2 * 32
    wavenet_count = 2 * 9 * 32 + 30 * (layer + residual) - residual  # the last layer has no residual output
    wavenet_count += (256 + 1) * 256 + 2 * 256 + (256 + 1) * 128
    head = (256 + 1) * 512 + (512 + 1) * 256 + (256 + 1) * 50
    assert (cnn, cascade_count, wavenet_count, head) == (518_400, 6_392_150, 520_256 - 1_088, 275_762)
    assert trainable_by_branch(model) == {
        "cnn": cnn,
        "cascade": cascade_count,
        "wavenet": wavenet_count,
        "head": head,
    }
    total = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert total == 7_705_480
    assert round(100 * cascade_count / total) == 83
    assert model.input_shape == (None, 349_440)
    assert model.output_shape == (None, 50)


KNOBS = {
    "tiny": {},
    "cnn.kernels": {"cnn__kernels": [3, 5, 6, 8]},
    "cnn.blocks": {"cnn__kernels": [3, 5], "cnn__pools": [[2, 4], [3, 2]], "cnn__dropouts": [0.0, 0.0]},
    "cnn.kernel_size": {"cnn__kernel_size": 2},
    "cnn.output_width": {"cnn__output_width": 13},
    "cascade.width": {"wavenet__cascade__width": 10},
    "cascade.kernel_size": {"wavenet__cascade__kernel_size": 2},
    "wavenet.depth": {"wavenet__dilation_depth": 3},
    "wavenet.blocks": {"wavenet__blocks": 3},
    "wavenet.kernel_size": {"wavenet__kernel_size": 3},
    "wavenet.residual_channels": {"wavenet__residual_channels": 6},
    "wavenet.dilation_channels": {"wavenet__dilation_channels": 5},
    "wavenet.skip_channels": {"wavenet__skip_channels": 14},
    "wavenet.output_width": {"wavenet__output_width": 5},
    "head.widths": {"head__widths": [6]},
    "head.none": {"head__widths": []},
    "merge.add": {"merge": "add", "wavenet__output_width": 7},
    "cascade.none": {"wavenet__cascade": "none"},
    "cnn.none": {"cnn": "none"},
    "wavenet.none": {"wavenet": "none"},
}


@pytest.mark.parametrize("changes", KNOBS.values(), ids=KNOBS)
def test_every_width_and_depth_reaches_the_model(changes, tiny_config, noise, count_by_formula):
    config = tiny_config(**changes)
    model = build_tagger(config, TAGS)
    counts = count_by_formula(config, TAGS)
    assert trainable_by_branch(model) == counts
    assert not changes or counts != count_by_formula(tiny_config(), TAGS)
    waveform = noise(config)
    output = probabilities(model, waveform)
    assert output.shape == (len(waveform), TAGS)
    assert ((output >= 0) & (output <= 1)).all()


def dropout_rates(model):
    return {layer.name: layer.rate for layer in model.layers if isinstance(layer, layers.Dropout) and layer.rate}


def test_every_dropout_reaches_the_model(tiny_config):
    rates = {
        "cnn__dropouts": [0.1, 0.0, 0.2, 0.3],
        "wavenet__cascade__dropout": 0.4,
        "wavenet__dropout": 0.15,
        "head__dropout": 0.25,
    }
    model = build_tagger(tiny_config(**rates), TAGS)
    by_branch = {}
    for name, rate in dropout_rates(model).items():
        by_branch.setdefault(name.split("_")[0], []).append(rate)
    assert by_branch == {"cnn": [0.1, 0.2, 0.3], "cascade": [0.4] * 3, "wavenet": [0.15] * 4, "head": [0.25] * 2}


@pytest.mark.parametrize("rate, same", [(0.0, True), (0.5, False)])
def test_dropout_acts_in_training_only(rate, same, tiny_config, noise):
    config = tiny_config(head__dropout=rate)
    model = build_tagger(config, TAGS)
    waveform = noise(config)
    first, second = (np.asarray(model(waveform, training=True)) for _ in range(2))
    assert np.array_equal(first, second) == same
    np.testing.assert_array_equal(probabilities(model, waveform), probabilities(model, waveform))


def test_momentum_reaches_every_batch_norm(tiny_model):
    momenta = {layer.momentum for layer in tiny_model.layers if hasattr(layer, "moving_mean")}
    assert momenta == {0.8}


# Batches, windows, precision, files, invalid configurations


def test_batch_order_does_not_matter(tiny_model, tiny_config, noise):
    waveform = noise(tiny_config(), batch=6)
    order = np.random.default_rng(2).permutation(6)
    expected = probabilities(tiny_model, waveform)
    assert np.ptp(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(probabilities(tiny_model, waveform[order]), expected[order], atol=1e-6)
    np.testing.assert_allclose(probabilities(tiny_model, waveform[:1]), expected[:1], atol=1e-6)


@pytest.mark.parametrize("seconds", [3.0, 5.0, 8.0, 10.0, 29.12])
def test_window_lengths(seconds, tiny_config, noise):
    """The default pools, designed for 29.12 s, adapt to every shorter window."""
    config = tiny_config(cnn__pools=[[2, 4], [2, 4], [2, 4], [3, 5]], cnn__kernels=[4, 4, 4, 4])
    config = config.model_copy(update={"window": config.window.model_copy(update={"seconds": seconds})})
    model = build_tagger(config, TAGS)
    assert model.get_layer("log_mel").output.shape[1:] == (config.frames, 40)
    output = probabilities(model, noise(config, batch=2))
    assert output.shape == (2, TAGS)
    assert ((output > 0) & (output < 1)).all()


def test_published_pools():
    shapes = {
        f"cnn_block{number}_pool": shape
        for number, shape in enumerate([(48, 341), (24, 85), (12, 21), (4, 4)], start=1)
    }
    model = build_tagger(parse_config({"model": {"wavenet": "none", "cnn": {"kernels": [2, 2, 2, 2]}}}), TAGS)
    assert {name: model.get_layer(name).output.shape[1:3] for name in shapes} == shapes


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_near(policy, tiny_model, tiny_config, noise):
    config, before = tiny_config(), keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_tagger(config, TAGS)
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(tiny_model.get_weights())
    output = model(noise(config), training=False)
    assert output.dtype == tf.float32
    assert model.get_layer("log_mel").output.dtype == "float32"
    np.testing.assert_allclose(output, probabilities(tiny_model, noise(config)), atol=0.05)


def test_save_and_load(tiny_model, tiny_config, noise, tmp_path):
    tiny_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    waveform = noise(tiny_config())
    np.testing.assert_array_equal(probabilities(loaded, waveform), probabilities(tiny_model, waveform))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in tiny_model.layers]


def test_same_seed_same_weights(tiny_config):
    def weights(seed):
        model = build_tagger(tiny_config().model_copy(update={"seed": seed}), TAGS)
        return {weight.path: np.asarray(weight) for weight in model.trainable_weights}

    first, second, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(first[path], second[path]) for path in first)
    assert any(not np.array_equal(first[path], other[path]) for path in first)


INVALID = {
    "unequal widths to add": ({"model.merge": "add"}, ("model.merge", "wavenet 9", "cnn 7")),
    "no branch": (
        {"model.cnn": "none", "model.wavenet": "none"},
        ("'model'", "wavenet, cnn, crnn, short_chunk, musicnn"),
    ),
    "too few bands": ({"frontend.n_mels": 16}, ("frontend.n_mels", "model.wavenet.cascade.kernel_size")),
    "too few bands to pool": ({"frontend.n_mels": 26}, ("frontend.n_mels", "model.wavenet.cascade.kernel_size")),
    "pools": ({"model.cnn.pools": [[2, 2]]}, ("model.cnn", "4 kernels", "1 pools", "4 dropouts")),
    "dropouts": ({"model.cnn.dropouts": [0.1]}, ("model.cnn", "4 kernels", "4 pools", "1 dropouts")),
    "short window": ({"window.seconds": 0.04}, ("window.seconds", "480 samples", "n_fft = 512")),
}


@pytest.mark.parametrize("changes, facts", INVALID.values(), ids=INVALID)
def test_invalid_configurations_are_rejected(changes, facts, tiny_config):
    config = tiny_config(changes)
    with expect_error(*facts) as caught:
        build_tagger(config, TAGS)
    assert "\n" not in str(caught.value)


def with_unknown_argument(path, keras_version):
    """Give the first initializer of a saved model an unknown argument, and change the Keras version in its metadata."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b'"seed": null', b'"seed": null, "of_the_future": 1', 1)
    members["metadata.json"] = json.dumps({"keras_version": keras_version}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_file_of_a_newer_keras_is_refused_with_both_versions(tiny_model, tmp_path):
    path = tmp_path / "model.keras"
    tiny_model.save(path)
    with_unknown_argument(path, "99.1.0")
    with expect_error(path, "99.1.0", keras.__version__):
        load_tagger(path)


def test_fault_of_a_layer_is_not_hidden(tiny_model, tmp_path):
    path = tmp_path / "model.keras"
    tiny_model.save(path)
    with_unknown_argument(path, keras.__version__)
    with pytest.raises(TypeError):
        load_tagger(path)


@pytest.mark.parametrize("member", ["config.json", "metadata.json"])
def test_zip_file_that_is_no_model_is_refused(tiny_model, member, tmp_path):
    tiny_model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "model.keras", "w") as part:
        for name in set(whole.namelist()) - {member}:
            part.writestr(name, whole.read(name))
    with expect_error(tmp_path / "model.keras", member):
        load_tagger(tmp_path / "model.keras")


@pytest.mark.parametrize("content", [b"", b"not a zip file", None], ids=["empty", "text", "missing"])
def test_file_that_is_no_model_is_refused(content, tmp_path):
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    with expect_error(path):
        load_tagger(path)
