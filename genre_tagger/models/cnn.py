"""The CNN branch: convolution blocks on the spectrogram as an image, pooled down to one vector."""

from keras import layers

from genre_tagger.config import CnnConfig
from genre_tagger.errors import UserError
from genre_tagger.models.blocks import (
    check_blocks,
    image_of,
    plain_convolution,
    pool_and_activate,
    resnext_convolution,
)


def cnn_branch(log_mel, config: CnnConfig, momentum: float):
    """Adds the CNN branch to a functional model: log-mel [batch, frames, mels] -> [batch, output_width].

    Each block is convolution, batch norm, squeeze-and-excitation (if asked for), activation, max pooling, dropout.
    Pools are capped at what is left of the image, so that shorter windows build the same form, and the last pool is
    global. Without other branches and dense layers this is the fully convolutional network of arXiv 1606.00298.
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
    if config.output_activation:  # rises monotonically: the same before the pool
        x = layers.Activation(config.output_activation, name="cnn_output_activation")(x)
    return layers.Dropout(config.output_dropout, name="cnn_output_dropout")(x) if config.output_dropout else x


def _convolution(x, config, kernels, momentum, name):
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
            f"{2 * config.cardinality}: half of a resnext block's kernels are cut into model.cnn.cardinality = "
            f"{config.cardinality} groups"
        )
