"""Sample times, levels, and the oscillator of all pitched voices except plucks and bells."""

import numpy as np

SAMPLE_RATE = 16_000
HIGHEST_HZ = 7_500.0  # highest partial, below half the sample rate to avoid aliasing
TABLE_SAMPLES = 2_048


def times(seconds: float) -> np.ndarray:
    """Return the times of samples in seconds from 0, [samples]."""
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def amplitude(level_db: float) -> float:
    """Return the amplitude factor of a level in dB."""
    return 10 ** (level_db / 20)


def rms(samples: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(samples))))


def fades(time: np.ndarray, attack_seconds: float, release_seconds: float) -> np.ndarray:
    """Return an envelope that rises linearly to 1 at the start and falls linearly to 0 at the end, [samples]."""
    left = time[-1] - time
    return np.minimum(1, np.minimum(time / attack_seconds, left / release_seconds))


def partials(hz: float) -> np.ndarray:
    """Return the numbers, from 1, of a tone's partials up to HIGHEST_HZ."""
    return np.arange(1, max(2, int(HIGHEST_HZ / hz) + 1))


def oscillate(amplitudes: np.ndarray, hz: float | np.ndarray, time: np.ndarray, phase: float = 0.0) -> np.ndarray:
    """Return a tone with the given partials, read from a table of one period: [samples], peak 1.

    Args:
        amplitudes: amplitudes of the partials from the fundamental up, [partials].
        hz: pitch, a single value or [samples].
        time: times in seconds, [samples].
        phase: starting position in the period, 0 to 1.
    """
    spectrum = np.zeros(TABLE_SAMPLES // 2 + 1, dtype=complex)
    spectrum[1 : len(amplitudes) + 1] = -1j * amplitudes
    table = np.fft.irfft(spectrum)
    table = np.append(table, table[0]) / np.abs(table).max()
    turns = (phase + np.cumsum(np.broadcast_to(hz, time.shape)) / SAMPLE_RATE) % 1
    return np.interp(turns * TABLE_SAMPLES, np.arange(TABLE_SAMPLES + 1), table)


def vibrato(hz: float, time: np.ndarray, rate_hz: float, cents: float) -> np.ndarray:
    """Return a pitch that varies around `hz`, [samples]. The depth grows over the first 0.4 s."""
    growing = np.minimum(1, time / 0.4)
    return hz * 2 ** (cents / 1200 * growing * np.sin(2 * np.pi * rate_hz * time))
