"""Drums made of noise and falling tones, and their patterns."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from benchmarks.collection.sound import SAMPLE_RATE, times

# A bar has sixteen steps. x is a stroke, o a soft stroke.
BEATS = {
    "four on the floor": (
        {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..x...x...x...x."},
        {"kick": "x...x...x...x...", "snare": "................", "hat": "x.xox.xox.xox.xo"},
        {"kick": "x...x...x...x.o.", "snare": "....x.......x..o", "hat": "xoxoxoxoxoxoxoxo"},
    ),
    "breakbeat": (
        {"kick": "x.x.......xx....", "snare": "....x..o.o..x..o", "hat": "x.x.x.x.x.x.x.x."},
        {"kick": "x.....x...x.....", "snare": "....x..o.x..x.o.", "hat": "xoxoxoxoxoxoxoxo"},
        {"kick": "x..x......x..x..", "snare": "....x.....o.x..x", "hat": "x.x.x.xox.x.x.xo"},
    ),
    "plain": (
        {"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
        {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x...x...x...x..."},
        {"kick": "x...............", "snare": "........x.......", "hat": "x.x.x.x.x.x.x.x."},
    ),
}
STROKES = {"x": 1.0, "o": 0.4}


@dataclass(frozen=True)
class Kit:
    """A song's drums.

    Attributes:
        kick_hz: final pitch of the kick's falling tone.
        snare_hz: pitch of the snare's tone.
        hat_hz: lower limit of the hat's noise.
        hold: length of the strokes, from 0 (short) to 1 (long).
        levels: levels of kick, snare and hat.
    """

    kick_hz: float
    snare_hz: float
    hat_hz: float
    hold: float
    levels: tuple[float, float, float]

    def sounds(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return one stroke of each drum, [samples]."""
        drums = {"kick": self._kick(), "snare": self._snare(rng), "hat": self._hat(rng)}
        return {name: level * drum for level, (name, drum) in zip(self.levels, drums.items(), strict=True)}

    def _kick(self) -> np.ndarray:
        time = times(0.4)
        turns = self.kick_hz * (time + 0.15 * (1 - np.exp(-time / 0.03)))
        return np.sin(2 * np.pi * turns) * np.exp(-time / (0.06 + 0.12 * self.hold))

    def _snare(self, rng: np.random.Generator) -> np.ndarray:
        time = times(0.3)
        tone = np.sin(2 * np.pi * self.snare_hz * time) * np.exp(-time / 0.05)
        rattle = _highpassed(rng.normal(0, 0.5, len(time)), 900) * np.exp(-time / (0.04 + 0.1 * self.hold))
        return 0.5 * tone + rattle

    def _hat(self, rng: np.random.Generator) -> np.ndarray:
        time = times(0.15)
        return _highpassed(rng.normal(0, 0.4, len(time)), self.hat_hz) * np.exp(-time / (0.015 + 0.04 * self.hold))


def draw_kit(rng: np.random.Generator) -> Kit:
    """Draw a random kit."""
    levels = tuple(rng.uniform((0.5, 0.3, 0.1), (1, 0.9, 0.6)))
    return Kit(*rng.uniform((42, 160, 3500, 0), (70, 260, 6000, 1)), levels)


def strokes(pattern: dict[str, str], bars: int) -> Iterator[tuple[int, str, float]]:
    """Yield the step, drum and strength of each stroke of a pattern."""
    for drum, steps in pattern.items():
        for step, mark in enumerate(steps * bars):
            if mark in STROKES:
                yield step, drum, STROKES[mark]


def _highpassed(samples: np.ndarray, hz: float) -> np.ndarray:
    return sosfilt(butter(2, hz, "highpass", fs=SAMPLE_RATE, output="sos"), samples)
