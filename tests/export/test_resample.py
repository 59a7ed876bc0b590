"""The frequency response of every resampling filter, computed from its weights."""

import numpy as np
import pytest
from facts import expect_error

from genre_tagger.export.contract import WAV_RATES_HZ
from genre_tagger.export.resample import design

PAIRS = [(source, target) for target in (12_000, 16_000, 22_050) for source in WAV_RATES_HZ if source != target]


def phase_gains(filters, source_hz, hertz):
    """Return the ratio of actual to ideal output for complex exponentials, for each output phase.

    The result is complex [hertz, outputs].
    """
    lags = np.arange(-filters.context * filters.inputs, (filters.context + 1) * filters.inputs)
    kernel = filters.kernel.reshape(-1, filters.outputs).astype(float)
    omega = 2 * np.pi * np.asarray(hertz)[:, None] / source_hz
    ideal = np.exp(1j * omega * np.arange(filters.outputs) * filters.inputs / filters.outputs)
    return np.exp(1j * omega * lags) @ kernel / ideal


def decibel(gain):
    return 20 * np.log10(np.abs(gain) + 1e-12)


@pytest.mark.parametrize(("source_hz", "target_hz"), PAIRS)
def test_flat_below_and_silent_beyond_the_lower_nyquist(source_hz, target_hz):
    filters = design(source_hz, target_hz)
    lower = min(source_hz, target_hz) / 2
    passed = phase_gains(filters, source_hz, np.linspace(0, 0.9 * lower, 60))
    assert np.abs(decibel(passed.mean(axis=1))).max() < 0.1
    # Differences between the phases are images of the tone at other frequencies.
    assert decibel(np.fft.fft(passed, axis=1)[:, 1:] / filters.outputs).max() < -60
    if source_hz > target_hz:  # all higher frequencies would alias
        beyond = phase_gains(filters, source_hz, np.linspace(lower, source_hz / 2, 60))
        assert decibel(beyond).max() < -60


def test_equal_rates_change_nothing():
    waveform = np.random.default_rng(0).normal(size=1280).astype(np.float32)
    np.testing.assert_array_equal(design(16_000, 16_000)(waveform), waveform)


def test_groups_have_the_ratio_of_the_rates():
    for source_hz, target_hz in PAIRS:
        filters = design(source_hz, target_hz)
        assert filters.inputs * target_hz == filters.outputs * source_hz


def test_rate_without_a_small_ratio_is_rejected():
    with expect_error("frontend.sample_rate", "12347 Hz", "44100 Hz"):
        design(44_100, 12_347)
