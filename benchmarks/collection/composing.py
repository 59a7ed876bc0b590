"""Compose a song from a seed and a number."""

import numpy as np

from benchmarks.collection.drums import BEATS, draw_kit
from benchmarks.collection.parts import PARTS
from benchmarks.collection.song import SCALES, SECTION_SECONDS, Drumming, Layer, Room, Section, Song
from benchmarks.collection.voices import Shade, draw_shade

SECTIONS_PER_SONG = 3
SPLIT_CYCLE = ("train", "train", "valid", "train", "test", "train", "train", "train", "test", "train")

C3_HZ = 130.81
KEYS = (0, -3, -5, -8, -10)  # semitones from C3 to C, A, G, E and D, which are usual keys of bands
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3), (0, 0, 3, 3), (0, 0, 0, 0))
TEMPOS_BPM = ((55.0, 76.0), (94.0, 122.0), (142.0, 178.0))
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
PLAYER_ODDS = (0.6, 0.3, 0.1)  # probabilities of one, two or three players in a section
BASS_ODDS, DRUM_ODDS, DISTORTED_ODDS, TREMOLO_ODDS, MUFFLED_ODDS, VINYL_ODDS = 0.5, 0.65, 0.25, 0.25, 0.25, 0.3
GAINS_DB, DRUM_GAINS_DB = (-6.0, 0.0), (-3.0, 5.0)


def split_of(number: int) -> str:
    """Return the split of a song by its number. Of ten songs, 7 are for training, 1 for validation, 2 for test."""
    return SPLIT_CYCLE[number % len(SPLIT_CYCLE)]


def compose(seed: int, number: int) -> Song:
    """Compose song `number` of a seed. The same seed and number always give the same song."""
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
        clicks_per_second=rng.uniform(4, 25),
        sections=tuple(_draw_section(rng, tempo_bpm, band, bass) for _ in range(SECTIONS_PER_SONG)),
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
