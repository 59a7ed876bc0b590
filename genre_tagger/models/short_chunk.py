"""The short-chunk branch: residual blocks of stride 2 on the spectrogram of a few seconds."""

from keras import layers

from genre_tagger.config import ShortChunkConfig
from genre_tagger.models.blocks import normalised_image_of
from genre_tagger.models.layers import ConvBatchNorm

STRIDES = 2


def short_chunk_branch(log_mel, config: ShortChunkConfig, momentum: float):
    """Adds the short-chunk CNN with residual connections of arXiv 2006.00751: log-mel [batch, frames, mels] ->
    [batch, output_width].

    Every block halves both axes; the largest value over what is left of the image is the output.
    """
    x = normalised_image_of(log_mel, momentum, "short_chunk")
    for number, kernels in enumerate(config.kernels, start=1):
        x = _residual_block(x, kernels, config.kernel_size, momentum, f"short_chunk_block{number}")
    return layers.GlobalMaxPooling2D(name="short_chunk_output")(x)


def _residual_block(x, kernels, kernel_size, momentum, name):
    """Two convolutions beside one, the first of each of stride 2, each with batch norm; ReLU behind their sum."""

    def convolution(inputs, strides, part):
        size = (kernel_size, kernel_size)
        return ConvBatchNorm(kernels, size, strides=strides, momentum=momentum, name=f"{name}_{part}")(inputs)

    y = convolution(x, STRIDES, "conv1")
    y = layers.Activation("relu", name=f"{name}_conv1_activation")(y)
    y = convolution(y, 1, "conv2")
    x = layers.Add(name=f"{name}_sum")([convolution(x, STRIDES, "shortcut"), y])
    return layers.Activation("relu", name=f"{name}_activation")(x)
