"""The musicnn branch: its number of parameters, its values compared with NumPy, its preset, and training."""

import keras
import numpy as np
import pytest
from facts import expect_error
from numpy.lib.stride_tricks import sliding_window_view

from genre_tagger.config import load_config, parse_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.training.fit import compiled_tagger

TINY = {
    "frontend": {"sample_rate": 8000, "n_fft": 64, "hop_length": 32, "n_mels": 10, "center": False},
    "window": {"seconds": 0.16},
    "model": {
        "cnn": "none",
        "wavenet": "none",
        "musicnn": {"timbral_filters": 5, "temporal_filters": 3, "midend_filters": 4, "output_width": 6},
        "head": {"widths": []},
        "batch_norm_momentum": 0.8,
    },
}
TAGS = 3


@pytest.fixture(scope="module")
def config():
    return parse_config(TINY)


@pytest.fixture(scope="module")
def model(config, randomise):
    model = build_tagger(config, TAGS)
    randomise(model)
    for weight in model.weights:
        if weight.name == "gamma":  # with a negative scale, pooling before batch norm would give other values
            weight.assign(np.where(np.arange(weight.shape[0]) % 2, weight, -np.asarray(weight)))
    return model


def test_published_parameter_count():
    count = 2  # batch norm of the input: scale and offset
    count += (7 * 38 + 1) * 204 + 2 * 204  # timbral filters over 40 % of 96 bands, with bias and batch norm
    count += (7 * 67 + 1) * 204 + 2 * 204  # timbral filters over 70 %
    count += (128 + 64 + 32 + 3) * 51 + 3 * 2 * 51  # temporal filters
    count += (7 * (2 * 204 + 3 * 51) + 1) * 64 + 2 * 64  # mid-end
    count += 2 * ((7 * 64 + 1) * 64 + 2 * 64)
    pooled = 2 * (2 * 204 + 3 * 51 + 3 * 64)  # maximum and mean of all features
    count += 2 * pooled + (pooled + 1) * 200 + 2 * 200
    count += (200 + 1) * 50
    model = build_tagger(load_config("musicnn"), 50)
    assert count == 787_159 == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert model.get_layer("log_mel").output.shape == (None, 187, 96)
    assert model.get_layer("probabilities").input.shape == (None, 200)


def test_preset_has_the_published_settings():
    config = load_config("musicnn")
    frontend, window, net = config.frontend, config.window, config.model
    assert (frontend.sample_rate, frontend.n_fft, frontend.hop_length, frontend.n_mels) == (16_000, 512, 256, 96)
    assert (frontend.fmin_hz, frontend.fmax_hz, frontend.mel_exponent) == (0.0, None, 1.0)
    assert (frontend.compression, frontend.center, frontend.clip_margin) == ("log10", False, 256)
    assert (config.frames, config.window_samples, config.hop_samples) == (187, 186 * 256 + 512, 187 * 256)
    assert (window.train, window.evaluate, window.pooling) == ("random", "whole", "mean")
    assert net.musicnn.model_dump() == {
        "timbral_filters": 204,
        "temporal_filters": 51,
        "midend_filters": 64,
        "output_width": 200,
        "dropout": 0.5,
    }
    others = {key: value for key, value in net.model_dump().items() if key not in ("musicnn", "merge", "head")}
    assert {name: value for name, value in others.items() if value is not None} == {"batch_norm_momentum": 0.99}
    assert net.head.widths == ()
    training = config.training
    assert (training.batch_size, training.epochs, training.patience) == (32, 600, 75)
    assert (training.learning_rate, training.schedule, training.alpha) == (1e-3, "constant", 1.0)


def test_equals_plain_numpy(model, config):
    log_mel = np.random.default_rng(1).normal(0, 1, (2, config.frames, config.frontend.n_mels)).astype("float32")
    after_front_end = keras.Model(model.get_layer("log_mel").output, model.output)
    expected = np.stack([by_numpy(model, clip) for clip in log_mel])
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(after_front_end(log_mel, training=False), expected, atol=1e-5)


def by_numpy(model, log_mel):
    """Compute the probabilities [tags] of one log-mel spectrogram [frames, mels]."""

    def weights(name):
        return [np.asarray(weight, np.float64) for weight in model.get_layer(name).get_weights()]

    def norm(x, name):
        gamma, beta, mean, variance = weights(f"musicnn_{name}_norm")
        return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

    def filtered(patches, equation, name):
        kernel, bias = weights(f"musicnn_{name}")
        return norm(np.maximum(np.einsum(equation, patches, kernel) + bias, 0), name)

    x = norm(log_mel.astype(np.float64)[..., None], "input")[..., 0]
    features = []
    for number, bands in ((1, 4), (2, 7)):
        patches = sliding_window_view(np.pad(x, [[3, 3], [0, 0]]), (7, bands))
        features.append(filtered(patches, "tmij,ijcf->tmf", f"timbral{number}").max(axis=1))
    for number, frames in ((1, 128), (2, 64), (3, 32)):
        patches = sliding_window_view(np.pad(x, [[(frames - 1) // 2, frames // 2], [0, 0]]), frames, axis=0)
        features.append(filtered(patches, "tmi,ijcf->tmf", f"temporal{number}").max(axis=1))
    levels = [np.concatenate(features, axis=1)]
    for number in (1, 2, 3):
        patches = sliding_window_view(np.pad(levels[-1], [[3, 3], [0, 0]]), 7, axis=0)
        y = filtered(patches, "tci,icf->tf", f"midend{number}")
        levels.append(y if number == 1 else y + levels[-1])
    dense = np.concatenate(levels, axis=1)
    pooled = norm(np.concatenate([dense.max(axis=0), dense.mean(axis=0)]), "pooled")
    kernel, bias = weights("musicnn_output")
    output = norm(np.maximum(pooled @ kernel + bias, 0), "output")
    kernel, bias = weights("probabilities")
    return 1 / (1 + np.exp(-(output @ kernel + bias)))


def test_training_lowers_the_loss(config, noise):
    model = compiled_tagger(config, [True] * TAGS, steps=1)
    waveform, labels = noise(config), np.random.default_rng(0).integers(0, 2, (4, TAGS)).astype("float32")
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    losses = [float(model.train_on_batch(waveform, labels, return_dict=True)["loss"]) for _ in range(8)]
    assert np.isfinite(losses).all() and min(losses[4:]) < losses[0]
    kernels = [weight for weight in model.trainable_weights if weight.name == "kernel"]
    assert len(kernels) == 10
    assert all(np.abs(before[weight.path] - weight).max() > 0 for weight in kernels)


def test_dropout_reaches_the_model():
    model = build_tagger(parse_config({**TINY, "model": {**TINY["model"], "musicnn": {"dropout": 0.25}}}), TAGS)
    rates = {layer.name: layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"musicnn_pooled_dropout": 0.25, "musicnn_output_dropout": 0.25}


def test_merges_with_another_branch():
    branches = {"cnn": {"kernels": [4], "pools": [[2, 2]], "dropouts": [0], "output_width": 7}}
    model = build_tagger(parse_config({**TINY, "model": {**TINY["model"], **branches}}), TAGS)
    assert model.get_layer("merge").output.shape == (None, 7 + 6)


def test_too_few_bands_are_rejected():
    config = parse_config({**TINY, "frontend": {**TINY["frontend"], "n_mels": 2}})
    with expect_error("frontend.n_mels", 2, 3, "model.musicnn"):
        build_tagger(config, TAGS)
