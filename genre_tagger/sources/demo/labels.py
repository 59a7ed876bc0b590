"""The exact tags of a demo clip, derived from its composition."""

from pretty_midi import Instrument

from genre_tagger.sources.demo.composer import ClipPlan, Composition
from genre_tagger.sources.demo.instruments import INSTRUMENT_TAGS, TAGS_OF_PROGRAM
from genre_tagger.sources.demo.styles import STYLES

TAGS = (*STYLES, *INSTRUMENT_TAGS, "drums", "no drums", "slow", "fast", "quiet", "loud")

SLOW_BELOW_BPM, FAST_ABOVE_BPM = 85.0, 135.0
QUIET_BELOW_DB, LOUD_ABOVE_DB = -29.0, -19.0
AUDIBLE_SECONDS = 1.0  # minimum total duration of the notes; less is a stray note that a listener would not tag
AUDIBLE_DRUM_STROKES = 4  # with fewer strokes, a clip is tagged neither `drums` nor `no drums`


def clip_tags(song: Composition, clip: ClipPlan) -> frozenset[str]:
    """Return the tags of a clip, a subset of `TAGS`.

    An instrument is tagged if its notes sound for at least `AUDIBLE_SECONDS` within the clip.
    """
    tags = {song.style} | _drum_tags(song, clip) | _pace_tags(song.tempo_bpm) | _level_tags(clip.level_db)
    for track in song.midi.instruments:
        if not track.is_drum and _sounding_seconds(track, clip) >= AUDIBLE_SECONDS:
            tags.update(TAGS_OF_PROGRAM[track.program])
    return frozenset(tags)


def _sounding_seconds(track: Instrument, clip: ClipPlan) -> float:
    return sum((max(0.0, min(note.end, clip.end) - max(note.start, clip.start)) for note in track.notes), start=0.0)


def _drum_tags(song: Composition, clip: ClipPlan) -> set[str]:
    strokes = sum(
        clip.start <= note.start < clip.end for track in song.midi.instruments if track.is_drum for note in track.notes
    )
    return {"drums"} if strokes >= AUDIBLE_DRUM_STROKES else set() if strokes else {"no drums"}


def _pace_tags(tempo_bpm: float) -> set[str]:
    return {"slow"} if tempo_bpm < SLOW_BELOW_BPM else {"fast"} if tempo_bpm > FAST_ABOVE_BPM else set()


def _level_tags(level_db: float) -> set[str]:
    return {"quiet"} if level_db < QUIET_BELOW_DB else {"loud"} if level_db > LOUD_ABOVE_DB else set()
