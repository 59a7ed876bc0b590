"""The short-chunk branch: its shapes, its number of parameters, and its block compared with stock Keras."""

import keras
import numpy as np
from keras import layers, ops

from genre_tagger.config import ShortChunkConfig
from genre_tagger.models.short_chunk import short_chunk_branch


def branch(frames, mels, kernels):
    inputs = keras.Input((frames, mels))
    return keras.Model(inputs, short_chunk_branch(inputs, ShortChunkConfig(kernels=kernels), momentum=0.9))


def test_published_layers():
    """231 frames and 128 bands are halved seven times. The parameters are counted from the paper."""
    kernels = (128, 128, 256, 256, 256, 256, 512)
    assert ShortChunkConfig().kernels == kernels
    model = branch(231, 128, kernels)
    shapes = [model.get_layer(f"short_chunk_block{number}_activation").output.shape[1:3] for number in range(1, 8)]
    assert shapes == [(64, 116), (32, 58), (16, 29), (8, 15), (4, 8), (2, 4), (1, 2)]
    assert model.output_shape == (None, 512)
    counted, inputs = 2, 1  # batch norm of the image
    for outputs in kernels:
        counted += 2 * ((9 * inputs + 1) * outputs + 2 * outputs)  # first convolution and shortcut
        counted += (9 * outputs + 1) * outputs + 2 * outputs
        inputs = outputs
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == counted


def test_block_is_residual():
    """In training, the block equals relu(bn(conv(relu(bn(conv(x))))) + bn(conv(x))) with stock layers."""
    model = branch(9, 6, (4,))
    x = np.random.default_rng(0).normal(size=(3, 9, 6)).astype("float32")

    def convolution(x, part, strides):
        layer = model.get_layer(f"short_chunk_block1_{part}")
        stock = layers.Conv2D(4, 3, strides=strides, padding="same")
        stock.build(x.shape)
        stock.set_weights([layer.kernel, layer.bias])
        return layers.BatchNormalization()(stock(x), training=True)

    image = layers.BatchNormalization()(x.swapaxes(1, 2)[..., None], training=True)
    y = convolution(ops.relu(convolution(image, "conv1", 2)), "conv2", 1)
    expected = ops.max(ops.relu(y + convolution(image, "shortcut", 2)), axis=(1, 2))
    np.testing.assert_allclose(model(x, training=True), expected, atol=1e-4)
