"""The parts of the players: notes as degrees of a scale, on a grid of sixteenths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

STEPS_PER_BAR = 16
RHYTHMS = ("x...x.x.x...x...", "x..x..x...x.x...", "x.....x.x.......", "x.x.x..xx.x...x.", "x.......x...x...")
CHORD_RHYTHMS = ("x...............", "x.......x.......", "x..x..x.........", "....x.......x...", "x...x...x...x...")
BASS_RHYTHMS = ("x.......x.......", "x...x...x...x...", "..x...x...x...x.", "x..x..x.x..x..x.", "x.x.x.x.x.x.x.x.")
FIGURES = ((0, 2, 4, 2), (0, 2, 4, 7), (7, 4, 2, 0), (0, 4, 2, 4), (0, 2, 4, 7, 4, 2))


@dataclass(frozen=True)
class Note:
    """A note.

    Attributes:
        step: start in sixteenths.
        steps: length in sixteenths.
        degree: scale degree, counted from the tonic.
    """

    step: int
    steps: int
    degree: int


def melody(rng: np.random.Generator, chords: Sequence[int]) -> list[Note]:
    """Return a melody that moves from chord to chord in its own rhythm."""
    rhythms, degree, notes = rng.choice(RHYTHMS, 2), 0, []
    for bar, chord in enumerate(chords):
        strokes = _strokes(rhythms[bar % 2])
        for step, steps in strokes:
            degree = chord if step == 0 else int(np.clip(degree + rng.integers(-2, 3), chord - 3, chord + 6))
            notes.append(Note(bar * STEPS_PER_BAR + step, steps, degree))
    return notes


def arpeggio(rng: np.random.Generator, chords: Sequence[int]) -> list[Note]:
    """Return broken chords that repeat one figure in even steps."""
    figure, pace = FIGURES[rng.integers(len(FIGURES))], int(rng.choice((1, 2, 2)))
    starts = range(0, len(chords) * STEPS_PER_BAR, pace)
    return [
        Note(step, pace + 1, chords[step // STEPS_PER_BAR] + figure[number % len(figure)])
        for number, step in enumerate(starts)
    ]


def chords(rng: np.random.Generator, chords: Sequence[int]) -> list[Note]:
    """Return chords of three simultaneous notes."""
    strokes = _strokes(rng.choice(CHORD_RHYTHMS))
    return [
        Note(bar * STEPS_PER_BAR + step, steps, chord + above)
        for bar, chord in enumerate(chords)
        for step, steps in strokes
        for above in (0, 2, 4)
    ]


def drone(rng: np.random.Generator, chords: Sequence[int]) -> list[Note]:
    """Return the sustained tonic, sometimes with a fourth or fifth above it."""
    return [Note(0, len(chords) * STEPS_PER_BAR, degree) for degree in (0, int(rng.choice((0, 3, 4))))]


def bass_line(rng: np.random.Generator, chords: Sequence[int]) -> list[Note]:
    """Return the roots of the chords."""
    strokes = _strokes(rng.choice(BASS_RHYTHMS))
    return [
        Note(bar * STEPS_PER_BAR + step, steps, chord) for bar, chord in enumerate(chords) for step, steps in strokes
    ]


def _strokes(rhythm: str) -> list[tuple[int, int]]:
    """Return the step and length of each stroke. A stroke lasts until the next one or the end of the bar."""
    starts = [step for step, mark in enumerate(rhythm) if mark == "x"]
    ends = [*starts[1:], STEPS_PER_BAR]
    return [(start, end - start) for start, end in zip(starts, ends, strict=True)]


Part = Callable[[np.random.Generator, Sequence[int]], list[Note]]

# Each part takes a random generator and the root of each bar's chord as a degree of the scale.
PARTS: dict[str, Part] = {
    "melody": melody,
    "arpeggio": arpeggio,
    "chords": chords,
    "drone": drone,
    "bass line": bass_line,
}
