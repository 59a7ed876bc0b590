"""The pitched instruments, as functions of pitch, length and the shade that is drawn for the song."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from benchmarks.collection.sound import SAMPLE_RATE, fades, oscillate, partials, times, vibrato

DRAWBARS = (1, 2, 3, 4, 6, 8)  # partials
FORMANTS_HZ = {  # Peterson and Barney 1952, men
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
FORMANT_WIDTH_HZ = 110.0
BELL_RATIOS = (1.41, 2.0, 2.76, 3.5)


@dataclass(frozen=True)
class Shade:
    """Parameters that make an instrument sound different from song to song.

    Attributes:
        bright: 0 to 1, dark to bright.
        detune_cents: pitch difference of the oscillators.
        hold: 0 to 1, short to long notes.
        pick: 0 to 1, selects one of several vowels, ratios or drawbar settings.
    """

    bright: float
    detune_cents: float
    hold: float
    pick: float


def draw_shade(rng: np.random.Generator) -> Shade:
    """Draw a random shade."""
    return Shade(*rng.uniform((0.3, 3, 0, 0), (1, 15, 1, 1)))


def pluck(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return a plucked string: noise in a loop that loses its treble (Karplus and Strong 1983)."""
    time, delay = times(seconds), int(SAMPLE_RATE / hz)
    burst = np.zeros(len(time) + delay)
    burst[:delay] = lfilter([0.1 + 0.9 * shade.bright], [1, 0.9 * shade.bright - 0.9], rng.uniform(-1, 1, delay))
    kept = 10 ** (-3 / (hz * (0.8 + 2.2 * shade.hold)))  # -60 dB after 0.8 to 3 seconds
    loop = np.zeros(delay + 2)
    loop[0], loop[delay:] = 1, -kept / 2
    string = lfilter([1], loop, burst)
    in_tune = np.arange(len(time)) * (hz * (delay + 0.5) / SAMPLE_RATE)  # the loop is half a sample longer than `delay`
    string = np.interp(in_tune, np.arange(len(string)), string)
    return string / np.abs(string).max() * fades(time, 0.002, 0.03)


def bell(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return a bell: frequency modulation by an inharmonic modulator that decays first (Chowning 1973)."""
    time = times(seconds)
    ratio = BELL_RATIOS[int(shade.pick * len(BELL_RATIOS))]
    index = (1 + 4 * shade.bright) * np.exp(-time / 0.4)
    tone = np.sin(2 * np.pi * hz * time + index * np.sin(2 * np.pi * ratio * hz * time))
    return tone * np.exp(-time / (0.25 + 0.9 * shade.hold)) * fades(time, 0.003, 0.03)


def saw(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return two detuned saw waves through a filter that opens or closes."""
    return _swept(1 / partials(hz), hz, seconds, shade, rng)


def square(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return two detuned square waves, with odd partials only, through the same filter."""
    numbers = partials(hz)
    return _swept((numbers % 2) / numbers, hz, seconds, shade, rng)


def organ(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return an organ tone: sine drawbars with a very short attack and release."""
    time, drawn = times(seconds), np.zeros(max(DRAWBARS))
    wanted = np.random.default_rng(int(shade.pick * 1e6)).uniform(0.1, 1, len(DRAWBARS))
    drawn[np.array(DRAWBARS) - 1] = wanted * np.linspace(1, 0.2 + 0.8 * shade.bright, len(DRAWBARS))
    return oscillate(drawn[: len(partials(hz))], hz, time, rng.uniform()) * fades(time, 0.008, 0.02)


def flute(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return a flute tone: few partials, breath noise around the pitch, vibrato."""
    time = times(seconds)
    tone = oscillate(np.array([1, 0.15 + 0.3 * shade.bright, 0.1, 0.04]), vibrato(hz, time, 5, 18), time)
    near = 2 * 0.97 * np.cos(2 * np.pi * hz / SAMPLE_RATE)
    breath = lfilter([1, 0, -1], [1, -near, 0.97**2], rng.normal(0, 0.02 + 0.02 * shade.hold, len(time)))
    return (tone + breath) * fades(time, 0.06, 0.06)


def voice(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return a voice: pulses through the formants of one vowel that changes into another."""
    time, names = times(seconds), list(FORMANTS_HZ)
    pitch = vibrato(hz, time, 5.5, 35)
    first = int(shade.pick * len(names))
    vowels = (names[first], names[(first + 1 + int(shade.hold * 3)) % len(names)])
    start, end = (oscillate(_formants(hz, vowel, shade.bright), pitch, time) for vowel in vowels)
    turned = time / time[-1]
    return ((1 - turned) * start + turned * end) * fades(time, 0.05, 0.08)


def pad(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return three detuned, dull saw waves that fade in slowly."""
    time, numbers = times(seconds), partials(hz)
    spectrum = _lowpassed(1 / numbers, numbers * hz, 400 + 500 * shade.bright)
    apart = 2 ** (np.array([-1, 0, 1]) * shade.detune_cents / 1200)
    tones = sum(oscillate(spectrum, hz * factor, time, rng.uniform()) for factor in apart)
    return tones / 3 * fades(time, min(0.8, seconds / 2), min(0.5, seconds / 3))


def bass(hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    """Return a dull, short tone below all other voices."""
    time, numbers = times(seconds), partials(hz)
    spectrum = _lowpassed(1 / numbers, numbers * hz, 150 + 500 * shade.bright)
    return oscillate(spectrum, hz, time) * np.exp(-time / (0.3 + shade.hold)) * fades(time, 0.01, 0.03)


def _swept(spectrum: np.ndarray, hz: float, seconds: float, shade: Shade, rng: np.random.Generator) -> np.ndarray:
    time = times(seconds)
    partial_hz = np.arange(1, len(spectrum) + 1) * hz
    closed, opened = (_lowpassed(spectrum, partial_hz, cutoff) for cutoff in (1200, 2500 + 4000 * shade.bright))
    apart = 2 ** (shade.detune_cents / 1200)
    dark, light = (
        oscillate(each, hz, time, phase) + oscillate(each, hz * apart, time, phase + 0.3)
        for phase in [rng.uniform()]
        for each in (closed, opened)
    )
    openness = np.exp(-time / (0.1 + 0.6 * shade.hold))
    if shade.pick > 0.6:
        openness = 1 - openness
    return ((1 - openness) * dark + openness * light) / 2 * fades(time, 0.01, 0.04)


def _lowpassed(spectrum: np.ndarray, partial_hz: np.ndarray, cutoff_hz: float) -> np.ndarray:
    return spectrum / (1 + (partial_hz / cutoff_hz) ** 4)


def _formants(hz: float, vowel: str, bright: float) -> np.ndarray:
    numbers = partials(hz)
    away = (numbers[:, None] * hz - np.array(FORMANTS_HZ[vowel])) / FORMANT_WIDTH_HZ
    amplitudes = (np.array([1, 0.7, 0.3 + 0.3 * bright]) / (1 + away**2)).sum(axis=1)
    return (amplitudes + 0.01) / np.sqrt(numbers)


Voice = Callable[[float, float, Shade, np.random.Generator], np.ndarray]

# Each voice takes the pitch in Hz, the length in seconds, the shade and a random generator. It returns [samples] with a
# peak of about 1.
VOICES: dict[str, Voice] = {
    "pluck": pluck,
    "bell": bell,
    "saw": saw,
    "square": square,
    "organ": organ,
    "flute": flute,
    "voice": voice,
    "pad": pad,
    "bass": bass,
}
