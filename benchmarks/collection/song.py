"""A song and its sections, as composed and before a sound of it, and the tags that are true of each section."""

from dataclasses import dataclass

from benchmarks.collection.drums import Kit
from benchmarks.collection.parts import Note
from benchmarks.collection.voices import VOICES, Shade

SECTION_SECONDS = 8.0

# The mode without thirds is neither major nor minor.
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "open": (0, 2, 5, 7, 10)}
THIRD = 2  # steps above the tonic
SLOW_BELOW_BPM, FAST_ABOVE_BPM = 85.0, 135.0

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
