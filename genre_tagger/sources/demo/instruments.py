"""The instruments of the demo: their General MIDI programs, tags, registers and levels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Instrument:
    """A General MIDI instrument of the sound bank.

    Attributes:
        program: General MIDI program, counted from 0.
        tags: tags of a clip in which the instrument plays.
        low: lowest MIDI pitch used in the demo.
        high: highest MIDI pitch used in the demo.
        level_db: A-weighted level of single notes in TimGM6mb.sf2 at velocity 90 and channel volume 100, in dBFS. These
            measurements are used to give every instrument of a mix a loudness at which it is audible.
    """

    program: int
    tags: tuple[str, ...]
    low: int
    high: int
    level_db: float


INSTRUMENTS = {
    "grand piano": Instrument(0, ("piano",), 48, 84, -39.3),
    "harpsichord": Instrument(6, ("harpsichord",), 48, 84, -38.2),
    "drawbar organ": Instrument(16, ("organ",), 48, 79, -36.7),
    "church organ": Instrument(19, ("organ",), 48, 79, -36.3),
    "nylon guitar": Instrument(24, ("guitar",), 45, 76, -36.1),
    "steel guitar": Instrument(25, ("guitar",), 45, 76, -39.7),
    "overdriven guitar": Instrument(29, ("electric guitar",), 40, 76, -35.4),
    "distortion guitar": Instrument(30, ("electric guitar",), 40, 76, -32.6),
    "acoustic bass": Instrument(32, ("bass",), 28, 48, -46.2),
    "finger bass": Instrument(33, ("bass",), 28, 48, -39.4),
    "pick bass": Instrument(34, ("bass",), 28, 48, -40.7),
    "synth bass": Instrument(38, ("bass", "synth"), 28, 48, -42.3),
    "violin": Instrument(40, ("violin",), 60, 91, -28.7),
    "strings": Instrument(48, ("strings",), 43, 84, -37.5),
    "slow strings": Instrument(49, ("strings",), 43, 84, -40.5),
    "harp": Instrument(46, ("harp",), 48, 88, -31.9),
    "choir aahs": Instrument(52, ("choir",), 50, 79, -35.0),
    "trumpet": Instrument(56, ("trumpet",), 58, 82, -32.7),
    "alto saxophone": Instrument(65, ("saxophone",), 54, 80, -31.8),
    "tenor saxophone": Instrument(66, ("saxophone",), 48, 74, -34.4),
    "flute": Instrument(73, ("flute",), 62, 91, -29.7),
    "square lead": Instrument(80, ("synth",), 55, 86, -31.5),
    "saw lead": Instrument(81, ("synth",), 55, 86, -32.1),
    "poly synth": Instrument(90, ("synth",), 48, 79, -37.2),
    "warm pad": Instrument(89, ("synth",), 43, 76, -42.8),
    "sweep pad": Instrument(95, ("synth",), 43, 76, -41.9),
    "brightness": Instrument(100, ("synth",), 48, 79, -32.5),
    "sitar": Instrument(104, ("sitar",), 50, 76, -37.6),
}

INSTRUMENT_TAGS = tuple(dict.fromkeys(tag for instrument in INSTRUMENTS.values() for tag in instrument.tags))
TAGS_OF_PROGRAM = {instrument.program: instrument.tags for instrument in INSTRUMENTS.values()}

# Every song has a guest, an instrument that few styles use. Over many songs each guest plays in every style, so no
# instrument reveals the style. The number of guests has no common factor with those of styles and splits (see
# composer.py).
GUEST_TAGS = (
    "harpsichord",
    "piano",
    "violin",
    "organ",
    "harp",
    "trumpet",
    "saxophone",
    "flute",
    "choir",
    "sitar",
    "electric guitar",
)

# Level of a plain beat on each drum kit of the sound bank, by program of the drum channel, measured as above.
KIT_LEVELS_DB = {0: -49.4, 8: -47.6, 16: -45.5, 24: -44.3, 25: -45.3, 32: -49.4, 40: -51.0}
