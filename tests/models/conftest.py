"""A tiny config, waveforms for it, weights without trivial values, and parameter counts by hand."""

import numpy as np
import pytest

from genre_tagger.config import parse_config

NORM = ("gamma", "beta", "moving_mean", "moving_variance")

# Narrow, short and uneven, so that no two widths agree by chance. The first CNN block and the gates are wide for
# their inputs, and take their batch statistics from them. The WaveNet sees 8 of the 24 frames.
TINY = {
    "frontend": {"n_mels": 40},
    "window": {"seconds": 0.5},
    "model": {
        "cnn": {"kernels": [36, 5, 6, 4], "pools": [[2, 2], [2, 2], [2, 2], [2, 3]], "output_width": 7},
        "cascade": {"width": 8},
        "wavenet": {
            "dilation_depth": 2,
            "blocks": 2,
            "residual_channels": 4,
            "dilation_channels": 17,
            "skip_channels": 10,
            "output_width": 9,
        },
        "head": {"widths": [12, 11]},
        "batch_norm_momentum": 0.8,
    },
}


def merged(base, change):
    """Nested values with dotted keys replaced."""
    base = {key: merged(value, {}) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in change.items():
        *sections, last = key.split(".")
        place = base
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return base


def make_tiny_config(dotted=None, **changes):
    """The tiny config with changes of dotted keys, and `section__key=value` changes under `model`."""
    below_model = {"model." + key.replace("__", "."): value for key, value in changes.items()}
    return parse_config(merged(TINY, (dotted or {}) | below_model))


def make_noise(config, batch=4, seed=0):
    """float32 [batch, samples] of one window each."""
    return np.random.default_rng(seed).normal(0, 0.1, (batch, config.window_samples)).astype("float32")


def randomise_vectors(model, seed=0):
    """Random biases, scales, offsets and statistics too, so that none of them is trivial."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.name:
            continue
        if weight.ndim == 1 or weight.path.endswith(NORM):
            value = rng.uniform(0.5, 1.5, weight.shape) if weight.name in NORM else rng.normal(0, 0.1, weight.shape)
            weight.assign(value)


def convolution(positions, inputs, outputs, bias=True, norm=True):
    return positions * inputs * outputs + bias * outputs + norm * 2 * outputs


def count_cnn(cnn):
    inputs, total = 1, 0
    for outputs in (*cnn.kernels, cnn.output_width):
        total += convolution(cnn.kernel_size**2, inputs, outputs)
        inputs = outputs
    return total


def count_cascade(config):
    cascade = config.model.cascade
    width, kernel = cascade.width, cascade.kernel_size
    ends = convolution(1, config.frames, width, norm=False) + convolution(1, width, config.frames, norm=False)
    firsts = 3 * convolution(kernel, width, width, norm=cascade.first_batch_norm)
    seconds = 3 * convolution(kernel, width, width)
    return ends + firsts + seconds + convolution(1, width, width, norm=cascade.mix_batch_norm)


def count_bands_after_cascade(config):
    if config.model.cascade is None:
        return config.frontend.n_mels
    lost = config.model.cascade.kernel_size - 1
    return (((config.frontend.n_mels - 2 * lost) // 2 - 2 * lost) // 2 - lost) // 2


def count_wavenet(config):
    net = config.model.wavenet
    residual, dilated, skip, kernel = net.residual_channels, net.dilation_channels, net.skip_channels, net.kernel_size
    plain = {"bias": False}
    layer = 2 * convolution(kernel, residual, dilated, **plain) + convolution(1, dilated, skip, **plain)
    back = convolution(1, dilated, residual, **plain)
    count = net.dilation_depth * net.blocks
    total = convolution(kernel, count_bands_after_cascade(config), residual, bias=False, norm=False)
    total += count * layer + (count - 1) * back
    return (
        total + convolution(1, skip, skip, norm=net.mix_batch_norm) + convolution(1, skip, net.output_width, norm=False)
    )


def count_head(config, tags):
    model = config.model
    widths = [branch.output_width for branch in (model.wavenet, model.cnn) if branch is not None]
    inputs, total = sum(widths) if model.merge == "concat" else widths[0], 0
    for outputs in (*model.head.widths, tags):
        total += convolution(1, inputs, outputs, norm=False)
        inputs = outputs
    return total


def count_parameters(config, tags):
    """Trainable parameters of each branch, by hand from the config alone."""
    model = config.model
    return {
        "cnn": 0 if model.cnn is None else count_cnn(model.cnn),
        "cascade": 0 if model.cascade is None or model.wavenet is None else count_cascade(config),
        "wavenet": 0 if model.wavenet is None else count_wavenet(config),
        "head": count_head(config, tags),
    }


@pytest.fixture(scope="session")
def tiny_config():
    """`make_tiny_config`: a small config with the changes it is called with."""
    return make_tiny_config


@pytest.fixture(scope="session")
def noise():
    """`make_noise`: waveforms for a config."""
    return make_noise


@pytest.fixture(scope="session")
def randomise():
    """`randomise_vectors`: overwrites what a fresh model has as zeros and ones."""
    return randomise_vectors


@pytest.fixture(scope="session")
def count_by_formula():
    """`count_parameters`: what each branch of a config should have."""
    return count_parameters


@pytest.fixture(scope="session")
def bands_after_cascade():
    """`count_bands_after_cascade`: the mel bands that reach the WaveNet."""
    return count_bands_after_cascade
