"""Blocks on the spectrogram as an image [batch, mels, frames, channels], which several branches are built of."""

from keras import layers

from genre_tagger.config import CnnConfig, CrnnConfig
from genre_tagger.errors import UserError
from genre_tagger.models.layers import EPSILON, ConvBatchNorm

SQUEEZE = 16  # channels a squeezed one of squeeze-and-excitation


def image_of(log_mel, name: str, dtype: str | None = None):
    """The spectrogram as an image of one channel: log-mel [batch, frames, mels] -> [batch, mels, frames, 1]."""
    x = layers.Permute((2, 1), dtype=dtype, name=f"{name}_image")(log_mel)
    return layers.Reshape((*x.shape[1:], 1), dtype=dtype, name=f"{name}_channel")(x)


def normalised_image_of(log_mel, momentum: float, name: str):
    """The same, batch-normalised as a whole: one scale and one offset for all levels, which are decibels."""
    x = image_of(log_mel, name, dtype="float32")  # half floats would round the decibels before they are scaled
    return layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, dtype="float32", name=f"{name}_norm")(x)


def plain_convolution(x, kernels: int, kernel_size: int, momentum: float, name: str):
    """Same-padded convolution and batch norm."""
    return ConvBatchNorm(kernels, (kernel_size, kernel_size), momentum=momentum, name=f"{name}_conv")(x)


def resnext_convolution(x, kernels: int, kernel_size: int, cardinality: int, momentum: float, name: str):
    """Bottleneck of half the channels with a grouped convolution, plus shortcut (ResNeXt, arXiv 1611.05431).

    The shortcut is a 1x1 convolution with batch norm where the number of channels changes. The activation behind the
    sum is left to the caller.
    """
    size = (kernel_size, kernel_size)
    y = ConvBatchNorm(kernels // 2, (1, 1), momentum=momentum, name=f"{name}_narrow")(x)
    y = layers.Activation("relu", name=f"{name}_narrow_activation")(y)
    y = ConvBatchNorm(kernels // 2, size, groups=cardinality, momentum=momentum, name=f"{name}_grouped")(y)
    y = layers.Activation("relu", name=f"{name}_grouped_activation")(y)
    y = ConvBatchNorm(kernels, (1, 1), momentum=momentum, name=f"{name}_widen")(y)
    if x.shape[-1] != kernels:
        x = ConvBatchNorm(kernels, (1, 1), momentum=momentum, name=f"{name}_shortcut")(x)
    return layers.Add(name=f"{name}_sum")([x, y])


def pool_and_activate(x, pool, activation: str, dropout: float, name: str, squeeze_excite: str | None = None):
    """Squeeze-and-excitation if asked for, activation, max pooling, dropout; the pool is capped at the image left.

    The activation rises monotonically and excitation multiplies by positive weights: pooling first gives the same
    values on a fraction of the elements.
    """
    pool = tuple(min(size, left) for size, left in zip(pool, x.shape[1:3], strict=True))
    pooled = layers.MaxPooling2D(pool, name=f"{name}_pool")(x)
    if squeeze_excite:
        pooled = _excited(pooled, x if squeeze_excite == "average" else pooled, name)
    pooled = layers.Activation(activation, name=f"{name}_activation")(pooled)
    return layers.Dropout(dropout, name=f"{name}_dropout")(pooled) if dropout else pooled


def _excited(x, squeezed, name):
    """Squeeze-and-excitation (arXiv 1709.01507): channels weighted by what the averages of `squeezed` say."""
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(squeezed)
    weights = layers.Dense(max(1, channels // SQUEEZE), activation="relu", name=f"{name}_squeeze_dense")(weights)
    weights = layers.Dense(channels, activation="sigmoid", name=f"{name}_excite_dense")(weights)
    return layers.Multiply(name=f"{name}_excited")([x, weights])


def check_blocks(config: CnnConfig | CrnnConfig, key: str) -> None:
    """Raises UserError where a branch has not as many pools and dropouts as kernels."""
    counts = {name: len(getattr(config, name)) for name in ("kernels", "pools", "dropouts")}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"config key {key!r}: expected as many pools and dropouts as kernels, found {found}")
