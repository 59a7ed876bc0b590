"""The styles of the demo and their musical material. Styles share instruments, so no instrument reveals its style."""

from dataclasses import dataclass

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),  # the thaat Kafi in Hindustani music
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),  # the thaat Khamaj
    "lydian": (0, 2, 4, 6, 7, 9, 11),  # the thaat Kalyan
    "bhairav": (0, 1, 4, 5, 7, 8, 11),
}


@dataclass(frozen=True)
class Style:
    """The options from which a song is drawn. Options without weights are equally likely.

    Attributes:
        scales: keys of `SCALES`.
        progressions: chord progressions, one scale degree per bar, counted from 0.
        leads: weights of the lead instruments, by key of `INSTRUMENTS`.
        harmonies: weights of the chord instruments, by key of `INSTRUMENTS`.
        basses: weights of the bass instruments, by key of `INSTRUMENTS`.
        melodies: keys of `MELODIES` in patterns.py.
        chords: keys of `CHORDS` in patterns.py.
        bass_lines: keys of `BASSES` in patterns.py.
        drums: keys of `DRUMS` in patterns.py.
        kits: General MIDI drum kits.
        bass_odds: probability that a song has a bass.
        drum_odds: probability that a song has drums.
        beats: numbers of beats per bar.
        swing: delay of off-beat eighths in sixteenths (2/3 is a triplet feel).
        sevenths: whether chords have a seventh.
        jitter_seconds: spread of the players' timing. It is 0 for machine-like styles.
    """

    scales: tuple[str, ...]
    progressions: tuple[tuple[int, ...], ...]
    leads: dict[str, int]
    harmonies: dict[str, int]
    basses: dict[str, int]
    melodies: tuple[str, ...]
    chords: tuple[str, ...]
    bass_lines: tuple[str, ...]
    drums: tuple[str, ...]
    kits: tuple[int, ...]
    bass_odds: float
    drum_odds: float
    beats: tuple[int, ...] = (4,)
    swing: float = 0.0
    sevenths: bool = False
    jitter_seconds: float = 0.008


