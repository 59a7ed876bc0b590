"""Blocks shared by the branches that treat the spectrogram as an image [batch, mels, frames, channels]."""

from keras import KerasTensor, layers

from genre_tagger.config import CnnConfig, CrnnConfig
from genre_tagger.errors import UserError
from genre_tagger.models.layers import EPSILON, ConvBatchNorm

SQUEEZE = 16  # reduction ratio of squeeze-and-excitation


def image_of(log_mel: KerasTensor, name: str, dtype: str | None = None) -> KerasTensor:
    """Turn the spectrogram into an image of one channel: [batch, frames, mels] -> [batch, mels, frames, 1]."""
    x = layers.Permute((2, 1), dtype=dtype, name=f"{name}_image")(log_mel)
    return layers.Reshape((*x.shape[1:], 1), dtype=dtype, name=f"{name}_channel")(x)


def normalised_image_of(log_mel: KerasTensor, momentum: float, name: str) -> KerasTensor:
    """Turn the spectrogram into a batch-normalised image: [batch, frames, mels] -> [batch, mels, frames, 1].

    The image has one channel, so batch norm has a single scale and offset for the whole spectrogram.
    """
    x = image_of(log_mel, name, dtype="float32")  # half precision would round the dB values before normalisation
    return layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, dtype="float32", name=f"{name}_norm")(x)


def plain_convolution(x: KerasTensor, kernels: int, kernel_size: int, momentum: float, name: str) -> KerasTensor:
    """Add a convolution with batch norm: [batch, mels, frames, channels] -> [batch, mels, frames, kernels]."""
    return ConvBatchNorm(kernels, (kernel_size, kernel_size), momentum=momentum, name=f"{name}_conv")(x)


def resnext_convolution(
    x: KerasTensor, kernels: int, kernel_size: int, cardinality: int, momentum: float, name: str
) -> KerasTensor:
    """Add a ResNeXt block (arXiv 1611.05431): [batch, mels, frames, channels] -> [batch, mels, frames, kernels].

    Builds a 1x1 convolution to half the channels, a grouped convolution and a 1x1 convolution to `kernels` channels,
    each with batch norm, and adds the shortcut. The shortcut is the identity, or a 1x1 convolution with batch norm if
    the number of channels changes. The caller adds the activation after the sum.

    Args:
        x: tensor [batch, mels, frames, channels].
        kernels: number of output channels.
        kernel_size: height and width of the grouped convolution.
        cardinality: number of groups.
        momentum: momentum of the batch norms.
        name: prefix of the layer names.

    Returns:
        Tensor [batch, mels, frames, kernels].
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


def pool_and_activate(
    x: KerasTensor,
    pool: tuple[int, int],
    activation: str,
    dropout: float,
    name: str,
    squeeze_excite: str | None = None,
) -> KerasTensor:
    """Add the second half of a convolution block: squeeze-and-excitation, activation, max pooling and dropout.

    Max pooling is built first, so that the other layers process fewer elements. The values are the same, because
    activations are monotonic and excitation multiplies by positive weights.

    Args:
        x: tensor [batch, mels, frames, channels].
        pool: pool size (mels, frames), limited to the size of the image.
        activation: name of a monotonically increasing Keras activation.
        dropout: dropout rate; 0 adds no layer.
        name: prefix of the layer names.
        squeeze_excite: None for no squeeze-and-excitation, `average` to squeeze the whole image, `max` to squeeze the
            image after max pooling.

    Returns:
        Tensor [batch, mels // pool[0], frames // pool[1], channels].
    """
    limited = tuple(min(size, length) for size, length in zip(pool, x.shape[1:3], strict=True))
    pooled = layers.MaxPooling2D(limited, name=f"{name}_pool")(x)
    if squeeze_excite:
        pooled = _excited(pooled, x if squeeze_excite == "average" else pooled, name)
    pooled = layers.Activation(activation, name=f"{name}_activation")(pooled)
    return layers.Dropout(dropout, name=f"{name}_dropout")(pooled) if dropout else pooled


def _excited(x: KerasTensor, squeezed: KerasTensor, name: str) -> KerasTensor:
    """Weight the channels of `x` by a function of the channel averages of `squeezed` (arXiv 1709.01507)."""
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(squeezed)
    weights = layers.Dense(max(1, channels // SQUEEZE), activation="relu", name=f"{name}_squeeze_dense")(weights)
    weights = layers.Dense(channels, activation="sigmoid", name=f"{name}_excite_dense")(weights)
    return layers.Multiply(name=f"{name}_excited")([x, weights])


def check_blocks(config: CnnConfig | CrnnConfig, key: str) -> None:
    """Check that a branch lists as many pools and dropouts as kernels.

    Raises:
        UserError: If the lengths differ. The message names `key`, the key of the branch in the configuration.
    """
    counts = {name: len(getattr(config, name)) for name in ("kernels", "pools", "dropouts")}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"config key {key!r}: expected as many pools and dropouts as kernels, found {found}")
