"""A composed song and its sections before they are rendered, and the tags of each section."""

from dataclasses import dataclass

from benchmarks.collection.drums import Kit
from benchmarks.collection.parts import Note
from benchmarks.collection.voices import VOICES, Shade

SECTION_SECONDS = 8.0

# The mode without thirds is neither major nor minor.
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "open": (0, 2, 5, 7, 10)}
THIRD = 2  # scale steps above the tonic
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
    """The reverberation of a song.

    Attributes:
        kind: dry, small or reverb.
        decay_seconds: time in which it falls by 60 dB.
        wet: its share of the mix, 0 to 1.
    """

    kind: str
    decay_seconds: float
    wet: float


@dataclass(frozen=True)
class Layer:
    """One player's notes in a section, and their level in dB."""

    voice: str
    part: str
    notes: tuple[Note, ...]
    shade: Shade
    octave: int
    gain_db: float


@dataclass(frozen=True)
class Drumming:
    """The drums of a section: the name of the beat, one bar of its pattern and the level in dB."""

    beat: str
    pattern: dict[str, str]
    gain_db: float


@dataclass(frozen=True)
class Section:
    """The content of one clip. An attribute that is None is not used in it.

    Attributes:
        layers: the players.
        drumming: the drums.
        start_seconds: position in the music at which the clip starts, usually not at a bar line.
        drive_db: drive of the distortion.
        tremolo_hz: rate of the tremolo.
        cutoff_hz: frequency above which sound is removed.
        level_db: RMS level of the clip, in dB relative to full scale.
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
    """The properties that all sections share, and the sections.

    Attributes:
        tempo_bpm: beats per minute; a beat has four sixteenths.
        mode: key of SCALES.
        tonic_hz: pitch of the scale's tonic, from D2 to C3 and slightly out of tune.
        kit: the drums.
        room: the reverberation.
        high_db: tilt of the equaliser.
        hiss_db, hiss_colour: level relative to the mix, and colour, of the background noise.
        crackle_db, clicks_per_second: level and rate of the vinyl clicks. The level is None if there are no clicks.
        sections: the sections, one per clip.
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
    clicks_per_second: float
    sections: tuple[Section, ...]

    @property
    def step_seconds(self) -> float:
        """Length of a sixteenth, in seconds."""
        return 15 / self.tempo_bpm

    def hz(self, degree: int, octave: int) -> float:
        """Return the pitch of a degree of the scale."""
        scale = SCALES[self.mode]
        octaves, degree = divmod(degree, len(scale))
        return self.tonic_hz * 2 ** (octave + octaves + scale[degree] / 12)

    def tags(self, section: Section) -> set[str]:
        """Return the tags of a section. Tags of pace and mode are included only if they are audible."""
        tags = {self.room.kind, *(layer.voice for layer in section.layers), *(layer.part for layer in section.layers)}
        tags |= {"drums", section.drumming.beat} if section.drumming else set()
        tags |= self._pace() if section.drumming or any(layer.part != "drone" for layer in section.layers) else set()
        tags |= {self.mode} if self._third_is_played(section) else set()
        effects = {
            "distorted": section.drive_db,
            "tremolo": section.tremolo_hz,
            "muffled": section.cutoff_hz,
            "vinyl": self.crackle_db,
        }
        tags |= {tag for tag, amount in effects.items() if amount is not None}
        return tags & set(TAGS)

    def _pace(self) -> set[str]:
        return {"slow"} if self.tempo_bpm < SLOW_BELOW_BPM else {"fast"} if self.tempo_bpm > FAST_ABOVE_BPM else set()

    def _third_is_played(self, section: Section) -> bool:
        first, last = (section.start_seconds + at for at in (0, SECTION_SECONDS))
        return any(
            note.degree % len(SCALES[self.mode]) == THIRD and first <= note.step * self.step_seconds < last
            for layer in section.layers
            for note in layer.notes
        )