STYLES = {
    "classical": Style(
        scales=("major", "harmonic minor"),
        progressions=((0, 3, 4, 0), (0, 5, 1, 4), (0, 3, 6, 2, 5, 1, 4, 0)),
        leads={"violin": 3, "flute": 2, "grand piano": 2, "harpsichord": 2, "trumpet": 2},
        harmonies={"strings": 3, "grand piano": 3, "harpsichord": 2, "church organ": 2, "harp": 1, "choir aahs": 1},
        basses={"acoustic bass": 1},
        melodies=("dotted", "quarters", "eighths", "runs", "lilting"),
        chords=("alberti", "arpeggio", "quarters", "halves", "oom pah"),
        bass_lines=("halves", "root and fifth", "walking"),
        drums=("orchestral", "soft pulse"),
        kits=(0, 8, 40),
        bass_odds=0.5,
        drum_odds=0.2,
        beats=(4, 4, 3),
    ),
    "rock": Style(
        scales=("major", "minor", "mixolydian"),
        progressions=((0, 4, 5, 3), (5, 3, 0, 4), (0, 6, 3, 0), (0, 3, 4, 4)),
        leads={
            "overdriven guitar": 4,
            "distortion guitar": 2,
            "drawbar organ": 2,
            "saw lead": 1,
            "tenor saxophone": 1,
            "trumpet": 1,
        },
        harmonies={"distortion guitar": 3, "steel guitar": 3, "drawbar organ": 2, "grand piano": 2, "strings": 1},
        basses={"pick bass": 3, "finger bass": 2},
        melodies=("call", "riff", "eighths", "dotted"),
        chords=("power eighths", "power syncopated", "strum", "quarters"),
        bass_lines=("eighths", "syncopated", "halves"),
        drums=("rock", "driving rock", "half time"),
        kits=(0, 8, 16),
        bass_odds=0.8,
        drum_odds=0.8,
    ),
    "jazz": Style(
        scales=("major", "dorian"),
        progressions=((1, 4, 0, 0), (0, 5, 1, 4), (1, 4, 2, 5)),
        leads={
            "alto saxophone": 3,
            "tenor saxophone": 2,
            "trumpet": 3,
            "grand piano": 3,
            "flute": 1,
        },
        harmonies={"grand piano": 4, "nylon guitar": 2, "drawbar organ": 2, "strings": 1, "choir aahs": 1},
        basses={"acoustic bass": 4, "finger bass": 1},
        melodies=("bebop", "syncopated", "eighths", "call"),
        chords=("charleston", "comping", "halves"),
        bass_lines=("walking", "walking down", "root and fifth"),
        drums=("swing", "brushes", "bossa nova"),
        kits=(0, 32, 40),
        bass_odds=0.8,
        drum_odds=0.6,
        swing=0.6,
        sevenths=True,
        jitter_seconds=0.012,
    ),
    "techno": Style(
        scales=("minor", "dorian"),
        progressions=((0, 0, 5, 6), (0, 0, 0, 0), (0, 5, 2, 6), (0, 0, 3, 4)),
        leads={"saw lead": 3, "square lead": 3, "poly synth": 2, "grand piano": 1, "choir aahs": 1, "strings": 1},
        harmonies={"poly synth": 3, "brightness": 2, "saw lead": 1, "grand piano": 2, "strings": 2, "choir aahs": 1},
        basses={"synth bass": 3, "finger bass": 1},
        melodies=("sequence", "riff", "runs", "syncopated"),
        chords=("stabs", "house", "gate", "rolling arpeggio"),
        bass_lines=("offbeat", "octaves", "sixteenths"),
        drums=("four on the floor", "techno", "breakbeat"),
        kits=(24, 25, 16, 0),
        bass_odds=0.7,
        drum_odds=0.85,
        jitter_seconds=0.0,
    ),
    "ambient": Style(
        scales=("major", "lydian", "minor"),
        progressions=((0, 3, 0, 5), (0, 4, 3, 3), (5, 3, 0, 0)),
        leads={"flute": 2, "harp": 2, "grand piano": 2, "square lead": 1, "violin": 1, "choir aahs": 2},
        harmonies={"warm pad": 3, "sweep pad": 2, "slow strings": 3, "choir aahs": 2, "nylon guitar": 1, "harp": 1},
        basses={"synth bass": 2, "finger bass": 1},
        melodies=("long", "slow", "alap"),
        chords=("whole", "halves", "slow arpeggio"),
        bass_lines=("whole", "halves"),
        drums=("soft pulse", "half time"),
        kits=(24, 8, 0),
        bass_odds=0.4,
        drum_odds=0.3,
    ),
    "folk": Style(
        scales=("major", "mixolydian", "dorian"),
        progressions=((0, 3, 4, 0), (0, 4, 0, 3), (0, 5, 3, 4)),
        leads={"violin": 3, "flute": 2, "steel guitar": 3, "nylon guitar": 1, "harp": 1, "church organ": 1},
        harmonies={
            "steel guitar": 4,
            "nylon guitar": 3,
            "harp": 1,
            "grand piano": 1,
            "church organ": 1,
            "choir aahs": 1,
        },
        basses={"acoustic bass": 2, "finger bass": 1},
        melodies=("lilting", "eighths", "dotted", "call"),
        chords=("folk strum", "oom pah", "strum", "arpeggio"),
        bass_lines=("root and fifth", "halves"),
        drums=("folk", "hand drums"),
        kits=(0, 8, 40),
        bass_odds=0.5,
        drum_odds=0.4,
        beats=(4, 3),
    ),
    "indian": Style(
        scales=("bhairav", "dorian", "lydian", "mixolydian"),
        progressions=((0,),),
        leads={"sitar": 4, "flute": 2, "violin": 2, "church organ": 2, "nylon guitar": 1},
        harmonies={"sitar": 2, "church organ": 3, "harp": 1, "warm pad": 2, "slow strings": 1, "steel guitar": 1},
        basses={"finger bass": 1, "synth bass": 1},
        melodies=("gat", "alap", "runs", "long"),
        chords=("drone", "tanpura", "jhala"),
        bass_lines=("whole", "root and fifth"),
        drums=("tintal", "keherwa", "hand drums"),
        kits=(0, 8),
        bass_odds=0.25,
        drum_odds=0.6,
    ),
}
