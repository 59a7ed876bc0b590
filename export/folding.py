"""The inference model of a tagger: float32, batch norm folded into the convolutions for good."""

import keras
import numpy as np
from keras import layers, ops

from genre_tagger.models.layers import ConvBatchNorm, SkipSum
from genre_tagger.models.tagger import OUTPUT_NAME


class FoldedSkipSum(keras.layers.Layer):
    """What is left of `SkipSum`: its inputs, or their last frames, in one matrix product, [batch, frames, filters]."""

    def __init__(self, filters, every_frame, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.every_frame = every_frame

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(sum(shape[-1] for shape in input_shape), self.filters))
        self.bias = self.add_weight(name="bias", shape=(self.filters,))

    def call(self, inputs):
        read = inputs if self.every_frame else [x[:, -1:] for x in inputs]
        return ops.matmul(ops.concatenate(read, axis=-1), self.kernel) + self.bias

    def compute_output_shape(self, input_shape):
        batch, frames, _ = input_shape[0]
        return (batch, frames if self.every_frame else 1, self.filters)


def inference_model(model: keras.Model) -> keras.Model:
    """The same function as `model` at inference, in float32 whatever it was trained in.

    Returns:
        waveform [batch, samples] -> probabilities [batch, tags], embedding [batch, dim]: what the layer
        `probabilities` reads.
    """
    clone = keras.models.clone_model(model, clone_function=_inference_layer)
    for layer in model.layers:
        if weights := _inference_weights(layer):
            clone.get_layer(layer.name).set_weights(weights)
    return keras.Model(clone.inputs[0], [clone.outputs[0], clone.get_layer(OUTPUT_NAME).input], name=model.name)


def _inference_layer(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, SkipSum):
        return FoldedSkipSum(layer.filters, layer.every_frame, dtype="float32", name=layer.name)
    if isinstance(layer, ConvBatchNorm):
        convolution = layers.Conv2D if len(layer.kernel_size) == 2 else layers.Conv1D
        sizes = {"kernel_size": layer.kernel_size, "strides": layer.strides, "padding": layer.padding}
        return convolution(layer.filters, **sizes, dtype="float32", name=layer.name)
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})


def _inference_weights(layer: keras.Layer) -> list[np.ndarray]:
    if isinstance(layer, SkipSum):
        return _folded_skips(layer)
    if isinstance(layer, ConvBatchNorm):
        return _folded_convolution(layer)
    return layer.get_weights()


def _folded_convolution(layer: ConvBatchNorm) -> list[np.ndarray]:
    factor, offset = _affine_map(layer)
    bias = 0.0 if layer.bias is None else _array(layer.bias)
    kernel = _array(layer.dense_kernel()).reshape(*layer.kernel_size, -1, layer.filters)
    return [kernel * factor, offset + bias * factor]


def _folded_skips(layer: SkipSum) -> list[np.ndarray]:
    factor, offset = _affine_map(layer)  # [residual layers, filters]
    kernel = _array(layer.kernel) * factor[:, None, :]
    return [kernel.reshape(-1, layer.filters), offset.sum(axis=0)]


def _affine_map(layer) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset of a batch norm with its moving statistics."""
    factor = _array(layer.gamma) / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
    return factor, _array(layer.beta) - _array(layer.moving_mean) * factor


def _array(weight) -> np.ndarray:
    return ops.convert_to_numpy(weight).astype(np.float64)
