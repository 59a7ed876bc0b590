"""Render a song's sections to audio, and write songs to a folder of FLAC files with a table."""

import csv
import io
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.collection import effects
from benchmarks.collection.composing import compose, split_of
from benchmarks.collection.drums import strokes
from benchmarks.collection.song import SECTION_SECONDS, TAGS, Drumming, Layer, Section, Song
from benchmarks.collection.sound import SAMPLE_RATE, amplitude, rms
from benchmarks.collection.voices import VOICES
from genre_tagger.files import replacing

AUDIO_FOLDER = "audio"
TABLE_NAME = "tags.csv"
SECTION_SAMPLES = round(SECTION_SECONDS * SAMPLE_RATE)
PEAK = 0.97

# Prepared data identifies files by size and modification time. With a fixed time, a clip that is written again counts
# as unchanged.
CHANGED_AT = 946_684_800  # 2000-01-01 in UTC, in seconds

Row = tuple[str | int, ...]


def write_song(directory: Path, seed: int, number: int) -> list[Row]:
    """Write a song's clips into `directory` and return their table rows.

    Clips and rows depend only on the seed and the number. A clip is a file like `audio/song-0007-clip-2.flac`: mono,
    16 bit, SAMPLE_RATE hertz, SECTION_SECONDS long.
    """
    (directory / AUDIO_FOLDER).mkdir(parents=True, exist_ok=True)
    song, group, rows = compose(seed, number), f"song-{number:04d}", []
    for index, section in enumerate(song.sections):
        path, tags = f"{AUDIO_FOLDER}/{group}-clip-{index}.flac", song.tags(section)
        _write_clip(directory / path, render(song, section, np.random.default_rng((seed, number, index))))
        rows.append((path, group, split_of(number), *(int(tag in tags) for tag in TAGS)))
    return rows


def write_table(directory: Path, rows: Iterable[Row]) -> None:
    """Write the table with columns `path`, `group` (the song), `split` and one column of 0 and 1 per tag."""
    with replacing(directory / TABLE_NAME) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "group", "split", *TAGS), *rows])


def render(song: Song, section: Section, rng: np.random.Generator) -> np.ndarray:
    """Render one clip: float64 [samples] at SAMPLE_RATE, within full scale."""
    start = round(section.start_seconds * SAMPLE_RATE)
    mix = np.zeros(start + SECTION_SAMPLES)
    for layer in section.layers:
        mix += amplitude(layer.gain_db) * _levelled(_play(song, layer, len(mix), rng))
    if section.drumming:
        mix += amplitude(section.drumming.gain_db) * _levelled(_drum(song, section.drumming, len(mix), rng))
    return _mastered(_treated(mix, song, section, rng)[start:], section.level_db)


def _play(song: Song, layer: Layer, samples: int, rng: np.random.Generator) -> np.ndarray:
    @cache  # notes repeat in loops
    def sound(degree: int, steps: int) -> np.ndarray:
        hz, seconds = song.hz(degree, layer.octave), steps * song.step_seconds
        return VOICES[layer.voice](hz, seconds, layer.shade, rng)

    line = np.zeros(samples)
    for note in layer.notes:
        _add(line, sound(note.degree, note.steps), note.step * song.step_seconds, rng.uniform(0.6, 1))
    return line


def _drum(song: Song, drumming: Drumming, samples: int, rng: np.random.Generator) -> np.ndarray:
    line, sounds = np.zeros(samples), song.kit.sounds(rng)
    bars = int(np.ceil(samples / SAMPLE_RATE / (16 * song.step_seconds)))
    for step, drum, strength in strokes(drumming.pattern, bars):
        _add(line, sounds[drum], step * song.step_seconds, strength * rng.uniform(0.8, 1))
    return line


def _add(line: np.ndarray, sound: np.ndarray, start_seconds: float, strength: float) -> None:
    start = round(start_seconds * SAMPLE_RATE)
    room = line[start : start + len(sound)]
    room += strength * sound[: len(room)]


def _treated(mix: np.ndarray, song: Song, section: Section, rng: np.random.Generator) -> np.ndarray:
    if section.drive_db is not None:
        mix = effects.distort(mix, section.drive_db)
    if section.tremolo_hz is not None:
        mix = effects.tremolo(mix, section.tremolo_hz, rng.uniform(0.7, 1))
    if song.room.wet:
        mix = effects.reverberate(mix, song.room.decay_seconds, song.room.wet, rng)
    mix = effects.tilt(mix, song.high_db)
    if section.cutoff_hz is not None:
        mix = effects.muffle(mix, section.cutoff_hz)
    mix = effects.hiss(mix, song.hiss_db, song.hiss_colour, rng)
    if song.crackle_db is not None:
        mix = effects.crackle(mix, song.crackle_db, song.clicks_per_second, rng)
    return mix


def _levelled(line: np.ndarray) -> np.ndarray:
    return line / rms(line)


def _mastered(samples: np.ndarray, level_db: float) -> np.ndarray:
    """Scale to a level in dB, or to a lower one if the peaks would exceed full scale."""
    return samples * min(amplitude(level_db) / rms(samples), PEAK / np.abs(samples).max())


def _write_clip(path: Path, samples: np.ndarray) -> None:
    content = io.BytesIO()
    soundfile.write(content, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    with replacing(path) as unfinished:
        unfinished.write_bytes(content.getvalue())
        os.utime(unfinished, (CHANGED_AT, CHANGED_AT))
