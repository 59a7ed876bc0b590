"""Composes a song from a seed and a number, and says which tags are true of each of its sections."""

from dataclasses import dataclass

import numpy as np

from benchmarks.collection.drums import BEATS, Kit, draw_kit
from benchmarks.collection.parts import PARTS, Note
from benchmarks.collection.voices import VOICES, Shade, draw_shade

SECTIONS_A_SONG = 3
SECTION_SECONDS = 8.0
SPLIT_CYCLE = ("train", "train", "valid", "train", "test", "train", "train", "train", "test", "train")

# The mode without thirds is neither major nor minor.
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "open": (0, 2, 5, 7, 10)}
THIRD = 2  # steps above the tonic
C3_HZ = 130.81
KEYS = (0, -3, -5, -8, -10)  # C, A, G, E and D as semitones from C3: the usual keys of bands
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (0, 0, 3, 3), (0, 0, 0, 0))
TEMPOS_BPM = ((55.0, 76.0), (94.0, 122.0), (142.0, 178.0))
SLOW_BELOW_BPM, FAST_ABOVE_BPM = 85.0, 135.0
ROOMS = {"dry": ((0.1, 0.1), (0, 0)), "small": ((0.2, 0.5), (0.1, 0.25)), "reverb": ((1.5, 4.0), (0.45, 0.7))}

PARTS_OF_VOICE = {
    "pluck": ("melody", "arpeggio", "chords"),
    "bell": ("melody", "arpeggio", "chords"),
    "saw": ("melody", "arpeggio", "chords", "drone"),
    "square": ("melody", "arpeggio", "chords", "drone"),
    "organ": ("melody", "arpeggio", "chords", "drone"),
    "flute": ("melody", "arpeggio", "drone"),
    "voice": ("melody", "chords", "drone"),
    "pad": ("melody", "chords", "drone"),
}
BAND_SIZE = 4
PLAYER_ODDS = (0.6, 0.3, 0.1)  # of one, two or three of them in a section
BASS_ODDS, DRUM_ODDS, DISTORTED_ODDS, TREMOLO_ODDS, MUFFLED_ODDS, VINYL_ODDS = 0.5, 0.65, 0.25, 0.25, 0.25, 0.3
GAINS_DB, DRUM_GAINS_DB = (-6.0, 0.0), (-3.0, 5.0)

TAGS = (
    *VOICES,
    *("arpeggio", "chords", "drone"),
    *("drums", "four on the floor", "breakbeat"),
    *("slow", "fast", "major", "minor"),
    *("dry", "reverb", "distorted", "tremolo", "muffled", "vinyl"),
)


@dataclass(frozen=True)
class Room:
    """Reverberation: its kind (dry, small or reverb), seconds until it is 60 dB down, its share of the mix, 0 to 1."""

    kind: str
    decay_seconds: float
    wet: float


@dataclass(frozen=True)
class Layer:
    """One player's notes in a section, and the level in dB."""

    voice: str
    part: str
    notes: tuple[Note, ...]
    shade: Shade
    octave: int
    gain_db: float


@dataclass(frozen=True)
class Drumming:
    """The drums of a section: the name of the beat, a bar of it and the level in dB."""

    beat: str
    pattern: dict[str, str]
    gain_db: float


@dataclass(frozen=True)
class Section:
    """What is heard in one clip; what is None is not there.

    Attributes:
        layers: the players.
        drumming: the drums.
        start_seconds: where in the section's music the clip begins: off the bar line.
        drive_db: of the distortion.
        tremolo_hz: swings a second.
        cutoff_hz: above which all is taken away.
        level_db: RMS level of the clip, dB below full scale.
    """

    layers: tuple[Layer, ...]
    drumming: Drumming | None
    start_seconds: float
    drive_db: float | None
    tremolo_hz: float | None
    cutoff_hz: float | None
    level_db: float


