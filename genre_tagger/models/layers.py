"""Layers used by the branches: convolution with batch norm, causal taps, gate, skip sum and frame selection."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

EPSILON = 1e-3

Tensor = Any  # a symbolic tensor of Keras or a tensor of its backend
Shape = tuple[Any, ...]  # sizes, None if unknown
Padding = Literal["same", "valid"]


def _fused_batch_norm(image: Tensor, scale: Tensor, offset: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise [batch, height, width, channels] over all axes but the last.

    TensorFlow's fused kernel reads and writes the activations once, whereas separate moments and an affine map take
    several passes. Other backends fuse these operations automatically.

    Returns:
        The normalised image [batch, height, width, channels], the mean [channels] and the biased variance [channels].
    """
    if keras.backend.backend() != "tensorflow":
        mean, variance = ops.moments(ops.cast(image, "float32"), axes=(0, 1, 2))
        factor = scale * ops.rsqrt(variance + epsilon)
        return image * ops.cast(factor, image.dtype) + ops.cast(offset - mean * factor, image.dtype), mean, variance
    import tensorflow as tf  # imported here because the module must import without TensorFlow

    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(image, scale, offset, epsilon=epsilon, is_training=True)
    count = ops.cast(ops.size(image), "float32") / image.shape[-1]
    return y, mean, variance * (1.0 - 1.0 / count)  # the kernel returns the unbiased variance


