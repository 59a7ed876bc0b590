"""The inference model of a tagger: float32, with batch norm folded permanently into the convolutions."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from genre_tagger.models.layers import ConvBatchNorm, SkipSum
from genre_tagger.models.tagger import with_embedding

Shape = tuple[int | None, ...]


class FoldedSkipSum(keras.layers.Layer):
    """`SkipSum` at inference: one matrix product with batch norm folded into the kernel.

    Input shape: list of [batch, frames, channels], one tensor per residual layer.
    Output shape: [batch, frames, filters], or [batch, 1, filters] without `every_frame`.

    Args:
        filters: number of skip channels.
        every_frame: whether to return all frames; if False, the last frame only.
    """

    def __init__(self, filters: int, every_frame: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.every_frame = every_frame

    def build(self, input_shape: Sequence[tuple[Any, ...]]) -> None:
        """Create the weights."""
        self.kernel = self.add_weight(name="kernel", shape=(sum(shape[-1] for shape in input_shape), self.filters))
        self.bias = self.add_weight(name="bias", shape=(self.filters,))

    def call(self, inputs: Sequence[Any]) -> Any:
        """Return the sum over the residual layers."""
        read = inputs if self.every_frame else [x[:, -1:] for x in inputs]
        return ops.matmul(ops.concatenate(read, axis=-1), self.kernel) + self.bias

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> Shape:
        """Return the output shape."""
        batch, frames, _ = input_shape[0]
        return (batch, frames if self.every_frame else 1, self.filters)


def inference_model(model: keras.Model) -> keras.Model:
    """Return a float32 model with the same inference results as `model`, which may have been trained in any precision.

    Args:
        model: tagger, waveform [batch, samples] -> probabilities [batch, tags].

    Returns:
        Model from waveform [batch, samples] to probabilities [batch, tags] and embedding [batch, dim]. The embedding is
        the input of the layer `probabilities`.
    """
    clone = keras.models.clone_model(model, clone_function=_inference_layer)
    for layer in model.layers:
        if weights := _inference_weights(layer):
            clone.get_layer(layer.name).set_weights(weights)
    return with_embedding(clone)


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
    weights: list[np.ndarray] = layer.get_weights()
    return weights


def _folded_convolution(layer: ConvBatchNorm) -> list[np.ndarray]:
    factor, offset = _affine_map(layer)
    bias = 0.0 if layer.bias is None else _array(layer.bias)
    kernel = _array(layer.dense_kernel()).reshape(*layer.kernel_size, -1, layer.filters)
    return [kernel * factor, offset + bias * factor]


def _folded_skips(layer: SkipSum) -> list[np.ndarray]:
    factor, offset = _affine_map(layer)  # [residual layers, filters]
    kernel = _array(layer.kernel) * factor[:, None, :]
    return [kernel.reshape(-1, layer.filters), offset.sum(axis=0)]


def _affine_map(layer: ConvBatchNorm | SkipSum) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and offset of a batch norm with its moving statistics."""
    factor = _array(layer.gamma) / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
    return factor, _array(layer.beta) - _array(layer.moving_mean) * factor


def _array(weight: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(weight), np.float64)
