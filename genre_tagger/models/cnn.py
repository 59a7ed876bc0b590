"""The CNN branch: convolution blocks on the spectrogram as an image, pooled down to one vector."""

from keras import layers

from genre_tagger.config import CnnConfig
from genre_tagger.errors import UserError
from genre_tagger.models.layers import ConvBatchNorm


def cnn_branch(log_mel, config: CnnConfig, momentum: float):
    """Adds the CNN branch to a functional model: log-mel [batch, frames, mels] -> [batch, output_width].

    Each block is convolution, batch norm, activation, max pooling. Pools are capped at what is left of the image,
    so that shorter windows build the same form, and the last pool is global.
    """
    _check(config)
    x = layers.Permute((2, 1), name="cnn_image")(log_mel)
    x = layers.Reshape((*x.shape[1:], 1), name="cnn_channel")(x)
    for number, (kernels, pool, dropout) in enumerate(
        zip(config.kernels, config.pools, config.dropouts, strict=True), start=1
    ):
        x = _block(x, config, kernels, pool, dropout, momentum, f"cnn_block{number}")
    x = ConvBatchNorm(config.output_width, (config.kernel_size,) * 2, momentum=momentum, name="cnn_output_conv")(x)
    return layers.GlobalMaxPooling2D(name="cnn_output")(x)


def _block(x, config, kernels, pool, dropout, momentum, name):
    x = ConvBatchNorm(kernels, (config.kernel_size,) * 2, momentum=momentum, name=f"{name}_conv")(x)
    pool = tuple(min(size, left) for size, left in zip(pool, x.shape[1:3], strict=True))
    # The activation rises monotonically: pooling first gives the same values on a fraction of the elements.
    x = layers.MaxPooling2D(pool, name=f"{name}_pool")(x)
    x = layers.Activation(config.activation, name=f"{name}_activation")(x)
    return layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def _check(config: CnnConfig) -> None:
    counts = {name: len(getattr(config, name)) for name in ("kernels", "pools", "dropouts")}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"config key 'model.cnn': expected as many pools and dropouts as kernels, found {found}")
