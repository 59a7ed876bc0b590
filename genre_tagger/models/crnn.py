"""The CRNN branch: convolution blocks on the spectrogram as an image, then recurrent layers along time."""

import math

from keras import KerasTensor, layers

from genre_tagger.config import CrnnConfig
from genre_tagger.models.blocks import check_blocks, normalised_image_of, plain_convolution, pool_and_activate


def crnn_branch(log_mel: KerasTensor, config: CrnnConfig, momentum: float) -> KerasTensor:
    """Add the CRNN branch (arXiv 1609.04243): [batch, frames, mels] -> [batch, output_width].

    The image is batch-normalised, then zero-padded in time to a multiple of the total time pooling (with the published
    pools, 1366 frames are padded to 1440, which leaves 15 steps). Each block consists of convolution, batch norm,
    activation, max pooling and dropout. Pool sizes are limited to the size of the image. Stacked GRU layers then read
    the remaining steps, and the last state of the last GRU is the output.

    Args:
        log_mel: log-mel spectrogram [batch, frames, mels].
        config: configuration of the branch.
        momentum: momentum of the batch norms.

    Returns:
        Tensor [batch, output_width].

    Raises:
        UserError: If the numbers of kernels, pools and dropouts differ.
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


def _recurrent(x: KerasTensor, widths: tuple[int, ...]) -> KerasTensor:
    """Add stacked GRU layers: [batch, steps, features] -> [batch, widths[-1]].

    The GRUs are unrolled. There are few steps, and the result contains matrix products only, which every exporter and
    the operation counter support.
    """
    for number, width in enumerate(widths, start=1):
        every_step = number < len(widths)
        x = layers.GRU(width, return_sequences=every_step, unroll=True, name=f"crnn_recurrent{number}")(x)
    return x