def _covariance(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean [columns] and biased covariance [columns, columns] of rows [..., columns], in float32."""
    rows = ops.reshape(ops.cast(rows, "float32"), (-1, rows.shape[-1]))
    mean = ops.mean(rows, axis=0)
    centred = rows - mean
    count = ops.cast(ops.shape(rows)[0], "float32")
    return mean, ops.matmul(ops.transpose(centred), centred) / count


def _output_moments(mean: Tensor, covariance: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and variance [..., filters] of `rows @ kernel`, given the mean and covariance of the rows.

    The kernel is [..., columns, filters].
    """
    output_mean = ops.squeeze(ops.matmul(mean[..., None, :], kernel), -2)
    return output_mean, ops.sum(kernel * ops.matmul(covariance, kernel), axis=-2)


def _same_margins(length: int, size: int, stride: int) -> list[int]:
    """Return the number of zeros before and after an axis of the given length for padding `same`."""
    missing = max((-(-length // stride) - 1) * stride + size - length, 0)
    return [missing // 2, missing - missing // 2]


class _BatchNormWeights(keras.layers.Layer):
    """Base class of layers that hold the scale, offset and moving statistics of a batch norm.

    Args:
        momentum: momentum of the moving statistics.
        epsilon: constant added to the variance.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = EPSILON, **kwargs: Any):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def _add_norm_weights(self, shape: tuple[int, ...]) -> None:
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)
        moving = {"shape": shape, "trainable": False, "autocast": False, "aggregation": "mean"}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **moving)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **moving)

    def _update_moving(self, mean: Tensor, variance: Tensor) -> None:
        self.moving_mean.assign_add((mean - self.moving_mean) * (1.0 - self.momentum))
        self.moving_variance.assign_add((variance - self.moving_variance) * (1.0 - self.momentum))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("genre_tagger")
class ConvBatchNorm(_BatchNormWeights):
    """Convolution and batch normalisation (arXiv 1502.03167) in one layer, folded into one convolution at inference.

    The layer is equal to `Conv1D` or `Conv2D` followed by `BatchNormalization`. If the convolution has few inputs and
    many filters, the batch statistics are computed from the mean and covariance of the input patches. This is exact
    and avoids passes over the much larger output.

    Input shape: [batch, steps, channels], or [batch, height, width, channels].
    Output shape: [batch, steps, filters], or [batch, height, width, filters]. Padding `valid` and strides shorten the
    spatial axes as in `Conv1D` and `Conv2D`.

    Args:
        filters: number of output channels.
        kernel_size: kernel size, one number per spatial axis (one for sequences, two for images).
        strides: stride of all spatial axes.
        padding: `same` or `valid`.
        groups: number of groups into which input and output channels are split. Each group of outputs depends on one
            group of inputs only.
        use_bias: whether the convolution has a bias. Batch norm cancels the bias, which only serves to match
            the parameter counts of published models.
        momentum: momentum of the moving statistics of the batch norm.
        epsilon: constant added to the variance by the batch norm.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Sequence[int],
        strides: int = 1,
        padding: Padding = "same",
        groups: int = 1,
        use_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.strides = strides
        self.padding = padding
        self.groups = groups
        self.use_bias = use_bias

    def build(self, input_shape: tuple[int, ...]) -> None:
        # Sequences are processed as images of height 1 because the fused kernels accept images only.
        self._image_kernel_size = self.kernel_size if len(self.kernel_size) == 2 else (1, *self.kernel_size)
        self._image_strides = (self.strides,) * 2 if len(self.kernel_size) == 2 else (1, self.strides)
        shape = (*self._image_kernel_size, input_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros") if self.use_bias else None
        self._add_norm_weights((self.filters,))
        self._by_input_statistics = 4 * self.groups * math.prod(shape[:-1]) <= self.filters

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        if len(self.kernel_size) == 2:
            return self._call_image(x, training)
        return ops.squeeze(self._call_image(ops.expand_dims(x, 1), training), 1)

    def _call_image(self, image: Tensor, training: bool) -> Tensor:
        if not (training and self.trainable):
            return self._affine_convolution(image, self.moving_mean - self._bias(), self.moving_variance)
        if self._by_input_statistics:
            kernel = ops.reshape(ops.cast(self.dense_kernel(), "float32"), (-1, self.filters))
            mean, variance = _output_moments(*_covariance(self._patches(image)), kernel)
            y = self._affine_convolution(image, mean, variance)
        else:
            y = ops.conv(image, self.dense_kernel(), strides=self._image_strides, padding=self.padding)
            y, mean, variance = _fused_batch_norm(y, self.gamma, self._offset(), self.epsilon)
        self._update_moving(mean + self._bias(), variance)
        return y

    def dense_kernel(self) -> Tensor:
        """Return the kernel of the equivalent ungrouped convolution, with zeros between the groups.

        Keras compiles grouped convolutions with XLA under TensorFlow, and an exported model should not depend on XLA.

        Returns:
            Tensor [height, width, channels, filters]; for sequences the height is 1.
        """
        if self.groups == 1:
            return self.kernel
        inputs, outputs = self.kernel.shape[2], self.filters // self.groups
        same_group = np.kron(np.eye(self.groups), np.ones((inputs, outputs)))
        return ops.tile(self.kernel, (1, 1, self.groups, 1)) * ops.cast(same_group, self.kernel.dtype)

    def _bias(self) -> Tensor:
        return 0.0 if self.bias is None else ops.cast(self.bias, "float32")

    def _offset(self) -> Tensor:
        if self.bias is None:
            return self.beta
        # Batch norm cancels the bias. The bias stays in the graph so that its gradient is zero instead of missing.
        return self.beta + (self._bias() - self._bias())

    def _affine_convolution(self, image: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Convolve and batch-normalise in one step, given the statistics of the convolution without its bias."""
        factor = self.gamma * ops.rsqrt(variance + self.epsilon)
        kernel = ops.cast(self.dense_kernel() * ops.cast(factor, self.kernel.dtype), image.dtype)
        y = ops.conv(image, kernel, strides=self._image_strides, padding=self.padding)
        return y + ops.cast(self._offset() - mean * factor, image.dtype)

    def _patches(self, image: Tensor) -> Tensor:
        """Return all input patches [batch, height, width, kernel positions * channels], in the order of the kernel."""
        if self.padding == "same":
            sizes = zip(image.shape[1:3], self._image_kernel_size, self._image_strides, strict=True)
            image = ops.pad(image, [[0, 0], *(_same_margins(*one) for one in sizes), [0, 0]])
        (height, width), (down, right) = self._image_kernel_size, self._image_strides
        rows, columns = image.shape[1] - height + 1, image.shape[2] - width + 1
        shifted = [image[:, i : i + rows : down, j : j + columns : right] for i in range(height) for j in range(width)]
        return shifted[0] if len(shifted) == 1 else ops.concatenate(shifted, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        lost = [size - 1 if self.padding == "valid" else 0 for size in self.kernel_size]
        spatial = [
            None if length is None else -(-(length - less) // self.strides)
            for length, less in zip(input_shape[1:-1], lost, strict=True)
        ]
        return (input_shape[0], *spatial, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "groups": self.groups,
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable("genre_tagger")
class CausalTaps(keras.layers.Layer):
    """Inputs of a causal dilated convolution (arXiv 1609.03499), concatenated along the channels.

    Output frame t holds the input frames t - (kernel_size - 1) * dilation, ..., t - dilation, t. Frames before the
    start are zeros. A 1x1 convolution after this layer is a causal dilated convolution. It is a single matrix product,
    whereas a dilated convolution on a CPU first rearranges its input. This is the only place in the package with
    causal padding.

    Input shape: [batch, frames, channels].
    Output shape: [batch, frames, kernel_size * channels].

    Args:
        kernel_size: number of taps.
        dilation: distance in frames between successive taps.
    """

    def __init__(self, kernel_size: int, dilation: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.dilation = dilation

    def call(self, x: Tensor) -> Tensor:
        frames = ops.shape(x)[1]
        taps = [self._delayed(x, self.dilation * tap, frames) for tap in reversed(range(1, self.kernel_size))]
        return ops.concatenate([*taps, x], axis=-1)

    def _delayed(self, x: Tensor, delay: int, frames: Tensor) -> Tensor:
        return ops.pad(x, [[0, 0], [delay, 0], [0, 0]])[:, :frames]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, frames, channels = input_shape
        return batch, frames, self.kernel_size * channels

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_size": self.kernel_size, "dilation": self.dilation}


@keras.saving.register_keras_serializable("genre_tagger")
class GatedActivation(keras.layers.Layer):
    """Gated activation of WaveNet, `tanh(filter) * activation(gate)` (arXiv 1609.03499).

    The first half of the input channels is the filter, the second half is the gate.

    Input shape: [..., 2 * channels].
    Output shape: [..., channels].

    Args:
        gate: name of the gate's activation, `sigmoid` or `elu`.
    """

    def __init__(self, gate: str = "sigmoid", **kwargs: Any):
        super().__init__(**kwargs)
        self.gate = gate

    def call(self, x: Tensor) -> Tensor:
        filtered, gate = ops.split(x, 2, axis=-1)
        return ops.tanh(filtered) * keras.activations.get(self.gate)(gate)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], input_shape[-1] // 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gate": self.gate}


@keras.saving.register_keras_serializable("genre_tagger")
class SkipSum(_BatchNormWeights):
    """Sum of the skip outputs of all residual layers of a WaveNet (arXiv 1609.03499).

    Each skip output is a 1x1 convolution without bias followed by batch norm. Its batch statistics are computed from
    the mean and covariance of its input. All skip outputs and their sum are therefore one matrix product, and the much
    wider skip outputs are never stored.

    Input shape: list of [batch, frames, channels], one tensor per residual layer.
    Output shape: [batch, frames, filters]. At inference [batch, 1, filters], the last frame only, unless `every_frame`
    is True.

    Args:
        filters: number of skip channels.
        every_frame: whether to return all frames at inference too.
        momentum: momentum of the moving statistics of the batch norms.
        epsilon: constant added to the variance by the batch norms.
    """

    def __init__(self, filters: int, every_frame: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.every_frame = every_frame

    def build(self, input_shape: list[tuple[int, ...]]) -> None:
        layers, channels = len(input_shape), input_shape[0][-1]
        limit = (6.0 / (channels + self.filters)) ** 0.5  # Glorot's limit for a single skip convolution
        uniform = keras.initializers.RandomUniform(-limit, limit)
        shape = (layers, channels, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=uniform, autocast=False)
        self._add_norm_weights((layers, self.filters))

    def call(self, inputs: list[Tensor], training: bool = False) -> Tensor:
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            moments = [_covariance(x) for x in inputs]
            means, covariances = (ops.stack(part) for part in zip(*moments, strict=True))
            mean, variance = _output_moments(means, covariances, self.kernel)
            self._update_moving(mean, variance)
        elif not (training or self.every_frame):
            inputs = [x[:, -1:] for x in inputs]
        return self._normalised_sum(ops.concatenate(inputs, axis=-1), mean, variance)

    def _normalised_sum(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        factor = self.gamma * ops.rsqrt(variance + self.epsilon)
        kernel = self.kernel * factor[:, None, :]
        offset = ops.sum(self.beta - mean * factor, axis=0)
        return ops.matmul(x, ops.cast(ops.reshape(kernel, (-1, self.filters)), x.dtype)) + ops.cast(offset, x.dtype)

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        return (*input_shape[0][:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "every_frame": self.every_frame}


@keras.saving.register_keras_serializable("genre_tagger")
class LastFrames(keras.layers.Layer):
    """Keeps the last `count` frames at inference and all frames in training.

    The layer saves computation before a causal stack of which only the last frame is used. If `count` is the receptive
    field of the stack, the output does not change.

    Input shape: [batch, frames, channels].
    Output shape: [batch, frames, channels] in training, [batch, min(count, frames), channels] at inference.

    Args:
        count: number of frames to keep.
    """

    def __init__(self, count: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.count = count

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        return x if training else x[:, -self.count :]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "count": self.count}


@keras.saving.register_keras_serializable("genre_tagger")
class LastFrame(keras.layers.Layer):
    """Selects the last frame.

    Input shape: [batch, frames, channels].
    Output shape: [batch, channels].
    """

    def call(self, x: Tensor) -> Tensor:
        return x[:, -1]

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, _, channels = input_shape
        return batch, channels