@dataclass(frozen=True)
class Song:
    """What all sections share, and the sections.

    Attributes:
        tempo_bpm: beats a minute; four sixteenths a beat.
        mode: key of SCALES.
        tonic_hz: of the scale, from D2 to C3 and a little out of tune.
        kit: the drums.
        room: the reverberation.
        high_db: tilt of the equaliser.
        hiss_db, hiss_colour: level against the mix and colour of the noise behind it.
        crackle_db, clicks_a_second: of the vinyl, or None without.
    """

    tempo_bpm: float
    mode: str
    tonic_hz: float
    kit: Kit
    room: Room
    high_db: float
    hiss_db: float
    hiss_colour: float
    crackle_db: float | None
    clicks_a_second: float
    sections: tuple[Section, ...]

    @property
    def step_seconds(self) -> float:
        """Length of a sixteenth."""
        return 15 / self.tempo_bpm

    def hz(self, degree: int, octave: int) -> float:
        """Pitch of a degree of the scale."""
        scale = SCALES[self.mode]
        octaves, degree = divmod(degree, len(scale))
        return self.tonic_hz * 2 ** (octave + octaves + scale[degree] / 12)

    def tags(self, section: Section) -> set[str]:
        """The members of TAGS that hold for a section; pace and mode only where they can be heard."""
        held = {self.room.kind, *(layer.voice for layer in section.layers), *(layer.part for layer in section.layers)}
        held |= {"drums", section.drumming.beat} if section.drumming else set()
        held |= self._pace() if section.drumming or any(layer.part != "drone" for layer in section.layers) else set()
        held |= {self.mode} if self._third_is_heard(section) else set()
        effects = {
            "distorted": section.drive_db,
            "tremolo": section.tremolo_hz,
            "muffled": section.cutoff_hz,
            "vinyl": self.crackle_db,
        }
        held |= {tag for tag, amount in effects.items() if amount is not None}
        return held & set(TAGS)

    def _pace(self) -> set[str]:
        return {"slow"} if self.tempo_bpm < SLOW_BELOW_BPM else {"fast"} if self.tempo_bpm > FAST_ABOVE_BPM else set()

    def _third_is_heard(self, section: Section) -> bool:
        first, last = (section.start_seconds + at for at in (0, SECTION_SECONDS))
        return any(
            note.degree % len(SCALES[self.mode]) == THIRD and first <= note.step * self.step_seconds < last
            for layer in section.layers
            for note in layer.notes
        )


def split_of(number: int) -> str:
    """The split of a song, which its number decides: 7, 1 and 2 of ten."""
    return SPLIT_CYCLE[number % len(SPLIT_CYCLE)]


def compose(seed: int, number: int) -> Song:
    """Composes song `number` of a seed; the same two always give the same song."""
    rng = np.random.default_rng((seed, number))
    tempo_bpm = rng.uniform(*TEMPOS_BPM[rng.integers(len(TEMPOS_BPM))])
    band = {str(name): draw_shade(rng) for name in rng.choice(list(PARTS_OF_VOICE), BAND_SIZE, replace=False)}
    bass = draw_shade(rng)
    return Song(
        tempo_bpm=tempo_bpm,
        mode=str(rng.choice(list(SCALES), p=(0.4, 0.4, 0.2))),
        tonic_hz=C3_HZ * 2 ** (rng.choice(KEYS) / 12 + rng.uniform(-15, 15) / 1200),
        kit=draw_kit(rng),
        room=_draw_room(rng),
        high_db=rng.uniform(-5, 5),
        hiss_db=rng.uniform(-60, -32),
        hiss_colour=rng.uniform(0, 0.98),
        crackle_db=_perhaps(rng, VINYL_ODDS, -2, 12),
        clicks_a_second=rng.uniform(4, 25),
        sections=tuple(_draw_section(rng, tempo_bpm, band, bass) for _ in range(SECTIONS_A_SONG)),
    )


def _draw_room(rng: np.random.Generator) -> Room:
    kind = str(rng.choice(list(ROOMS)))
    return Room(kind, *(rng.uniform(*span) for span in ROOMS[kind]))


def _draw_section(rng: np.random.Generator, tempo_bpm: float, band: dict[str, Shade], bass: Shade) -> Section:
    beat_seconds = 60 / tempo_bpm
    bars = int(np.ceil((SECTION_SECONDS + beat_seconds) / (4 * beat_seconds)))
    roots = tuple(np.resize(PROGRESSIONS[rng.integers(len(PROGRESSIONS))], bars).tolist())
    players = rng.choice(list(band), 1 + rng.choice(3, p=PLAYER_ODDS), replace=False)
    layers = [_draw_layer(rng, str(name), PARTS_OF_VOICE[name], band[name], roots) for name in players]
    if rng.random() < BASS_ODDS:
        layers.append(_draw_layer(rng, "bass", ("bass line",), bass, roots))
    return Section(
        layers=tuple(layers),
        drumming=_draw_drumming(rng) if rng.random() < DRUM_ODDS else None,
        start_seconds=rng.uniform(0, beat_seconds),
        drive_db=_perhaps(rng, DISTORTED_ODDS, 6, 20),
        tremolo_hz=_perhaps(rng, TREMOLO_ODDS, 3.5, 8),
        cutoff_hz=_perhaps(rng, MUFFLED_ODDS, 600, 1500),
        level_db=rng.uniform(-32, -16),
    )


def _draw_drumming(rng: np.random.Generator) -> Drumming:
    beat = str(rng.choice(list(BEATS)))
    return Drumming(beat, BEATS[beat][rng.integers(len(BEATS[beat]))], rng.uniform(*DRUM_GAINS_DB))


def _draw_layer(
    rng: np.random.Generator, voice: str, parts: tuple[str, ...], shade: Shade, roots: tuple[int, ...]
) -> Layer:
    part = str(rng.choice(parts))
    octave = -1 if part == "bass line" else int(rng.integers(0, 2))
    return Layer(voice, part, tuple(PARTS[part](rng, roots)), shade, octave, rng.uniform(*GAINS_DB))


def _perhaps(rng: np.random.Generator, odds: float, low: float, high: float) -> float | None:
    amount = rng.uniform(low, high)
    return amount if rng.random() < odds else None
