"""Composition of a demo song from a seed and a number: sections of music as MIDI, and the clip to cut from each."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from pretty_midi import Note, PrettyMIDI

from genre_tagger.sources.clips import SPLITS
from genre_tagger.sources.demo.band import Band, Chair, draw_band
from genre_tagger.sources.demo.instruments import GUEST_TAGS
from genre_tagger.sources.demo.parts import Bar, Harmony, Melody, Player, play_bass, play_chords, play_drums
from genre_tagger.sources.demo.patterns import BASSES, CHORDS, MELODIES, STEPS_PER_BEAT
from genre_tagger.sources.demo.styles import SCALES, STYLES, Style

COMPOSER_VERSION = 4  # increase it when the audio or the labels change, so that songs of two versions are never mixed
CLIPS_PER_SONG = 3
CLIP_SECONDS = 5.0

# The number of a song determines its split, style, guest, tempo range and level range. Each of these repeats in a
# cycle. The lengths of the cycles (10, 7 and 11; tempo and level share one of 9) have no common factor, so any sequence
# of songs is stratified: each split contains every style within 70 songs and every guest within 110.
TRAIN, VALID, TEST = SPLITS
SPLIT_CYCLE = (TRAIN, TRAIN, VALID, TRAIN, TEST, TRAIN, TRAIN, TRAIN, TEST, TRAIN)
TEMPOS_BPM = ((60.0, 82.0), (90.0, 130.0), (138.0, 172.0))
LEVELS_DB = ((-36.0, -31.0), (-26.0, -22.0), (-17.0, -13.0))
LEVEL_SPREAD_DB = 1.0  # largest difference between the level of a clip and that of its song

# Probability that each player plays in a section.
LEAD_ODDS, LEAD_BESIDE_GUEST_ODDS = 0.8, 0.2
FIRST_HARMONY_ODDS, SECOND_HARMONY_ODDS = 0.75, 0.2
RHYTHM_ODDS = 0.85
GUEST_SECTIONS = 2


@dataclass(frozen=True)
class ClipPlan:
    """The start of a clip in its song (seconds) and its RMS level (dBFS)."""

    start: float
    level_db: float

    @property
    def end(self) -> float:
        """End of the clip in its song, in seconds."""
        return self.start + CLIP_SECONDS


@dataclass(frozen=True)
class Composition:
    """A composed song: its style, its tempo in beats per minute, its notes and its clips."""

    style: str
    tempo_bpm: float
    midi: PrettyMIDI
    clips: tuple[ClipPlan, ...]


@dataclass(frozen=True)
class Form:
    """The key, metre and length common to all sections of a song.

    A section lasts as many whole bars as are needed for one clip.
    """

    tonic: int
    scale: tuple[int, ...]
    beats: int
    bar_seconds: float

    @property
    def bars(self) -> int:
        """Number of bars per section."""
        return math.ceil(CLIP_SECONDS / self.bar_seconds)

    @property
    def section_seconds(self) -> float:
        """Length of a section in seconds."""
        return self.bars * self.bar_seconds

    def section(self, number: int, style: Style, progression: tuple[int, ...]) -> list[Bar]:
        """Return the bars of a section, with one chord per bar."""
        start, steps = number * self.section_seconds, self.beats * STEPS_PER_BEAT
        return [
            Bar(
                start=start + bar * self.bar_seconds,
                step_seconds=self.bar_seconds / steps,
                steps=steps,
                swing=style.swing,
                harmony=Harmony(self.tonic, self.scale, progression[bar % len(progression)], style.sevenths),
            )
            for bar in range(self.bars)
        ]


def split_of(index: int) -> str:
    """Return the split of a song, which depends on its number only."""
    return SPLIT_CYCLE[index % len(SPLIT_CYCLE)]


def compose(seed: int, index: int) -> Composition:
    """Compose a song. The same seed and number always give the same song.

    Args:
        seed: any integer.
        index: number of the song, from 0.
    """
    rng = random.Random(f"{COMPOSER_VERSION}/{seed}/{index}")  # seeding with a string is the same on every machine
    name = tuple(STYLES)[index % len(STYLES)]
    style = STYLES[name]
    pace = index % len(TEMPOS_BPM)
    tempo_bpm = round(rng.uniform(*TEMPOS_BPM[pace]), 1)
    form = _draw_form(rng, style, tempo_bpm)
    band = draw_band(rng, style, GUEST_TAGS[index % len(GUEST_TAGS)], pace - 1)
    _play_song(rng, style, form, band)
    midi = PrettyMIDI(initial_tempo=tempo_bpm)
    midi.instruments = band.tracks()
    level_db = rng.uniform(*LEVELS_DB[index // len(TEMPOS_BPM) % len(LEVELS_DB)])
    return Composition(name, tempo_bpm, midi, _draw_clips(rng, form, level_db))


def _draw_form(rng: random.Random, style: Style, tempo_bpm: float) -> Form:
    beats = rng.choice(style.beats)
    return Form(rng.randrange(12), SCALES[rng.choice(style.scales)], beats, beats * 60 / tempo_bpm)


def _draw_clips(rng: random.Random, form: Form, song_level_db: float) -> tuple[ClipPlan, ...]:
    """Draw the position of one clip in each section.

    Clips start anywhere in a bar, so that the start of a clip does not reveal the metre.
    """
    spare_seconds = form.section_seconds - CLIP_SECONDS
    return tuple(
        ClipPlan(
            start=section * form.section_seconds + rng.uniform(0, spare_seconds),
            level_db=song_level_db + rng.uniform(-LEVEL_SPREAD_DB, LEVEL_SPREAD_DB),
        )
        for section in range(CLIPS_PER_SONG)
    )


def _play_song(rng: random.Random, style: Style, form: Form, band: Band) -> None:
    with_guest = rng.sample(range(CLIPS_PER_SONG), GUEST_SECTIONS)
    for section in range(CLIPS_PER_SONG):
        bars = form.section(section, style, rng.choice(style.progressions))
        _play_section(rng, band, bars, section in with_guest)


def _play_section(rng: random.Random, band: Band, bars: list[Bar], has_guest: bool) -> None:
    """Draw the players of a section and let them play. At least one harmony player plays, so no section is empty."""
    if has_guest:
        _play_melody(rng, band.guest, bars)
    if rng.random() < (LEAD_BESIDE_GUEST_ODDS if has_guest else LEAD_ODDS):
        _play_melody(rng, band.lead, bars)
    has_first = rng.random() < FIRST_HARMONY_ODDS
    has_second = not has_first or rng.random() < SECOND_HARMONY_ODDS
    for harmony, plays in zip(band.harmonies, (has_first, has_second), strict=True):
        if plays:
            _play_pattern(rng, harmony, bars, CHORDS, play_chords)
    if band.bass and rng.random() < RHYTHM_ODDS:
        _play_pattern(rng, band.bass, bars, BASSES, play_bass)
    if band.drums and rng.random() < RHYTHM_ODDS:
        _play_drums(rng, band.drums, bars)


def _play_pattern(
    rng: random.Random,
    chair: Chair,
    bars: list[Bar],
    table: dict[str, str],
    play: Callable[[Player, Bar, str], list[Note]],
) -> None:
    pattern = table[rng.choice(chair.patterns)]
    for bar in bars:
        chair.track.notes += play(chair.player, bar, pattern)


def _play_melody(rng: random.Random, chair: Chair, bars: list[Bar]) -> None:
    """Play a melody that alternates between two rhythms, like question and answer."""
    melody = Melody(chair.player, bars[0].harmony)
    rhythms = [MELODIES[name] for name in rng.choices(chair.patterns, k=2)]
    for number, bar in enumerate(bars):
        chair.track.notes += melody.play(bar, rhythms[number % len(rhythms)])


def _play_drums(rng: random.Random, chair: Chair, bars: list[Bar]) -> None:
    pattern = rng.choice(chair.patterns)
    for bar in bars:
        chair.track.notes += play_drums(chair.player, bar, pattern, fill=bar is bars[-1])
