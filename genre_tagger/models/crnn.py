"""The CRNN branch: convolution blocks on the spectrogram as an image, then recurrent layers along time."""

import math

from keras import layers

from genre_tagger.config import CrnnConfig
from genre_tagger.models.blocks import check_blocks, normalised_image_of, plain_convolution, pool_and_activate


def crnn_branch(log_mel, config: CrnnConfig, momentum: float):
    """Adds the CRNN of arXiv 1609.04243: log-mel [batch, frames, mels] -> [batch, output_width].

    Each block is convolution, batch norm, activation, max pooling, dropout; gated recurrent layers read the steps that
    are left, and the last one's last state is the output. Time is filled at both ends up to whole steps
    (1,366 frames to 1,440: 15 steps), behind the input's batch norm; the pools along mels are capped at the bands left.
    """
    check_blocks(config, "model.crnn")
    x = normalised_image_of(log_mel, momentum, "crnn")
    missing = -x.shape[2] % math.prod(frames for _, frames in config.pools)
    x = layers.ZeroPadding2D(((0, 0), (missing // 2, missing - missing // 2)), name="crnn_padding")(x)
    for number, (kernels, pool, dropout) in enumerate(
        zip(config.kernels, config.pools, config.dropouts, strict=True), start=1
    ):
        name = f"crnn_block{number}"
        x = plain_convolution(x, kernels, config.kernel_size, momentum, name)
        x = pool_and_activate(x, pool, config.activation, dropout, name)
    x = layers.Permute((2, 1, 3), name="crnn_steps")(x)
    x = layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name="crnn_features")(x)
    x = _recurrent(x, config.recurrent_widths)
    return layers.Dropout(config.output_dropout, name="crnn_output_dropout")(x) if config.output_dropout else x


def _recurrent(x, widths):
    """Unrolled: the few steps are then plain products, which every exporter and the count of operations know."""
    for number, width in enumerate(widths, start=1):
        every_step = number < len(widths)
        x = layers.GRU(width, return_sequences=every_step, unroll=True, name=f"crnn_recurrent{number}")(x)
    return x
