"""Augmentation inside the model, in training alone."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("genre_tagger")
class SpecAugment(keras.layers.Layer):
    """Masks bands of mels and of frames of a log-mel spectrogram [batch, frames, mels] (SpecAugment, arXiv 1904.08779).

    Every mask is as wide as a uniform draw of up to its share of the axis, at a uniform place, and holds the clip's
    mean. Does nothing outside of training.

    Args:
        masks: on each axis.
        mel_share, frame_share: of the axis, that the widest mask covers.
        seed: of the draws.
    """

    def __init__(self, masks=2, mel_share=0.1, frame_share=0.1, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.masks = masks
        self.mel_share = mel_share
        self.frame_share = frame_share
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, log_mel, training=False):
        if not training:
            return log_mel
        batch, frames, mels = ops.shape(log_mel)[0], *log_mel.shape[1:]
        masked = ops.logical_or(
            self._mask(batch, frames, self.frame_share)[:, :, None], self._mask(batch, mels, self.mel_share)[:, None]
        )
        return ops.where(masked, ops.mean(log_mel, axis=(1, 2), keepdims=True), log_mel)

    def _mask(self, batch, length, share):
        """bool [batch, length], True inside one of the masks."""
        width, place = (
            keras.random.uniform((batch, self.masks, 1), seed=self._generator, dtype="float32") for _ in range(2)
        )
        width = width * share * length
        start = place * (length - width)
        position = ops.cast(ops.arange(length), "float32")
        return ops.any(ops.logical_and(position >= start, position < start + width), axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        config = {"masks": self.masks, "mel_share": self.mel_share, "frame_share": self.frame_share, "seed": self.seed}
        return {**super().get_config(), **config}
