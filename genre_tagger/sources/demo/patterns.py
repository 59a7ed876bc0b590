"""Rhythm patterns, with one character per sixteenth note: a symbol starts a note, `-` holds it, `.` is a rest.

A pattern is one bar of 4/4. A bar of 3/4 uses its first 12 steps. In pitched patterns, `x` is the whole chord, `p` the
root, fifth and octave, and a digit n the n-th chord tone above the root. In drum patterns, `x` is loud and `o` is soft.
"""

import re
from collections.abc import Mapping, Sequence

STEPS_PER_BEAT = 4

CHORDS = {
    "whole": "x---------------",
    "halves": "x-------x-------",
    "quarters": "x---x---x---x---",
    "strum": "x---x-x-..x-x-x-",
    "folk strum": "0---x-x-2---x-x-",
    "oom pah": "0---x---2---x---",
    "power eighths": "p-p-p-p-p-p-p-p-",
    "power syncopated": "p--p--p---p-p---",
    "charleston": "x-....x-........",
    "comping": "..x-....x-....x-",
    "stabs": "..x...x...x...x.",
    "house": "x..x..x...x..x..",
    "gate": "x.xx.xx.x.xx.xx.",
    "arpeggio": "0-1-2-3-2-1-2-1-",
    "slow arpeggio": "0---1---2---3---",
    "rolling arpeggio": "0123012301230123",
    "alberti": "0-2-1-2-0-2-1-2-",
    "drone": "p---------------",
    "tanpura": "2---3---3---0---",
    "jhala": "0-33.-330-33.-33",
}

BASSES = {
    "whole": "0---------------",
    "halves": "0-------2-------",
    "root and fifth": "0---....2---....",
    "eighths": "0-0-0-0-0-0-0-0-",
    "syncopated": "0--0--0---0-2---",
    "walking": "0---1---2---1---",
    "walking down": "3---2---1---2---",
    "offbeat": "..0-..0-..0-..0-",
    "octaves": "0.3.0.3.0.3.0.3.",
    "sixteenths": "0.00.00.0.00.0.3",
}

MELODIES = {
    "long": "x-------------..",
    "slow": "x-------x-------",
    "dotted": "x-----x-x---x---",
    "quarters": "x---x---x---x---",
    "lilting": "x---x-x-x-----..",
    "call": "x-x-x---....x-x-",
    "eighths": "x-x-x-x-x-x-x-x-",
    "syncopated": "..x-..x---x-x---",
    "bebop": "x-x-x-x-..x-x-x-",
    "riff": "x--x--x-x--x--x-",
    "runs": "x-x-xxxxx-x-xxxx",
    "sequence": "x.xx.x.xx.xx.x.x",
    "gat": "x---x-xxx-x-x---",
    "alap": "x-----xxx-------",
}

KICK, RIM, SNARE, CLAP, CLOSED_HAT, OPEN_HAT, TAMBOURINE = 36, 37, 38, 39, 42, 46, 54
RIDE, HIGH_BONGO, LOW_BONGO, MUTE_CONGA, OPEN_CONGA, LOW_CONGA, SHAKER = 51, 60, 61, 62, 63, 64, 70

DRUMS = {
    "rock": {KICK: "x.......x.x.....", SNARE: "....x.......x...", CLOSED_HAT: "x.o.x.o.x.o.x.o."},
    "driving rock": {KICK: "x..x....x.x..x..", SNARE: "....x.......x..o", RIDE: "x.x.x.x.x.x.x.x."},
    "half time": {KICK: "x.........x.....", SNARE: "........x.......", OPEN_HAT: "x...x...x...x..."},
    "swing": {KICK: "o.......o.......", RIDE: "x...x.x.x...x.x.", CLOSED_HAT: "....x.......x..."},
    "brushes": {SNARE: "o.o.x.o.o.o.x.o.", KICK: "o.........o.....", RIDE: "x...x...x...x..."},
    "bossa nova": {KICK: "x..x.x..x..x.x..", RIM: "x..x..x...x..x..", SHAKER: "o.o.o.o.o.o.o.o."},
    "four on the floor": {KICK: "x...x...x...x...", OPEN_HAT: "..x...x...x...x.", CLAP: "....x.......x..."},
    "techno": {KICK: "x...x...x...x..o", CLOSED_HAT: "o.xoo.xoo.xoo.xo", RIM: "...x..x....x..x."},
    "breakbeat": {KICK: "x.x.......xx....", SNARE: "....x..o.o..x...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
    "soft pulse": {KICK: "o.......o.......", SHAKER: "..o...o...o...o."},
    "folk": {KICK: "x.......x.......", TAMBOURINE: "....x.......x...", SHAKER: "o.o.o.o.o.o.o.o."},
    "hand drums": {LOW_CONGA: "x.....x...x.....", OPEN_CONGA: "...x....x...x.x.", TAMBOURINE: "....x.......x..."},
    "orchestral": {KICK: "x.......o.......", SNARE: "....o.oox...o.oo"},
    "tintal": {LOW_CONGA: "x...o...x.......", HIGH_BONGO: "x.x.x.x.....x.x.", LOW_BONGO: "..o...o..oo...o."},
    "keherwa": {LOW_CONGA: "x.....x..x......", MUTE_CONGA: "..x.x...x...x.x.", HIGH_BONGO: "x..o..o.x..o..oo"},
}


def strokes(pattern: str) -> list[tuple[int, str, int]]:
    """Return the step, the symbol and the length in steps of every note in a pattern."""
    return [(found.start(), found[1], 1 + len(found[2])) for found in re.finditer(r"([^-.])(-*)", pattern)]


def suited_to(pace: int, names: Sequence[str], table: Mapping[str, str | dict[int, str]]) -> tuple[str, ...]:
    """Return the patterns that suit a pace.

    Without this choice, a slow song with sixteenths would sound the same as a fast song with eighths.

    Args:
        pace: -1 for slow songs, which use the sparser half of the patterns, 1 for fast songs with the busier half, 0
            for all patterns.
        names: names of the patterns to choose from.
        table: table of these patterns.
    """
    ranked = sorted(names, key=lambda name: _stroke_count(table[name]))
    half = (len(ranked) + 1) // 2
    return tuple(ranked[:half] if pace < 0 else ranked[-half:] if pace > 0 else ranked)


def _stroke_count(pattern: str | dict[int, str]) -> int:
    voices = pattern.values() if isinstance(pattern, dict) else [pattern]
    return sum(len(strokes(voice)) for voice in voices)
