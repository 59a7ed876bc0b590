"""Self-attention over time, as a read-out of all time steps in place of the last one."""

import keras
import numpy as np
from keras import layers, ops

from genre_tagger.config import AttentionConfig
from genre_tagger.errors import UserError

LONGEST_WAVE = 10_000  # of the positions, in steps over 2 pi


@keras.saving.register_keras_serializable("genre_tagger")
class SinusoidalPositions(keras.layers.Layer):
    """Adds the positions of arXiv 1706.03762 to [batch, steps, channels]: sines, then cosines, of falling frequency.

    They have no weights, so that windows of any length get the same ones.
    """

    def build(self, input_shape):
        _, steps, channels = input_shape
        rates = LONGEST_WAVE ** (-np.arange((channels + 1) // 2) / ((channels + 1) // 2))
        angles = np.arange(steps)[:, None] * rates
        self._positions = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :channels]

    def call(self, x):
        return x + ops.cast(self._positions, x.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape


def attention_readout(x, config: AttentionConfig, name: str):
    """Adds multi-head self-attention over averaged frames: [batch, frames, channels] -> [batch, channels].

    The frames are averaged `pool_frames` at a time, given positions, attend to one another (with a shortcut and layer
    norm behind it, as in arXiv 1706.03762) and are averaged.
    """
    _, frames, channels = x.shape
    if channels % config.heads:
        raise UserError(
            f"config key 'model.wavenet.attention.heads': found {config.heads}, expected a divisor of "
            f"model.wavenet.skip_channels = {channels}"
        )
    # With the padding `same`, the first and the last average are over the frames that there are.
    x = layers.AveragePooling1D(min(config.pool_frames, frames), padding="same", name=f"{name}_pool")(x)
    x = SinusoidalPositions(name=f"{name}_positions")(x)
    attended = layers.MultiHeadAttention(config.heads, channels // config.heads, name=name)(x, x)
    x = layers.Add(name=f"{name}_sum")([x, attended])
    x = layers.LayerNormalization(name=f"{name}_norm")(x)
    return layers.GlobalAveragePooling1D(name=f"{name}_average")(x)
