"""A tiny configuration, waveforms for it, weights other than 0 and 1, and parameter counts by formula."""

import numpy as np
import pytest

from genre_tagger.config import parse_config

NORM = ("gamma", "beta", "moving_mean", "moving_variance")

# All widths are small and different, so that none are equal by chance. The first CNN block and the gates have many more
# filters than inputs, so their batch statistics are computed from the inputs. The receptive field of the WaveNet is 8
# of the 24 frames.
TINY = {
    "frontend": {"n_mels": 40},
    "window": {"seconds": 0.5},
    "model": {
        "cnn": {"kernels": [36, 5, 6, 4], "pools": [[2, 2], [2, 2], [2, 2], [2, 3]], "output_width": 7},
        "wavenet": {
            "cascade": {"width": 8},
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
    """Return a copy of a nested dictionary in which dotted keys are replaced."""
    base = {key: merged(value, {}) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in change.items():
        *sections, last = key.split(".")
        place = base
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return base


def make_tiny_config(dotted=None, **changes):
    """Return the tiny configuration with changed dotted keys, and `section__key=value` changes under `model`."""
    below_model = {"model." + key.replace("__", "."): value for key, value in changes.items()}
    return parse_config(merged(TINY, (dotted or {}) | below_model))


def make_noise(config, batch=4, seed=0):
    """Return float32 [batch, samples], one window of noise per item."""
    return np.random.default_rng(seed).normal(0, 0.1, (batch, config.window_samples)).astype("float32")


def randomise_vectors(model, seed=0):
    """Assign random biases, scales, offsets and statistics, so that none of them is 0 or 1."""
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
    cascade = config.model.wavenet.cascade
    width, kernel = cascade.width, cascade.kernel_size
    ends = convolution(1, config.frames, width, norm=False) + convolution(1, width, config.frames, norm=False)
    firsts = 3 * convolution(kernel, width, width, norm=cascade.first_batch_norm)
    seconds = 3 * convolution(kernel, width, width)
    return ends + firsts + seconds + convolution(1, width, width, norm=cascade.mix_batch_norm)


def count_bands_after_cascade(config):
    cascade = config.model.wavenet.cascade
    if cascade is None:
        return config.frontend.n_mels
    lost = cascade.kernel_size - 1
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
    """Compute the number of trainable parameters of each branch from the configuration alone."""
    model = config.model
    return {
        "cnn": 0 if model.cnn is None else count_cnn(model.cnn),
        "cascade": 0 if model.wavenet is None or model.wavenet.cascade is None else count_cascade(config),
        "wavenet": 0 if model.wavenet is None else count_wavenet(config),
        "head": count_head(config, tags),
    }


@pytest.fixture(scope="session")
def tiny_config():
    """Return `make_tiny_config`, which returns a small configuration with the given changes."""
    return make_tiny_config


@pytest.fixture(scope="session")
def noise():
    """Return `make_noise`, which returns waveforms for a configuration."""
    return make_noise


@pytest.fixture(scope="session")
def randomise():
    """Return `randomise_vectors`, which overwrites the weights that are 0 or 1 in a new model."""
    return randomise_vectors


@pytest.fixture(scope="session")
def count_by_formula():
    """Return `count_parameters`, which returns the expected number of parameters of each branch."""
    return count_parameters


@pytest.fixture(scope="session")
def bands_after_cascade():
    """Return `count_bands_after_cascade`, which returns the number of bands that the WaveNet receives."""
    return count_bands_after_cascade
