"""Self-attention over time, which reads all time steps of the WaveNet instead of the last one."""

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from genre_tagger.config import AttentionConfig
from genre_tagger.errors import UserError
from genre_tagger.models.layers import Shape, Tensor

LONGEST_WAVE = 10_000  # longest wavelength of the positional encoding, in steps / (2 pi)


@keras.saving.register_keras_serializable("genre_tagger")
class SinusoidalPositions(keras.layers.Layer):
    """Adds the sinusoidal positional encoding of the Transformer (arXiv 1706.03762).

    The first half of the channels receives sines and the second half cosines, both of falling frequency. The encoding
    has no weights, so the weights of the model fit windows of any length.

    Input shape: [batch, steps, channels].
    Output shape: [batch, steps, channels].
    """

    def build(self, input_shape: tuple[int, ...]) -> None:
        _, steps, channels = input_shape
        rates = LONGEST_WAVE ** (-np.arange((channels + 1) // 2) / ((channels + 1) // 2))
        angles = np.arange(steps)[:, None] * rates
        self._positions = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :channels]

    def call(self, x: Tensor) -> Tensor:
        return x + ops.cast(self._positions, x.dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


def attention_readout(x: KerasTensor, config: AttentionConfig, name: str) -> KerasTensor:
    """Add multi-head self-attention over averaged frames: [batch, frames, channels] -> [batch, channels].

    Builds average pooling over `pool_frames` frames, the positional encoding, self-attention with a residual
    connection and layer normalisation (arXiv 1706.03762), and the average over all steps.

    Args:
        x: tensor [batch, frames, channels].
        config: configuration of the attention.
        name: prefix of the layer names.

    Returns:
        Tensor [batch, channels].

    Raises:
        UserError: If the number of heads does not divide the number of channels.
    """
    _, frames, channels = x.shape
    if channels % config.heads:
        raise UserError(
            f"config key 'model.wavenet.attention.heads': found {config.heads}, expected a divisor of "
            f"model.wavenet.skip_channels = {channels}"
        )
    # With padding `same`, Keras averages the first and the last group over their real frames only, not the padding.
    x = layers.AveragePooling1D(min(config.pool_frames, frames), padding="same", name=f"{name}_pool")(x)
    x = SinusoidalPositions(name=f"{name}_positions")(x)
    attended = layers.MultiHeadAttention(config.heads, channels // config.heads, name=name)(x, x)
    x = layers.Add(name=f"{name}_sum")([x, attended])
    x = layers.LayerNormalization(name=f"{name}_norm")(x)
    return layers.GlobalAveragePooling1D(name=f"{name}_average")(x)
