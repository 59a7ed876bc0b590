"""The image blocks compared with NumPy: grouped and strided convolution, squeeze-and-excitation, the ResNeXt block."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from genre_tagger.models.blocks import normalised_image_of, pool_and_activate, resnext_convolution
from genre_tagger.models.layers import EPSILON, ConvBatchNorm

MOMENTUM = 0.8
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def random_values(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.3, 1.0, shape).astype("float32")


def randomise(weights):
    """Assign random values, positive ones to variances."""
    for number, weight in enumerate(weights):
        value = random_values(*weight.shape, seed=number + 1)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else 0.5 * value)


# NumPy implementations for [batch, height, width, channels]


def convolve(x, kernel, groups=1):
    """Same-padded convolution as a sum over the kernel's positions, computed separately for each group."""
    height, width, _, filters = kernel.shape
    rows, columns = x.shape[1:3]
    padded = np.pad(x, [[0, 0], [height // 2] * 2, [width // 2] * 2, [0, 0]])
    channels, outputs = x.shape[-1] // groups, filters // groups
    y = np.zeros((*x.shape[:3], filters))
    for group in range(groups):
        inputs = padded[..., group * channels : (group + 1) * channels]
        chosen = slice(group * outputs, (group + 1) * outputs)
        for i in range(height):
            for j in range(width):
                y[..., chosen] += inputs[:, i : i + rows, j : j + columns] @ kernel[i, j, :, chosen]
    return y


def convolve_and_normalise(x, layer):
    """Compute the layer at inference from the definition of convolution and batch norm."""
    kernel, bias, gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in layer.weights)
    y = convolve(x, kernel, layer.groups) + bias
    return gamma * (y - mean) / np.sqrt(variance + EPSILON) + beta


def max_pool(x, pool):
    height, width = (length // size for length, size in zip(x.shape[1:3], pool, strict=True))
    cut = x[:, : height * pool[0], : width * pool[1]]
    return cut.reshape(len(x), height, pool[0], width, pool[1], -1).max(axis=(2, 4))


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("groups, channels, filters", [(2, 4, 6), (3, 6, 6), (4, 4, 64)])
def test_grouped_convolution(groups, channels, filters):
    x = random_values(2, 5, 6, channels)
    layer = ConvBatchNorm(filters, (3, 3), groups=groups, momentum=MOMENTUM)
    layer.build(x.shape)
    assert layer.kernel.shape == (3, 3, channels // groups, filters)
    randomise(layer.weights)
    np.testing.assert_allclose(layer(x), convolve_and_normalise(x, layer), atol=1e-4)
    y = convolve(x, np.asarray(layer.kernel), groups)
    mean, variance = y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))
    gamma, beta = np.asarray(layer.gamma), np.asarray(layer.beta)
    expected = gamma * (y - mean) / np.sqrt(variance + EPSILON) + beta
    np.testing.assert_allclose(layer(x, training=True), expected, atol=1e-3)


# Kernel size, stride, input shape, filters. The case "wide" computes its statistics from the input.
STRIDED = {
    "odd image": ((3, 3), 2, (7, 5, 3), 4),
    "even image": ((3, 3), 2, (6, 8, 3), 4),
    "one pixel": ((3, 3), 2, (1, 2, 3), 4),
    "wide": ((3, 3), 2, (7, 6, 1), 40),
    "sequence": ((3,), 3, (11, 2), 4),
}


@pytest.mark.parametrize("size, strides, shape, filters", STRIDED.values(), ids=STRIDED)
def test_strided_convolution(size, strides, shape, filters):
    """The layer equals two stock Keras layers at inference, in training and at inference after training."""
    x = random_values(3, *shape)
    layer = ConvBatchNorm(filters, size, strides=strides, momentum=MOMENTUM)
    stock = (layers.Conv1D if len(size) == 1 else layers.Conv2D)(filters, size, strides=strides, padding="same")
    norm = layers.BatchNormalization(momentum=MOMENTUM)
    assert tuple(layer.compute_output_shape(x.shape)) == layer(x).shape == norm(stock(x)).shape
    randomise(layer.weights)
    stock.set_weights([ops.reshape(layer.kernel, stock.kernel.shape), layer.bias])
    for name in NORM:
        getattr(norm, name).assign(getattr(layer, name))
    for training in (False, True, False):
        np.testing.assert_allclose(layer(x, training=training), norm(stock(x), training=training), atol=2e-4)


def block_on(shape, build):
    """Return a model that consists of one block with random weights."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, build(inputs))
    randomise(model.weights)
    return model


@pytest.mark.parametrize("kind", ["average", "max"])
def test_squeeze_and_excitation(kind):
    """Excitation acts on the output of batch norm, before the activation and the pool, as in the paper."""
    pool, channels, squeezed = (2, 3), 32, 2
    x = random_values(3, 7, 10, channels)
    model = block_on(x.shape[1:], lambda inputs: pool_and_activate(inputs, pool, "elu", 0.0, "block", kind))
    reduce, reduce_bias, widen, widen_bias = (np.asarray(weight) for weight in model.weights)
    assert reduce.shape == (channels, squeezed)
    seen = x if kind == "average" else max_pool(x, pool)
    hidden = np.maximum(seen.mean(axis=(1, 2)) @ reduce + reduce_bias, 0)
    weights = sigmoid(hidden @ widen + widen_bias)
    assert np.ptp(weights) > 0.1
    expected = max_pool(elu(x * weights[:, None, None]), pool)
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


@pytest.mark.parametrize("channels, shortcut", [(4, True), (8, False)])
def test_resnext_block(channels, shortcut):
    x = random_values(2, 5, 6, channels)
    model = block_on(x.shape[1:], lambda inputs: resnext_convolution(inputs, 8, 3, 2, MOMENTUM, "block"))
    by_name = {layer.name: layer for layer in model.layers}
    assert ("block_shortcut" in by_name) == shortcut
    assert by_name["block_grouped"].groups == 2
    y = np.maximum(convolve_and_normalise(x, by_name["block_narrow"]), 0)
    y = np.maximum(convolve_and_normalise(y, by_name["block_grouped"]), 0)
    y = convolve_and_normalise(y, by_name["block_widen"])
    straight = convolve_and_normalise(x, by_name["block_shortcut"]) if shortcut else x
    np.testing.assert_allclose(model(x), straight + y, atol=1e-4)


def test_normalised_image():
    x = random_values(4, 5, 6) * 30 - 40
    model = block_on(x.shape[1:], lambda inputs: normalised_image_of(inputs, MOMENTUM, "image"))
    gamma, beta, mean, variance = (float(np.squeeze(weight)) for weight in model.weights)
    expected = (gamma * (x - mean) / np.sqrt(variance + EPSILON) + beta).swapaxes(1, 2)[..., None]
    np.testing.assert_allclose(model(x), expected, rtol=1e-4)
    expected = (gamma * (x - x.mean()) / np.sqrt(x.var() + EPSILON) + beta).swapaxes(1, 2)[..., None]
    np.testing.assert_allclose(model(x, training=True), expected, atol=1e-3)
