"""Each perturbation, tested by measuring levels, spectra, lengths and bit rates of its result."""

import numpy as np
import pytest
import soxr

from genre_tagger.evaluation.robustness.perturbations import (
    CONDITIONS,
    MP3_RATE,
    centre,
    encode_mp3,
    gain,
    mp3,
    noise,
    pitch,
    stretch,
    telephone,
)

RATE = 16_000
SEED = (3, 7)


def sine(hertz: float, seconds: float = 2.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def sound(seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Return noise below a quarter of the sample rate whose level changes ten times per second."""
    rng = np.random.default_rng(1)
    samples = round(seconds * rate)
    levels = np.repeat(rng.uniform(0.02, 0.2, round(seconds * 10)), rate // 10)[:samples]
    return soxr.resample(levels * rng.standard_normal(samples), rate / 2, rate)[:samples].astype(np.float32)


def peak_hertz(waveform: np.ndarray) -> float:
    """Return the frequency of the spectral peak, to 0.1 Hz."""
    windowed = waveform * np.hanning(len(waveform))
    return np.argmax(np.abs(np.fft.rfft(windowed, 10 * RATE))) / 10


def energy(waveform: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))) ** 2
    hertz = np.fft.rfftfreq(len(waveform), 1 / RATE)
    return spectrum[(hertz >= low) & (hertz < high)].sum()


def snr_db(waveform: np.ndarray, changed: np.ndarray) -> float:
    return 10 * np.log10(np.sum(waveform.astype(float) ** 2) / np.sum((changed - waveform).astype(float) ** 2))


def test_order_of_the_conditions():
    assert list(CONDITIONS) == [
        *("MP3 32 kbps", "MP3 64 kbps", "MP3 128 kbps"),
        *("noise 20 dB SNR", "noise 10 dB SNR", "noise 0 dB SNR"),
        *("gain -12 dB", "gain +12 dB"),
        "8 kHz sampling",
        *("pitch -1 semitone", "pitch +1 semitone"),
        *("stretch 0.9", "stretch 1.1"),
        *("length 1 s", "length 3 s", "length 5 s", "length 10 s"),
    ]


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("rate", [12_000, 44_100])
def test_every_condition_is_a_pure_function_even_for_the_shortest_clip_and_silence(name, rate, recwarn):
    for waveform in (sound(0.2, rate)[: rate // 10], np.zeros(rate // 10, np.float32)):
        before = waveform.copy()
        once, again = (CONDITIONS[name](waveform, rate, SEED) for _ in range(2))
        assert np.array_equal(waveform, before)
        assert np.array_equal(once, again)
        assert once.dtype == np.float32 and np.isfinite(once).all()
        assert len(once) == round(len(waveform) / float(name.removeprefix("stretch "))) if "stretch" in name else True
        assert len(once) == len(waveform) or "stretch" in name
    assert not recwarn.list


@pytest.mark.parametrize("kbps", [32, 64, 128])
def test_mp3_has_its_bit_rate_and_is_aligned(kbps):
    seconds = 5
    encoded = encode_mp3(soxr.resample(sound(seconds), RATE, MP3_RATE), kbps)
    assert len(encoded) * 8 / seconds == pytest.approx(kbps * 1000, rel=0.015)  # up to one more frame of 26 ms
    waveform = sound(seconds)
    decoded = mp3(waveform, RATE, SEED, kbps=kbps)
    assert len(decoded) == len(waveform)
    correlation = np.fft.irfft(np.fft.rfft(decoded, 2 * len(decoded)) * np.fft.rfft(waveform, 2 * len(decoded)).conj())
    assert np.argmax(correlation) == 0
    assert snr_db(waveform, decoded) > 5


def test_mp3_is_more_accurate_at_a_higher_bit_rate():
    waveform = sound()
    decoded = [mp3(waveform, RATE, SEED, kbps=kbps) for kbps in (32, 64, 128)]
    levels = [changed @ waveform / (waveform @ waveform) for changed in decoded]
    assert all(0.9 < level < 1.01 for level in levels)
    ratios = [snr_db(waveform, changed / level) for changed, level in zip(decoded, levels, strict=True)]
    assert ratios[0] + 10 < ratios[1] < ratios[2] - 10


@pytest.mark.parametrize("decibels", [20, 10, 0])
def test_noise_is_white_and_has_the_given_snr(decibels):
    for waveform in (sound(), sound() / 100):
        noisy = noise(waveform, RATE, SEED, snr_db=decibels)
        assert snr_db(waveform, noisy) == pytest.approx(decibels, abs=0.01)
        added = noisy - waveform
        bands = [energy(added, low, low + 1000) for low in range(0, 8000, 1000)]
        assert max(bands) / min(bands) < 1.2
        assert abs(np.corrcoef(added, waveform)[0, 1]) < 0.03


def test_noise_differs_between_clips_and_between_seeds():
    added = [noise(sound(), RATE, seed, snr_db=0) - sound() for seed in [(0, 0), (0, 1), (1, 0)]]
    correlations = np.abs(np.corrcoef(added))
    assert (correlations[~np.eye(3, dtype=bool)] < 0.03).all()


def test_gain_of_12_db_clips_at_full_scale():
    waveform = sine(440)
    louder = gain(waveform, RATE, SEED, decibels=12)
    factor = 10**0.6
    clipped = np.abs(waveform) > 1 / factor
    assert np.abs(louder).max() == 1
    assert np.mean(np.abs(louder) == 1) == np.mean(clipped)
    # The absolute value of a sine of amplitude 0.5 is above 0.251 for 2/3 of the time.
    assert np.mean(clipped) == pytest.approx(1 - 2 / np.pi * np.arcsin(2 / factor), abs=1e-3)
    np.testing.assert_allclose(louder[~clipped], waveform[~clipped] * factor, rtol=1e-6)
    np.testing.assert_allclose(gain(waveform, RATE, SEED, decibels=-12), waveform / factor, rtol=1e-6)


def test_telephone_removes_frequencies_above_4_khz_only():
    kept = sine(3000)
    changed = telephone(kept + sine(5000), RATE, SEED)
    assert len(changed) == len(kept)
    assert energy(changed, 4000, 8001) < 1e-6 * energy(changed, 0, 4000)
    middle = slice(RATE // 2, -RATE // 2)
    np.testing.assert_allclose(changed[middle], kept[middle], atol=1e-3)


@pytest.mark.parametrize("semitones", [-1, 1])
def test_pitch_shifts_a_tone_by_a_semitone(semitones):
    changed = pitch(sine(440), RATE, SEED, semitones=semitones)
    assert peak_hertz(changed) == pytest.approx(440 * 2 ** (semitones / 12), abs=0.3)
    assert len(changed) == 2 * RATE


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_stretch_changes_times_but_not_the_pitch(speed):
    waveform = sine(440)
    waveform[: len(waveform) // 2] *= 0.1
    changed = stretch(waveform, RATE, SEED, speed=speed)
    assert len(changed) == round(len(waveform) / speed)
    assert peak_hertz(changed) == pytest.approx(440, abs=0.3)
    level = np.sqrt(np.convolve(changed**2, np.ones(400) / 400, "same"))
    louder = np.argmax(level > 0.2)  # about half of the later RMS level of the sine, 0.35
    assert louder / RATE == pytest.approx(1 / speed, abs=0.03)


@pytest.mark.parametrize(("seconds", "first", "last"), [(1, 1, 3), (0.5, 1.5, 2.5), (3, 0, 4)])
def test_centre_returns_the_middle(seconds, first, last):
    waveform = np.arange(4 * RATE // 2, dtype=np.float32)
    found = centre(waveform, RATE, SEED, seconds=seconds)
    assert np.array_equal(found, waveform[round(first * RATE / 2) : round(last * RATE / 2)])
