"""The parts of a band: chords, bass, melody and drums, written a bar at a time as MIDI notes."""

import random
from dataclasses import dataclass

from pretty_midi import Note

from genre_tagger.data.demo.patterns import DRUMS, SNARE, STEPS_PER_BEAT, strokes

OCTAVE = 12
FIFTH = 4  # in scale degrees
CHORD_DEGREES = (0, 2, 4)
SEVENTH = 6
SOFT_STROKE = 0.6  # velocity of a soft drum stroke over that of a loud one
SOFTEST_VELOCITY, LOUDEST_VELOCITY = 40, 127  # whatever is written can be heard: labels rely on it
LATEST_SECONDS = 0.03  # below the shortest sixteenth
MIDI_DEGREES = range(77)  # eleven octaves of seven degrees
STEP_ODDS = {-2: 2, -1: 7, 0: 2, 1: 7, 2: 2}  # melodies move by step more often than by skip


@dataclass(frozen=True)
class Harmony:
    """Key and chord. `degree` counts scale steps up from the tonic in the lowest octave."""

    tonic: int
    scale: tuple[int, ...]
    chord: int
    sevenths: bool

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a scale degree."""
        octave, step = divmod(degree, len(self.scale))
        return self.tonic + OCTAVE * octave + self.scale[step]

    def chord_degrees(self) -> tuple[int, ...]:
        """Scale degrees of the chord, from its root up."""
        offsets = (*CHORD_DEGREES, SEVENTH) if self.sevenths else CHORD_DEGREES
        return tuple(self.chord + offset for offset in offsets)

    def is_chord_tone(self, degree: int) -> bool:
        """Whether a degree of any octave belongs to the chord."""
        return any((degree - tone) % len(self.scale) == 0 for tone in self.chord_degrees())


@dataclass(frozen=True)
class Bar:
    """One bar in time: begins at `start` seconds and has `steps` sixteenths."""

    start: float
    step_seconds: float
    steps: int
    swing: float
    harmony: Harmony

    def time(self, step: float) -> float:
        """Seconds at which a sixteenth falls; swing delays off-beat eighths and stretches what lies between."""
        beat, within = divmod(step, STEPS_PER_BEAT)
        half = STEPS_PER_BEAT / 2
        late = self.swing * (within / half if within <= half else (STEPS_PER_BEAT - within) / half)
        return self.start + (beat * STEPS_PER_BEAT + within + late) * self.step_seconds

    @property
    def end(self) -> float:
        """Seconds at which the bar ends."""
        return self.time(self.steps)


@dataclass(frozen=True)
class Player:
    """Someone with a register (`low` to `high`, MIDI pitches, an octave at least), a touch and human timing."""

    low: int
    high: int
    velocity: int
    jitter_seconds: float
    rng: random.Random

    def fit(self, pitch: int) -> int:
        """The pitch of the same name that lies lowest in the register."""
        return self.low + (pitch - self.low) % OCTAVE

    def strike(self, bar: Bar, step: int, length: int, pitch: int, loudness: float = 1.0) -> Note:
        """A note of `length` steps; strong beats are played louder, and nobody is early.

        Late is safe: a note of one section never sounds in the clip before it, nor is a repeated pitch cut off by the
        end of the note before.
        """
        accent = 6 if step % (2 * STEPS_PER_BEAT) == 0 else 0
        velocity = self.velocity * loudness + accent + self.rng.gauss(0, 4)
        velocity = round(min(max(velocity, SOFTEST_VELOCITY), LOUDEST_VELOCITY))
        late = min(abs(self.rng.gauss(0, self.jitter_seconds)), LATEST_SECONDS)
        return Note(velocity, pitch, bar.time(step) + late, bar.time(min(step + length, bar.steps)))


def play_chords(player: Player, bar: Bar, pattern: str) -> list[Note]:
    """Strikes the bar's chord after a pattern of `CHORDS`."""
    return [
        player.strike(bar, step, length, pitch)
        for step, symbol, length in strokes(pattern[: bar.steps])
        for pitch in _voicing(player, bar.harmony, symbol)
    ]


def _voicing(player: Player, harmony: Harmony, symbol: str) -> list[int]:
    if symbol == "x":
        return sorted(player.fit(harmony.pitch(degree)) for degree in harmony.chord_degrees())
    root = player.fit(harmony.pitch(harmony.chord))
    if symbol == "p":
        return [root, _above(root, harmony, FIFTH), root + OCTAVE]
    return [_chord_tone(player, harmony, int(symbol))]


def _above(root_pitch: int, harmony: Harmony, offset: int) -> int:
    return root_pitch + harmony.pitch(harmony.chord + offset) - harmony.pitch(harmony.chord)


def _chord_tone(player: Player, harmony: Harmony, number: int) -> int:
    root = player.fit(harmony.pitch(harmony.chord))
    tones = [degree - harmony.chord for degree in harmony.chord_degrees()]
    octave, tone = divmod(number, len(tones))
    return _above(root, harmony, tones[tone]) + OCTAVE * octave


def play_bass(player: Player, bar: Bar, pattern: str) -> list[Note]:
    """Plays roots and other chord tones after a pattern of `BASSES`."""
    return [
        player.strike(bar, step, length, _chord_tone(player, bar.harmony, int(symbol)))
        for step, symbol, length in strokes(pattern[: bar.steps])
    ]


class Melody:
    """A line that remembers where it is: mostly by step, on strong beats on a chord tone, within the register."""

    def __init__(self, player: Player, harmony: Harmony):
        self.player = player
        self.range = [degree for degree in MIDI_DEGREES if player.low <= harmony.pitch(degree) <= player.high]
        self.position = len(self.range) // 2

    def play(self, bar: Bar, rhythm: str) -> list[Note]:
        """Plays one bar after a rhythm of `MELODIES`."""
        notes = []
        for step, _, length in strokes(rhythm[: bar.steps]):
            degree = self._next(bar.harmony, strong=step % (2 * STEPS_PER_BEAT) == 0)
            notes.append(self.player.strike(bar, step, length, bar.harmony.pitch(degree)))
        return notes

    def _next(self, harmony: Harmony, strong: bool) -> int:
        move = self.player.rng.choices(list(STEP_ODDS), list(STEP_ODDS.values()))[0]
        top = len(self.range) - 1
        wanted = self.position + move
        self.position = abs(wanted) if wanted <= top else 2 * top - wanted
        if strong:
            tones = [place for place, degree in enumerate(self.range) if harmony.is_chord_tone(degree)]
            self.position = min(tones, key=lambda place: abs(place - self.position))
        return self.range[self.position]


def play_drums(player: Player, bar: Bar, name: str, fill: bool) -> list[Note]:
    """Plays a pattern of `DRUMS`; a fill replaces the last beat by snare sixteenths."""
    filled_from = bar.steps - STEPS_PER_BEAT if fill else bar.steps
    notes = [
        player.strike(bar, step, 1, drum, 1.0 if symbol == "x" else SOFT_STROKE)
        for drum, pattern in DRUMS[name].items()
        for step, symbol, _ in strokes(pattern[:filled_from])
    ]
    notes += [player.strike(bar, step, 1, SNARE) for step in range(filled_from, bar.steps)]
    return notes
