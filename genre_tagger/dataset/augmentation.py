"""Augmentation of the waveforms of training batches with tf.data: level, noise and mixup.

SpecAugment works on the spectrogram and is a layer of the model.
"""

import tensorflow as tf

from genre_tagger.config import AugmentConfig

CLEANEST_DB = 60.0  # signal-to-noise ratio of the faintest noise


def augment_batch(
    waveform: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, config: AugmentConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augment a batch. The result depends on the seed only.

    Args:
        waveform: float32 [batch, samples].
        labels: float32 [batch, tags], 1, 0 or -1 (unknown).
        seed: int64 [2].
        config: which augmentations are applied, and their strengths.

    Returns:
        The waveforms float32 [batch, samples] and the labels float32 [batch, tags]. Where two windows are mixed, labels
        are between 0 and 1, or -1 if the label of either window is unknown.
    """
    mixing, partner, level, noise = tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 4))
    if config.mixup:
        waveform, labels = _mixed(waveform, labels, mixing, partner, config.mixup)
    if config.noise_snr_db is not None:
        waveform = _noisy(waveform, noise, config.noise_snr_db)
    if config.gain_db:
        waveform = waveform * _amplitude(_uniform(waveform, level, -config.gain_db, config.gain_db))
    return waveform, labels


def _mixed(
    waveform: tf.Tensor, labels: tf.Tensor, mixing: tf.Tensor, partner: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mix every window with a random window of its batch, possibly itself (mixup, arXiv 1710.09412).

    The shares of the two windows are Beta-distributed.
    """
    batch = tf.shape(waveform)[0]
    first, second = (
        tf.random.stateless_gamma([batch, 1], part, alpha) for part in tf.unstack(tf.random.split(mixing, 2))
    )
    share = first / (first + second)
    share = tf.maximum(share, 1.0 - share)  # the window itself keeps the larger share
    others = tf.random.experimental.stateless_shuffle(tf.range(batch), partner)
    other_labels = tf.gather(labels, others)
    known = tf.logical_and(labels >= 0, other_labels >= 0)
    mixed = share * labels + (1.0 - share) * other_labels
    return share * waveform + (1.0 - share) * tf.gather(waveform, others), tf.where(known, mixed, -1.0)


def _noisy(waveform: tf.Tensor, seed: tf.Tensor, lowest_snr_db: float) -> tf.Tensor:
    """Add white noise at a signal-to-noise ratio between the lowest one and CLEANEST_DB, drawn for each window."""
    ratio, samples = tf.unstack(tf.random.split(seed, 2))
    power = tf.reduce_mean(tf.square(waveform), axis=1, keepdims=True)
    amplitude = tf.sqrt(power) * _amplitude(-_uniform(waveform, ratio, lowest_snr_db, CLEANEST_DB))
    return waveform + amplitude * tf.random.stateless_normal(tf.shape(waveform), samples)


def _uniform(waveform: tf.Tensor, seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Draw one number per window, float32 [batch, 1]."""
    return tf.random.stateless_uniform([tf.shape(waveform)[0], 1], seed, low, high)


def _amplitude(decibel: tf.Tensor) -> tf.Tensor:
    return tf.pow(10.0, decibel / 20.0)
