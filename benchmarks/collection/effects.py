"""Effects on a mix. Each takes and returns float64 [samples]."""

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from benchmarks.collection.sound import SAMPLE_RATE, amplitude, rms, times

CRACKLE_SECONDS = 0.0006
TILT_PIVOT_HZ = 800.0


def distort(samples: np.ndarray, drive_db: float) -> np.ndarray:
    """Overdrive by tanh. At 0 dB the RMS level is 1, which already distorts the peaks."""
    level = rms(samples)
    return np.tanh(samples / level * amplitude(drive_db)) * level


def tremolo(samples: np.ndarray, rate_hz: float, depth: float) -> np.ndarray:
    """Vary the loudness periodically between 1 and 1 - depth."""
    swing = np.cos(2 * np.pi * rate_hz * np.arange(len(samples)) / SAMPLE_RATE)
    return samples * (1 - depth / 2 + depth / 2 * swing)


def reverberate(samples: np.ndarray, decay_seconds: float, wet: float, rng: np.random.Generator) -> np.ndarray:
    """Add reverberation: noise that falls by 60 dB in `decay_seconds`. `wet` is its share of the mix, 0 to 1."""
    time = times(decay_seconds)
    room = rng.normal(size=len(time)) * 10 ** (-3 * time / decay_seconds)
    room = lfilter([0.5, 0.5], [1], room) / np.sqrt(np.sum(np.square(room)))
    return (1 - wet) * samples + wet * fftconvolve(samples, room)[: len(samples)]


def tilt(samples: np.ndarray, high_db: float) -> np.ndarray:
    """Raise frequencies above the pivot by `high_db` relative to those below, with a gentle slope."""
    low = sosfilt(butter(1, TILT_PIVOT_HZ, fs=SAMPLE_RATE, output="sos"), samples)
    return low + amplitude(high_db) * (samples - low)


def muffle(samples: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Keep frequencies below the cutoff. Above it, the filter falls by 12 dB per octave."""
    return sosfilt(butter(2, cutoff_hz, fs=SAMPLE_RATE, output="sos"), samples)


def hiss(samples: np.ndarray, level_db: float, colour: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise at a level relative to the mix. Colour 0 is white noise; values towards 1 make it darker."""
    noise = lfilter([1], [1, -colour], rng.normal(size=len(samples)))
    return samples + noise * (rms(samples) * amplitude(level_db) / rms(noise))


def crackle(samples: np.ndarray, level_db: float, clicks_per_second: float, rng: np.random.Generator) -> np.ndarray:
    """Add the clicks of a worn record at random times.

    `level_db` is the peak of the median click relative to the RMS level of the mix.
    """
    clicks = rng.poisson(clicks_per_second * len(samples) / SAMPLE_RATE)
    impulses = np.zeros(len(samples))
    signs = rng.choice((-1.0, 1.0), clicks)
    np.add.at(impulses, rng.integers(0, len(samples), clicks), signs * rng.lognormal(0, 0.7, clicks))
    decay = np.exp(-1 / (CRACKLE_SECONDS * SAMPLE_RATE))
    return samples + lfilter([1], [1, -decay], impulses) * (rms(samples) * amplitude(level_db))
