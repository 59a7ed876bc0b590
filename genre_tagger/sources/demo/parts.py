"""The parts of a band: chords, bass, melody and drums, written one bar at a time as MIDI notes."""

import random
from dataclasses import dataclass

from pretty_midi import Note

from genre_tagger.sources.demo.patterns import DRUMS, SNARE, STEPS_PER_BEAT, strokes

OCTAVE = 12
FIFTH = 4  # in scale degrees
CHORD_DEGREES = (0, 2, 4)
SEVENTH = 6
SOFT_STROKE = 0.6  # velocity of a soft drum stroke relative to a loud one
SOFTEST_VELOCITY, LOUDEST_VELOCITY = 40, 127  # every note is audible, which the labels rely on
LATEST_SECONDS = 0.03  # largest delay of a note, less than the shortest sixteenth
MIDI_DEGREES = range(77)  # eleven octaves with seven degrees each
STEP_ODDS = {-2: 2, -1: 7, 0: 2, 1: 7, 2: 2}  # melodies move by step more often than by skip


@dataclass(frozen=True)
class Harmony:
    """A key and a chord. Scale degrees are counted upwards from the tonic in the lowest octave, starting at 0."""

    tonic: int
    scale: tuple[int, ...]
    chord: int
    sevenths: bool

    def pitch(self, degree: int) -> int:
        """Return the MIDI pitch of a scale degree."""
        octave, step = divmod(degree, len(self.scale))
        return self.tonic + OCTAVE * octave + self.scale[step]

    def chord_degrees(self) -> tuple[int, ...]:
        """Return the scale degrees of the chord, from its root upwards."""
        offsets = (*CHORD_DEGREES, SEVENTH) if self.sevenths else CHORD_DEGREES
        return tuple(self.chord + offset for offset in offsets)

    def is_chord_tone(self, degree: int) -> bool:
        """Return whether a scale degree belongs to the chord, in any octave."""
        return any((degree - tone) % len(self.scale) == 0 for tone in self.chord_degrees())


@dataclass(frozen=True)
class Bar:
    """A bar that starts at `start` seconds and consists of `steps` sixteenths."""

    start: float
    step_seconds: float
    steps: int
    swing: float
    harmony: Harmony

    def time(self, step: float) -> float:
        """Return the time of a sixteenth in seconds. Swing delays off-beat eighths and the steps around them."""
        beat, within = divmod(step, STEPS_PER_BEAT)
        half = STEPS_PER_BEAT / 2
        late = self.swing * (within / half if within <= half else (STEPS_PER_BEAT - within) / half)
        return self.start + (beat * STEPS_PER_BEAT + within + late) * self.step_seconds

    @property
    def end(self) -> float:
        """End of the bar in seconds."""
        return self.time(self.steps)


@dataclass(frozen=True)
class Player:
    """A player with a register, a velocity and human timing.

    Attributes:
        low: lowest MIDI pitch.
        high: highest MIDI pitch, at least an octave above `low`.
        velocity: mean MIDI velocity.
        jitter_seconds: spread of the delays.
        rng: random number generator of the song.
    """

    low: int
    high: int
    velocity: int
    jitter_seconds: float
    rng: random.Random

    def fit(self, pitch: int) -> int:
        """Move a pitch by octaves to the lowest octave of the register."""
        return self.low + (pitch - self.low) % OCTAVE

    def strike(self, bar: Bar, step: int, length: int, pitch: int, loudness: float = 1.0) -> Note:
        """Return a note of `length` steps. Strong beats are louder.

        Notes are played late but never early. A note therefore never sounds in the clip of the previous section, and
        the end of a note never cuts off the next note of the same pitch.
        """
        accent = 6 if step % (2 * STEPS_PER_BEAT) == 0 else 0
        velocity = self.velocity * loudness + accent + self.rng.gauss(0, 4)
        velocity = round(min(max(velocity, SOFTEST_VELOCITY), LOUDEST_VELOCITY))
        late = min(abs(self.rng.gauss(0, self.jitter_seconds)), LATEST_SECONDS)
        return Note(velocity, pitch, bar.time(step) + late, bar.time(min(step + length, bar.steps)))


def play_chords(player: Player, bar: Bar, pattern: str) -> list[Note]:
    """Play the chord of a bar in a pattern of `CHORDS`."""
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
    """Play the root and other chord tones of a bar in a pattern of `BASSES`."""
    return [
        player.strike(bar, step, length, _chord_tone(player, bar.harmony, int(symbol)))
        for step, symbol, length in strokes(pattern[: bar.steps])
    ]


class Melody:
    """A melody that continues from its last note: mostly by step, with chord tones on strong beats.

    Args:
        player: player whose register limits the melody.
        harmony: harmony whose scale the melody uses.
    """

    def __init__(self, player: Player, harmony: Harmony):
        self.player = player
        self.range = [degree for degree in MIDI_DEGREES if player.low <= harmony.pitch(degree) <= player.high]
        self.position = len(self.range) // 2

    def play(self, bar: Bar, rhythm: str) -> list[Note]:
        """Play one bar in a rhythm of `MELODIES`."""
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
    """Play a pattern of `DRUMS`. A fill replaces the last beat by snare sixteenths."""
    filled_from = bar.steps - STEPS_PER_BEAT if fill else bar.steps
    notes = [
        player.strike(bar, step, 1, drum, 1.0 if symbol == "x" else SOFT_STROKE)
        for drum, pattern in DRUMS[name].items()
        for step, symbol, _ in strokes(pattern[:filled_from])
    ]
    notes += [player.strike(bar, step, 1, SNARE) for step in range(filled_from, bar.steps)]
    return notes
