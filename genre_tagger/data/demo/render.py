"""Renders demo songs to a folder of FLAC clips with a table of their tags, in parallel and safe to interrupt."""

import csv
import io
import math
import os
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import midirenderer
import numpy as np
import pretty_midi
import soundfile
import soxr

from genre_tagger.data.demo.composer import CLIP_SECONDS, CLIPS_PER_SONG, ClipPlan, Song, compose, split_of
from genre_tagger.data.demo.labels import TAGS, clip_tags
from genre_tagger.data.pool import without_main, worker_pool
from genre_tagger.errors import UserError
from genre_tagger.files import locked, replacing

SAMPLE_RATE = 24_000
CLIP_SAMPLES = round(CLIP_SECONDS * SAMPLE_RATE)
AUDIO_FOLDER = "audio"
TABLE_NAME = "tags.csv"
COLUMNS = ("path", "group", "split", *TAGS)

# Prepared data knows files by size and time of change (see `data_hash`): a clip rendered again is the same clip.
CHANGED_AT = 946_684_800  # 2000-01-01 in UTC, in seconds

# Above the knee the waveform bends smoothly towards the ceiling, as tape does: the peaks of loud songs lose a little,
# everything else is left as it is, and no sample reaches full scale.
KNEE, CEILING = 0.6, 0.98

Row = tuple[str | int, ...]


def render_demo(
    directory: Path, *, songs: int, seed: int, workers: int, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Renders `songs` songs of a seed into `directory` and returns the path of their table.

    Clips are `audio/song-0007-clip-2.flac`: mono, `SAMPLE_RATE` hertz, 16 bit, `CLIP_SECONDS` long. The table comes
    last; its columns are `path`, `group` (the song), `split` and one of 0 and 1 for each of `TAGS`. What a song holds
    depends on the seed and its number only: the number of workers changes nothing, more songs extend a set, and after
    an interruption only songs that lack a clip are rendered. A directory must be kept to one seed and one
    `COMPOSER_VERSION`.

    Args:
        directory: made where it is missing.
        songs: number of songs, `CLIPS_PER_SONG` clips each.
        seed: any integer.
        workers: processes to render in; 1 renders in this one.
        on_progress: called with (songs done, songs) after each song.

    Raises:
        UserError: for fewer than one song or worker, for a worker that was killed, or where another process renders.
    """
    for name, value in (("songs", songs), ("workers", workers)):
        if value < 1:
            raise UserError(f"demo {name}: found {value}, expected 1 or more")
    (directory / AUDIO_FOLDER).mkdir(parents=True, exist_ok=True)
    with locked(directory):
        rows: list[Row] = []
        for done, song_rows in enumerate(_render_songs(directory, songs, seed, workers), start=1):
            rows += song_rows
            if on_progress:
                on_progress(done, songs)
        return _write_table(directory / TABLE_NAME, rows)


def _render_songs(directory: Path, songs: int, seed: int, workers: int) -> Iterator[list[Row]]:
    render = partial(render_song, directory, seed)
    if workers == 1:
        yield from map(render, range(songs))
        return
    with worker_pool(min(workers, songs)) as pool:
        with without_main():
            rendered = pool.map(render, range(songs))  # submits all at once
        yield from rendered


def render_song(directory: Path, seed: int, index: int) -> list[Row]:
    """Writes the clips of one song, unless all are there, and returns their rows of the table."""
    song = compose(seed, index)
    group = f"song-{index:04d}"
    paths = [f"{AUDIO_FOLDER}/{group}-clip-{number}.flac" for number in range(CLIPS_PER_SONG)]
    if not all((directory / path).exists() for path in paths):
        for path, clip in zip(paths, _render_clips(song), strict=True):
            _write_clip(directory / path, clip)
    tags = [clip_tags(song, clip) for clip in song.clips]
    return [
        (path, group, split_of(index), *(int(tag in held) for tag in TAGS))
        for path, held in zip(paths, tags, strict=True)
    ]


def _render_clips(song: Song) -> list[np.ndarray]:
    audio = synthesize(song.midi)
    return [_master(_cut(audio, clip), clip.level_db) for clip in song.clips]


def synthesize(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
    """Plays MIDI on pretty_midi's General MIDI sound bank: float32 [samples] at `SAMPLE_RATE`, mono."""
    score = io.BytesIO()
    midi.write(score)
    wave = midirenderer.render_wave_from(_sound_bank(), score.getvalue())
    stereo, rate = soundfile.read(io.BytesIO(wave), dtype="float32")
    return soxr.resample(stereo.mean(axis=1), rate, SAMPLE_RATE)


@lru_cache(maxsize=1)
def _sound_bank() -> bytes:
    return Path(pretty_midi.__file__).with_name("TimGM6mb.sf2").read_bytes()


def _cut(audio: np.ndarray, clip: ClipPlan) -> np.ndarray:
    start = round(clip.start * SAMPLE_RATE)
    samples = audio[start : start + CLIP_SAMPLES]
    return np.pad(samples, (0, CLIP_SAMPLES - len(samples)))


def _master(samples: np.ndarray, level_db: float) -> np.ndarray:
    """Brings a clip to an RMS level in dBFS and bends its peaks below full scale."""
    rms = math.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    scaled = samples * (10 ** (level_db / 20) / rms)
    excess = np.maximum(np.abs(scaled) - KNEE, 0)
    room = CEILING - KNEE
    return np.where(excess > 0, np.sign(scaled) * (KNEE + room * np.tanh(excess / room)), scaled)


def _write_clip(path: Path, samples: np.ndarray) -> None:
    content = io.BytesIO()  # libsndfile calls a full disk a "system error"
    soundfile.write(content, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    with replacing(path) as unfinished:
        unfinished.write_bytes(content.getvalue())
        os.utime(unfinished, (CHANGED_AT, CHANGED_AT))


def _write_table(path: Path, rows: list[Row]) -> Path:
    with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return path
