"""Layers that the branches are built of: convolution with batch norm, causal taps, gate, skip sum, frame selection."""

import math

import keras
import numpy as np
from keras import ops

EPSILON = 1e-3


def _fused_batch_norm(image, scale, offset, epsilon):
    """Normalises [batch, height, width, channels] over all axes but the last: (normalised, mean, biased variance).

    TensorFlow's fused kernel reads and writes the activations once where moments and an affine map take
    several passes; other backends fuse by themselves.
    """
    if keras.backend.backend() != "tensorflow":
        mean, variance = ops.moments(ops.cast(image, "float32"), axes=(0, 1, 2))
        factor = scale * ops.rsqrt(variance + epsilon)
        return image * ops.cast(factor, image.dtype) + ops.cast(offset - mean * factor, image.dtype), mean, variance
    import tensorflow as tf  # only here, so that the module imports without TensorFlow

    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(image, scale, offset, epsilon=epsilon, is_training=True)
    count = ops.cast(ops.size(image), "float32") / image.shape[-1]
    return y, mean, variance * (1.0 - 1.0 / count)  # the kernel answers with the unbiased variance


def _covariance(rows):
    """Mean [columns] and biased covariance [columns, columns] of rows [..., columns], in float32."""
    rows = ops.reshape(ops.cast(rows, "float32"), (-1, rows.shape[-1]))
    mean = ops.mean(rows, axis=0)
    centred = rows - mean
    count = ops.cast(ops.shape(rows)[0], "float32")
    return mean, ops.matmul(ops.transpose(centred), centred) / count


def _output_moments(mean, covariance, kernel):
    """Mean and variance [..., filters] of `rows @ kernel` from the moments of rows; kernel [..., columns, filters]."""
    output_mean = ops.squeeze(ops.matmul(mean[..., None, :], kernel), -2)
    return output_mean, ops.sum(kernel * ops.matmul(covariance, kernel), axis=-2)


