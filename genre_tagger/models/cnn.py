"""The CNN branch: convolution blocks on the spectrogram as an image, pooled to one vector per window."""

from keras import KerasTensor, layers

from genre_tagger.config import CnnConfig
from genre_tagger.errors import UserError
from genre_tagger.models.blocks import (
    check_blocks,
    image_of,
    plain_convolution,
    pool_and_activate,
    resnext_convolution,
)


def cnn_branch(log_mel: KerasTensor, config: CnnConfig, momentum: float) -> KerasTensor:
    """Add the CNN branch: [batch, frames, mels] -> [batch, output_width].

    Each block consists of convolution, batch norm, optional squeeze-and-excitation, activation, max pooling and
    dropout. Pool sizes are limited to the size of the image, so the same configuration works for shorter windows. An
    output convolution and global max pooling follow the blocks. Without other branches and without dense layers in the
    head, this is the fully convolutional network of arXiv 1606.00298.

    Args:
        log_mel: log-mel spectrogram [batch, frames, mels].
        config: configuration of the branch.
        momentum: momentum of the batch norms.

    Returns:
        Tensor [batch, output_width].

    Raises:
        UserError: If the numbers of kernels, pools and dropouts differ, or if a ResNeXt block is combined with
            squeeze-and-excitation or cannot divide its kernels into groups.
    """
    _check(config)
    x = image_of(log_mel, "cnn")
    for number, (kernels, pool, dropout) in enumerate(
        zip(config.kernels, config.pools, config.dropouts, strict=True), start=1
    ):
        name = f"cnn_block{number}"
        x = _convolution(x, config, kernels, momentum, name)
        x = pool_and_activate(x, pool, config.activation, dropout, name, config.squeeze_excite)
    x = plain_convolution(x, config.output_width, config.kernel_size, momentum, "cnn_output")
    x = layers.GlobalMaxPooling2D(name="cnn_output")(x)
    if config.output_activation:  # monotonic, so applying it after the pool gives the same values
        x = layers.Activation(config.output_activation, name="cnn_output_activation")(x)
    return layers.Dropout(config.output_dropout, name="cnn_output_dropout")(x) if config.output_dropout else x


def _convolution(x: KerasTensor, config: CnnConfig, kernels: int, momentum: float, name: str) -> KerasTensor:
    if config.block == "plain":
        return plain_convolution(x, kernels, config.kernel_size, momentum, name)
    return resnext_convolution(x, kernels, config.kernel_size, config.cardinality, momentum, name)


def _check(config: CnnConfig) -> None:
    check_blocks(config, "model.cnn")
    if config.block == "resnext" and config.squeeze_excite is not None:
        raise UserError(
            f"config key 'model.cnn.squeeze_excite': found {config.squeeze_excite!r}, expected none with block: resnext"
        )
    if config.block == "resnext" and any(kernels % (2 * config.cardinality) for kernels in config.kernels):
        raise UserError(
            f"config key 'model.cnn.kernels': found {list(config.kernels)}, expected multiples of "
            f"{2 * config.cardinality}: a resnext block splits half of its kernels into model.cnn.cardinality = "
            f"{config.cardinality} groups"
        )
