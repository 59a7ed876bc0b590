"""Resampling inside the graph: a windowed-sinc polyphase filter as one convolution a rate."""

from dataclasses import dataclass
from math import ceil, gcd

import numpy as np
import tensorflow as tf
from scipy.signal import kaiserord

from genre_tagger.errors import UserError

STOPBAND_DB = 80.0
PASSBAND = 0.9  # of the lower Nyquist frequency; the stopband begins at the Nyquist frequency itself
MIN_GROUP = 128  # samples: wide groups make one matrix product of the convolution
MAX_WEIGHTS = 4_000_000


@dataclass(frozen=True)
class Polyphase:
    """A filter from one rate to another, in groups: `inputs` samples become `outputs` samples.

    Attributes:
        kernel: float32 [2 * context + 1, inputs, outputs], for groups as steps and their samples as channels.
    """

    kernel: np.ndarray

    @property
    def inputs(self) -> int:
        """Samples of a group before."""
        return self.kernel.shape[1]

    @property
    def outputs(self) -> int:
        """Samples of a group after."""
        return self.kernel.shape[2]

    @property
    def context(self) -> int:
        """Groups that the filter needs on either side."""
        return self.kernel.shape[0] // 2

    def __call__(self, waveform: tf.Tensor) -> tf.Tensor:
        """Filters float32 [(groups + 2 * context) * inputs], the context included, to [groups * outputs]."""
        groups = tf.reshape(waveform, [1, -1, self.inputs])
        return tf.reshape(tf.nn.conv1d(groups, self.kernel, stride=1, padding="VALID"), [-1])


def design(source_hz: int, target_hz: int) -> Polyphase:
    """Designs the filter: flat to 0.9 of the lower Nyquist frequency, 80 dB down from that frequency on.

    A sinc under a Kaiser window (J. O. Smith, "Digital Audio Resampling Home Page"), each phase of unit gain.

    Raises:
        UserError: the rates have no small common ratio.
    """
    if source_hz == target_hz:
        return Polyphase(np.eye(MIN_GROUP, dtype=np.float32)[None])
    divisor = gcd(source_hz, target_hz)
    factor = ceil(MIN_GROUP * divisor / source_hz)
    inputs, outputs = (factor * rate // divisor for rate in (source_hz, target_hz))
    lower = min(1.0, target_hz / source_hz)  # Nyquist frequency, relative to the source's
    taps, beta = kaiserord(STOPBAND_DB, (1 - PASSBAND) * lower)
    context = ceil(taps / 2 / inputs)
    if (2 * context + 1) * inputs * outputs > MAX_WEIGHTS:
        raise UserError(
            f"config key 'frontend.sample_rate': {target_hz} Hz has no small ratio to {source_hz} Hz, which an export "
            "takes; expected a common rate such as 12000, 16000 or 22050"
        )
    lags = np.arange(-context * inputs, (context + 1) * inputs)[:, None] - np.arange(outputs) * inputs / outputs
    impulse = _windowed_sinc(lags, lower * (1 + PASSBAND) / 2, taps / 2, beta)
    kernel = (impulse / impulse.sum(axis=0)).reshape(2 * context + 1, inputs, outputs)
    return Polyphase(kernel.astype(np.float32))


def resampled_length(samples: tf.Tensor, source_hz: tf.Tensor, target_hz: int) -> tf.Tensor:
    """Samples after resampling, int64, rounded to the nearest as soxr does."""
    return (2 * samples * target_hz + source_hz) // (2 * source_hz)


def _windowed_sinc(lags, cutoff: float, half_width: float, beta: float) -> np.ndarray:
    inside = np.clip(1 - (lags / half_width) ** 2, 0, None)
    window = np.i0(beta * np.sqrt(inside)) / np.i0(beta) * (np.abs(lags) < half_width)
    return cutoff * np.sinc(cutoff * lags) * window
