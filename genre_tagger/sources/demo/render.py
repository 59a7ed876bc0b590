"""Render demo songs to a folder of FLAC clips with a table of their tags, in parallel. Rendering can be resumed."""

import csv
import io
import math
import os
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import midirenderer
import numpy as np
import pretty_midi
import soundfile
import soxr

from genre_tagger.audio.processes import without_main, worker_pool
from genre_tagger.errors import FieldError
from genre_tagger.files import locked, replacing
from genre_tagger.progress import progress
from genre_tagger.sources.demo.composer import CLIP_SECONDS, CLIPS_PER_SONG, ClipPlan, Composition, compose, split_of
from genre_tagger.sources.demo.labels import TAGS, clip_tags

SAMPLE_RATE = 24_000
CLIP_SAMPLES = round(CLIP_SECONDS * SAMPLE_RATE)
AUDIO_FOLDER = "audio"
TABLE_NAME = "tags.csv"
COLUMNS = ("path", "group", "split", *TAGS)

# Prepared data identifies files by size and modification time (see `data_hash`). A fixed time makes a clip that is
# rendered again count as the same clip.
CHANGED_AT = 946_684_800  # 2000-01-01 in UTC, in seconds

# Soft clipping: samples above the knee are bent smoothly towards the ceiling. This lowers the peaks of loud songs and
# leaves all other samples unchanged. No sample reaches full scale.
KNEE, CEILING = 0.6, 0.98

Row = tuple[str | int, ...]


def render_demo(directory: Path, *, songs: int, seed: int, workers: int) -> Path:
    """Render songs to a directory and return the path of their table.

    Clips are named `audio/song-0007-clip-2.flac`. They are mono, 16-bit, `SAMPLE_RATE` hertz and `CLIP_SECONDS` long.
    The table is written last. Its columns are `path`, `group` (the song), `split` and one column of 0 and 1 per tag in
    `TAGS`.

    The content of a song depends on the seed and its number only, not on the number of workers or songs. More songs
    therefore extend an existing directory, and a call after an interruption renders only songs with missing clips. Use
    each directory with one seed and one `COMPOSER_VERSION` only.

    Args:
        directory: directory to write, created if missing.
        songs: number of songs, with `CLIPS_PER_SONG` clips per song.
        seed: any integer.
        workers: number of rendering processes. 1 renders in the calling process.

    Raises:
        FieldError: `songs` or `workers` is less than 1.
        UserError: a worker process was killed, or another process is rendering to the directory.
    """
    for name, value in (("songs", songs), ("workers", workers)):
        if value < 1:
            raise FieldError(name, f"found {value}, expected 1 or more")
    (directory / AUDIO_FOLDER).mkdir(parents=True, exist_ok=True)
    with locked(directory), progress("rendering songs") as update:
        rows: list[Row] = []
        for done, song_rows in enumerate(_render_songs(directory, songs, seed, workers), start=1):
            rows += song_rows
            update(done, songs)
        return _write_table(directory / TABLE_NAME, rows)


def _render_songs(directory: Path, songs: int, seed: int, workers: int) -> Iterator[list[Row]]:
    render = partial(render_song, directory, seed)
    if workers == 1:
        yield from map(render, range(songs))
        return
    with worker_pool(min(workers, songs)) as pool:
        with without_main():
            rendered = pool.map(render, range(songs))  # submits all songs immediately
        yield from rendered


def render_song(directory: Path, seed: int, index: int) -> list[Row]:
    """Write the clips of one song, unless all exist already, and return their rows of the table."""
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


def _render_clips(song: Composition) -> list[np.ndarray]:
    audio = synthesize(song.midi)
    return [_master(_cut(audio, clip), clip.level_db) for clip in song.clips]


def synthesize(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
    """Render MIDI with the General MIDI sound bank of pretty_midi.

    Returns:
        float32 [samples], mono, at `SAMPLE_RATE`.
    """
    score = io.BytesIO()
    midi.write(score)
    wave = midirenderer.render_wave_from(_sound_bank(), score.getvalue())
    stereo, rate = soundfile.read(io.BytesIO(wave), dtype="float32")
    mono: np.ndarray = soxr.resample(stereo.mean(axis=1), rate, SAMPLE_RATE)
    return mono


@lru_cache(maxsize=1)
def _sound_bank() -> bytes:
    return Path(pretty_midi.__file__).with_name("TimGM6mb.sf2").read_bytes()


def _cut(audio: np.ndarray, clip: ClipPlan) -> np.ndarray:
    start = round(clip.start * SAMPLE_RATE)
    samples = audio[start : start + CLIP_SAMPLES]
    return np.pad(samples, (0, CLIP_SAMPLES - len(samples)))


def _master(samples: np.ndarray, level_db: float) -> np.ndarray:
    """Scale a clip to an RMS level in dBFS and soft-clip its peaks below full scale."""
    rms = math.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    scaled = samples * (10 ** (level_db / 20) / rms)
    excess = np.maximum(np.abs(scaled) - KNEE, 0)
    room = CEILING - KNEE
    return np.where(excess > 0, np.sign(scaled) * (KNEE + room * np.tanh(excess / room)), scaled)


def _write_clip(path: Path, samples: np.ndarray) -> None:
    content = io.BytesIO()  # written by Python, whose error for a full disk is clear; libsndfile's is "system error"
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
