"""Augmentation inside the model, active in training only."""

from typing import Any

import keras
from keras import ops

from genre_tagger.models.layers import Shape, Tensor


@keras.saving.register_keras_serializable("genre_tagger")
class SpecAugment(keras.layers.Layer):
    """Masks ranges of mel bands and of frames in training (SpecAugment, arXiv 1904.08779).

    The width of each mask is drawn uniformly between 0 and a share of the axis, and its position uniformly among those
    where it fits. Masked values are replaced by the mean of the same spectrogram. At inference the layer returns its
    input.

    Input shape: [batch, frames, mels].
    Output shape: [batch, frames, mels].

    Args:
        masks: number of masks per axis.
        mel_share: width of the widest mel mask, as a share of the mel bands.
        frame_share: width of the widest time mask, as a share of the frames.
        seed: seed of the random masks.
    """

    def __init__(self, masks: int = 2, mel_share: float = 0.1, frame_share: float = 0.1, seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.masks = masks
        self.mel_share = mel_share
        self.frame_share = frame_share
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, log_mel: Tensor, training: bool = False) -> Tensor:
        if not training:
            return log_mel
        batch = ops.shape(log_mel)[0]
        _, frames, mels = log_mel.shape
        masked = ops.logical_or(
            self._mask(batch, frames, self.frame_share)[:, :, None], self._mask(batch, mels, self.mel_share)[:, None]
        )
        return ops.where(masked, ops.mean(log_mel, axis=(1, 2), keepdims=True), log_mel)

    def _mask(self, batch: Tensor, length: int, share: float) -> Tensor:
        """Draw masks along one axis: bool [batch, length], True inside any mask."""
        width, place = (
            keras.random.uniform((batch, self.masks, 1), seed=self._generator, dtype="float32") for _ in range(2)
        )
        width = width * share * length
        start = place * (length - width)
        position = ops.cast(ops.arange(length), "float32")
        return ops.any(ops.logical_and(position >= start, position < start + width), axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = {"masks": self.masks, "mel_share": self.mel_share, "frame_share": self.frame_share, "seed": self.seed}
        return {**super().get_config(), **config}
