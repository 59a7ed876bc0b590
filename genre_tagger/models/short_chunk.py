"""The short-chunk branch: residual blocks with stride 2 on the spectrogram of a few seconds."""

from keras import KerasTensor, layers

from genre_tagger.config import ShortChunkConfig
from genre_tagger.models.blocks import normalised_image_of
from genre_tagger.models.layers import ConvBatchNorm

STRIDES = 2


def short_chunk_branch(log_mel: KerasTensor, config: ShortChunkConfig, momentum: float) -> KerasTensor:
    """Add the short-chunk ResNet (arXiv 2006.00751): [batch, frames, mels] -> [batch, output_width].

    The spectrogram is batch-normalised as an image. Every residual block halves both of the image's axes. Global max
    pooling after the last block gives the output.

    Args:
        log_mel: log-mel spectrogram [batch, frames, mels].
        config: configuration of the branch.
        momentum: momentum of the batch norms.

    Returns:
        Tensor [batch, output_width].
    """
    x = normalised_image_of(log_mel, momentum, "short_chunk")
    for number, kernels in enumerate(config.kernels, start=1):
        x = _residual_block(x, kernels, config.kernel_size, momentum, f"short_chunk_block{number}")
    return layers.GlobalMaxPooling2D(name="short_chunk_output")(x)


def _residual_block(x: KerasTensor, kernels: int, kernel_size: int, momentum: float, name: str) -> KerasTensor:
    """Add a residual block: [batch, mels, frames, channels] -> [batch, mels / 2, frames / 2, kernels], rounded up.

    The main path has two convolutions, the shortcut has one. The first convolution of each path has stride 2. Every
    convolution has batch norm, and a ReLU follows the sum.
    """

    def convolution(inputs: KerasTensor, strides: int, part: str) -> KerasTensor:
        size = (kernel_size, kernel_size)
        return ConvBatchNorm(kernels, size, strides=strides, momentum=momentum, name=f"{name}_{part}")(inputs)

    y = convolution(x, STRIDES, "conv1")
    y = layers.Activation("relu", name=f"{name}_conv1_activation")(y)
    y = convolution(y, 1, "conv2")
    x = layers.Add(name=f"{name}_sum")([convolution(x, STRIDES, "shortcut"), y])
    return layers.Activation("relu", name=f"{name}_activation")(x)