def _same_margins(length, size, stride):
    """Zeros before and behind an axis for the padding `same`."""
    missing = max((-(-length // stride) - 1) * stride + size - length, 0)
    return [missing // 2, missing - missing // 2]


class _BatchNormWeights(keras.layers.Layer):
    """Scale, offset and moving statistics of a batch norm over weights of the given shape."""

    def __init__(self, momentum=0.99, epsilon=EPSILON, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def _add_norm_weights(self, shape):
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape, initializer="zeros", autocast=False)
        moving = {"shape": shape, "trainable": False, "autocast": False, "aggregation": "mean"}
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **moving)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **moving)

    def _update_moving(self, mean, variance):
        self.moving_mean.assign_add((mean - self.moving_mean) * (1.0 - self.momentum))
        self.moving_variance.assign_add((variance - self.moving_variance) * (1.0 - self.momentum))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("genre_tagger")
class ConvBatchNorm(_BatchNormWeights):
    """Convolution and batch normalisation in one layer, so that inference is one folded convolution.

    Input [batch, steps, channels] or [batch, height, width, channels]; output the same with `filters` channels.
    Equal to `Conv1D` or `Conv2D` followed by `BatchNormalization`. A convolution of few inputs and many filters
    takes its batch statistics from the mean and covariance of its input patches, which is exact and spares the
    passes over its much larger output.

    Args:
        filters: output channels.
        kernel_size: one size per spatial axis.
        strides: of all spatial axes.
        padding: `same` or `valid`.
        groups: that input and output channels are cut into, each output group from its input group alone.
        use_bias: a bias before batch norm changes nothing but the parameter count, which published models state.
        momentum, epsilon: of the batch norm.
    """

    def __init__(self, filters, kernel_size, strides=1, padding="same", groups=1, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.strides = strides
        self.padding = padding
        self.groups = groups
        self.use_bias = use_bias

    def build(self, input_shape):
        # Sequences are worked on as images of height 1: the fused kernels take images alone.
        self._image_kernel_size = self.kernel_size if len(self.kernel_size) == 2 else (1, *self.kernel_size)
        self._image_strides = (self.strides,) * 2 if len(self.kernel_size) == 2 else (1, self.strides)
        shape = (*self._image_kernel_size, input_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="glorot_uniform")
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros") if self.use_bias else None
        self._add_norm_weights((self.filters,))
        self._by_input_statistics = 4 * self.groups * math.prod(shape[:-1]) <= self.filters

    def call(self, x, training=False):
        if len(self.kernel_size) == 2:
            return self._call_image(x, training)
        return ops.squeeze(self._call_image(ops.expand_dims(x, 1), training), 1)

    def _call_image(self, image, training):
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

    def dense_kernel(self):
        """The kernel as an ungrouped convolution has it, zeros between the groups.

        Keras has TensorFlow's grouped convolutions compiled by XLA, which no exported model should need to run.
        """
        if self.groups == 1:
            return self.kernel
        inputs, outputs = self.kernel.shape[2], self.filters // self.groups
        same_group = np.kron(np.eye(self.groups), np.ones((inputs, outputs)))
        return ops.tile(self.kernel, (1, 1, self.groups, 1)) * ops.cast(same_group, self.kernel.dtype)

    def _bias(self):
        return 0.0 if self.bias is None else ops.cast(self.bias, "float32")

    def _offset(self):
        if self.bias is None:
            return self.beta
        # Batch norm cancels the bias; it stays in the graph so that its gradient is zero and not missing.
        return self.beta + (self._bias() - self._bias())

    def _affine_convolution(self, image, mean, variance):
        """Batch norm with the given statistics of the convolution (bias left out), folded into its kernel."""
        factor = self.gamma * ops.rsqrt(variance + self.epsilon)
        kernel = ops.cast(self.dense_kernel() * ops.cast(factor, self.kernel.dtype), image.dtype)
        y = ops.conv(image, kernel, strides=self._image_strides, padding=self.padding)
        return y + ops.cast(self._offset() - mean * factor, image.dtype)

    def _patches(self, image):
        """All input patches [batch, height, width, kernel positions * channels], ordered as the kernel's weights."""
        if self.padding == "same":
            sizes = zip(image.shape[1:3], self._image_kernel_size, self._image_strides, strict=True)
            image = ops.pad(image, [[0, 0], *(_same_margins(*one) for one in sizes), [0, 0]])
        (height, width), (down, right) = self._image_kernel_size, self._image_strides
        rows, columns = image.shape[1] - height + 1, image.shape[2] - width + 1
        shifted = [image[:, i : i + rows : down, j : j + columns : right] for i in range(height) for j in range(width)]
        return shifted[0] if len(shifted) == 1 else ops.concatenate(shifted, axis=-1)

    def compute_output_shape(self, input_shape):
        lost = [size - 1 if self.padding == "valid" else 0 for size in self.kernel_size]
        spatial = [
            None if length is None else -(-(length - less) // self.strides)
            for length, less in zip(input_shape[1:-1], lost, strict=True)
        ]
        return (input_shape[0], *spatial, self.filters)

    def get_config(self):
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
    """Inputs of a causal dilated convolution side by side: [batch, frames, channels] -> [..., kernel_size * channels].

    Frame t holds frames t - (kernel_size - 1) * dilation, ..., t - dilation, t, with zeros before the start, so that a
    1x1 convolution behind it is the causal convolution: one matrix product, where a dilated convolution on a CPU
    rearranges its input first. All causal padding of the package hides here.
    """

    def __init__(self, kernel_size, dilation, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size = kernel_size
        self.dilation = dilation

    def call(self, x):
        frames = ops.shape(x)[1]
        taps = [self._delayed(x, self.dilation * tap, frames) for tap in reversed(range(1, self.kernel_size))]
        return ops.concatenate([*taps, x], axis=-1)

    def _delayed(self, x, delay, frames):
        return ops.pad(x, [[0, 0], [delay, 0], [0, 0]])[:, :frames]

    def compute_output_shape(self, input_shape):
        batch, frames, channels = input_shape
        return batch, frames, self.kernel_size * channels

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size, "dilation": self.dilation}


@keras.saving.register_keras_serializable("genre_tagger")
class GatedActivation(keras.layers.Layer):
    """WaveNet's gate, tanh(filter) * gate(gate) (arXiv 1609.03499): [..., 2 * channels] -> [..., channels].

    The first half of the channels is the filter, the second half the gate; gate is `sigmoid` or `elu`.
    """

    def __init__(self, gate="sigmoid", **kwargs):
        super().__init__(**kwargs)
        self.gate = gate

    def call(self, x):
        filtered, gate = ops.split(x, 2, axis=-1)
        return ops.tanh(filtered) * keras.activations.get(self.gate)(gate)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 2)

    def get_config(self):
        return {**super().get_config(), "gate": self.gate}


@keras.saving.register_keras_serializable("genre_tagger")
class SkipSum(_BatchNormWeights):
    """Sum of the skip outputs of all residual layers: each a 1x1 convolution without bias and a batch norm.

    Input: list of [batch, frames, channels], one a residual layer. Output: [batch, frames, filters]; at inference
    [batch, 1, filters], the last frame alone, unless `every_frame` is asked for. The batch statistics of every skip
    output follow from the mean and covariance of its input, so that all of them together are one matrix product; the
    many times wider skip outputs never exist.
    """

    def __init__(self, filters, every_frame=False, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.every_frame = every_frame

    def build(self, input_shape):
        layers, channels = len(input_shape), input_shape[0][-1]
        limit = (6.0 / (channels + self.filters)) ** 0.5  # Glorot's, of one skip convolution
        uniform = keras.initializers.RandomUniform(-limit, limit)
        shape = (layers, channels, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=uniform, autocast=False)
        self._add_norm_weights((layers, self.filters))

    def call(self, inputs, training=False):
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            moments = [_covariance(x) for x in inputs]
            means, covariances = (ops.stack(part) for part in zip(*moments, strict=True))
            mean, variance = _output_moments(means, covariances, self.kernel)
            self._update_moving(mean, variance)
        elif not (training or self.every_frame):
            inputs = [x[:, -1:] for x in inputs]
        return self._normalised_sum(ops.concatenate(inputs, axis=-1), mean, variance)

    def _normalised_sum(self, x, mean, variance):
        factor = self.gamma * ops.rsqrt(variance + self.epsilon)
        kernel = self.kernel * factor[:, None, :]
        offset = ops.sum(self.beta - mean * factor, axis=0)
        return ops.matmul(x, ops.cast(ops.reshape(kernel, (-1, self.filters)), x.dtype)) + ops.cast(offset, x.dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[0][:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "every_frame": self.every_frame}


@keras.saving.register_keras_serializable("genre_tagger")
class LastFrames(keras.layers.Layer):
    """Keeps the last `count` frames at inference and all of them in training: [batch, frames, channels].

    In front of a causal stack of that receptive field whose last frame alone is read, this changes no output.
    """

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, x, training=False):
        return x if training else x[:, -self.count :]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@keras.saving.register_keras_serializable("genre_tagger")
class LastFrame(keras.layers.Layer):
    """The last time step: [batch, frames, channels] -> [batch, channels]."""

    def call(self, x):
        return x[:, -1]

    def compute_output_shape(self, input_shape):
        batch, _, channels = input_shape
        return batch, channels
