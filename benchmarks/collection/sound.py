"""Time, levels and the one oscillator that all pitched voices but plucks and bells are made of."""

import numpy as np

SAMPLE_RATE = 16_000
HIGHEST_HZ = 7_500.0  # of a partial, below half the rate: nothing folds back
TABLE_SAMPLES = 2_048


def times(seconds: float) -> np.ndarray:
    """Seconds from 0: [samples]."""
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def amplitude(level_db: float) -> float:
    """The factor of a level in dB."""
    return 10 ** (level_db / 20)


def rms(samples: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(samples))))


def fades(time: np.ndarray, attack_seconds: float, release_seconds: float) -> np.ndarray:
    """Rises to 1 and falls back to 0 at the end, in straight lines: [samples]."""
    left = time[-1] - time
    return np.minimum(1, np.minimum(time / attack_seconds, left / release_seconds))


def partials(hz: float) -> np.ndarray:
    """Numbers of the partials of a tone that the rate can hold, from 1."""
    return np.arange(1, max(2, int(HIGHEST_HZ / hz) + 1))


def oscillate(amplitudes: np.ndarray, hz: float | np.ndarray, time: np.ndarray, phase: float = 0.0) -> np.ndarray:
    """A tone of the given partials, read from a table of one period: [samples], peak 1.

    Args:
        amplitudes: [partials], from the fundamental up.
        hz: pitch, one or [samples].
        time: [samples], in seconds.
        phase: where in the period it starts, 0 to 1.
    """
    spectrum = np.zeros(TABLE_SAMPLES // 2 + 1, dtype=complex)
    spectrum[1 : len(amplitudes) + 1] = -1j * amplitudes
    table = np.fft.irfft(spectrum)
    table = np.append(table, table[0]) / np.abs(table).max()
    turns = (phase + np.cumsum(np.broadcast_to(hz, time.shape)) / SAMPLE_RATE) % 1
    return np.interp(turns * TABLE_SAMPLES, np.arange(TABLE_SAMPLES + 1), table)


def vibrato(hz: float, time: np.ndarray, rate_hz: float, cents: float) -> np.ndarray:
    """A pitch that swings around `hz`, more the longer it lasts: [samples]."""
    growing = np.minimum(1, time / 0.4)
    return hz * 2 ** (cents / 1200 * growing * np.sin(2 * np.pi * rate_hz * time))
