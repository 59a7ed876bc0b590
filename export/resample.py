"""Resampling inside the TensorFlow graph: a windowed-sinc polyphase filter, one convolution per source rate."""

from dataclasses import dataclass
from math import ceil, gcd

import numpy as np
import tensorflow as tf
from scipy.signal import kaiserord

from genre_tagger.errors import UserError

STOPBAND_DB = 80.0
PASSBAND = 0.9  # edge of the passband relative to the lower Nyquist frequency, at which the stopband begins
MIN_GROUP = 128  # samples per group; wide groups turn the convolution into one large matrix product
MAX_WEIGHTS = 4_000_000


@dataclass(frozen=True)
class Polyphase:
    """A filter that converts one sample rate to another. It turns each group of `inputs` samples into `outputs`.

    Attributes:
        kernel: float32 [2 * context + 1, inputs, outputs], the kernel of a convolution whose steps are the groups and
            whose channels are the samples of a group.
    """

    kernel: np.ndarray

    @property
    def inputs(self) -> int:
        """Number of samples per group before resampling."""
        return self.kernel.shape[1]

    @property
    def outputs(self) -> int:
        """Number of samples per group after resampling."""
        return self.kernel.shape[2]

    @property
    def context(self) -> int:
        """Number of neighbouring groups that the filter needs on each side."""
        return self.kernel.shape[0] // 2

    def __call__(self, waveform: tf.Tensor) -> tf.Tensor:
        """Resample a waveform that includes `context` groups on each side.

        Args:
            waveform: float32 [(groups + 2 * context) * inputs].

        Returns:
            float32 [groups * outputs].
        """
        groups = tf.reshape(waveform, [1, -1, self.inputs])
        return tf.reshape(tf.nn.conv1d(groups, self.kernel, stride=1, padding="VALID"), [-1])


def design(source_hz: int, target_hz: int) -> Polyphase:
    """Design the filter from one sample rate to another.

    The filter is a sinc with a Kaiser window (J. O. Smith, "Digital Audio Resampling Home Page"). It is flat up to 0.9
    of the lower Nyquist frequency and attenuates by 80 dB from that Nyquist frequency upwards. Every phase has unit
    gain.

    Args:
        source_hz: sample rate of the input in hertz.
        target_hz: sample rate of the output in hertz.

    Returns:
        The filter; an identity if both rates are equal.

    Raises:
        UserError: the rates have no small integer ratio.
    """
    if source_hz == target_hz:
        return Polyphase(np.eye(MIN_GROUP, dtype=np.float32)[None])
    divisor = gcd(source_hz, target_hz)
    factor = ceil(MIN_GROUP * divisor / source_hz)
    inputs, outputs = (factor * rate // divisor for rate in (source_hz, target_hz))
    lower = min(1.0, target_hz / source_hz)  # the lower Nyquist frequency, relative to the one of the source
    taps, beta = kaiserord(STOPBAND_DB, (1 - PASSBAND) * lower)
    context = ceil(taps / 2 / inputs)
    if (2 * context + 1) * inputs * outputs > MAX_WEIGHTS:
        raise UserError(
            f"config key 'frontend.sample_rate': found {target_hz} Hz, expected a common rate such as 12000, 16000 or "
            f"22050: an exported model resamples from {source_hz} Hz, and the two rates have no small integer ratio"
        )
    lags = np.arange(-context * inputs, (context + 1) * inputs)[:, None] - np.arange(outputs) * inputs / outputs
    impulse = _windowed_sinc(lags, lower * (1 + PASSBAND) / 2, taps / 2, beta)
    kernel = (impulse / impulse.sum(axis=0)).reshape(2 * context + 1, inputs, outputs)
    return Polyphase(kernel.astype(np.float32))


def resampled_length(samples: tf.Tensor, source_hz: tf.Tensor, target_hz: int) -> tf.Tensor:
    """Return the number of samples after resampling (int64), rounded to the nearest integer as in soxr.

    Args:
        samples: int64, number of samples before resampling.
        source_hz: int64, sample rate before resampling, in hertz.
        target_hz: sample rate after resampling, in hertz.
    """
    return (2 * samples * target_hz + source_hz) // (2 * source_hz)


def _windowed_sinc(lags: np.ndarray, cutoff: float, half_width: float, beta: float) -> np.ndarray:
    inside = np.clip(1 - (lags / half_width) ** 2, 0, None)
    window = np.i0(beta * np.sqrt(inside)) / np.i0(beta) * (np.abs(lags) < half_width)
    return cutoff * np.sinc(cutoff * lags) * window
