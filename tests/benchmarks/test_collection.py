"""The synthesised collection: it depends on its seed only, opens as a folder source, and its tags match its sound."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, find_peaks, periodogram, sosfilt

from benchmarks.collection import effects
from benchmarks.collection.__main__ import main
from benchmarks.collection.composing import compose
from benchmarks.collection.rendering import render, write_song
from benchmarks.collection.song import TAGS, Room, Section, Song
from benchmarks.collection.sound import SAMPLE_RATE
from benchmarks.collection.voices import VOICES, Shade
from genre_tagger.sources.folder import FolderSource

SONGS = 5  # the fewest in which every split occurs
SEED = 3
SHADE = Shade(bright=0.6, detune_cents=0.0, hold=0.5, pick=0.0)


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Path:
    """Return a folder made by the command."""
    folder = tmp_path_factory.mktemp("collection")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["collection", str(folder), "--songs", str(SONGS), "--seed", str(SEED)])
        main()
    return folder


def songs(count: int) -> list[Song]:
    return [compose(SEED, number) for number in range(count)]


def test_a_folder_source_reads_it(collection):
    source = FolderSource(collection)
    assert sorted(source.tags) == sorted(TAGS) and len(source.clips) == 3 * SONGS
    assert {clip.split for clip in source.clips} == {"train", "valid", "test"}
    assert len({clip.group for clip in source.clips}) == SONGS
    for clip in source.clips:
        samples, rate = soundfile.read(clip.path)
        assert (rate, samples.shape) == (16_000, (8 * 16_000,))
        assert 0.001 < np.abs(samples).max() < 0.98


def test_a_song_depends_on_seed_and_number_only(collection, tmp_path):
    rows = write_song(tmp_path, SEED, 4)
    with (collection / "tags.csv").open(newline="") as file:
        assert [list(map(str, row)) for row in rows] == [row for row in csv.reader(file) if row[1] == "song-0004"]
    for path, *_ in rows:
        assert (tmp_path / path).read_bytes() == (collection / path).read_bytes()
    assert compose(SEED, 4) != compose(SEED + 1, 4) != compose(SEED + 1, 5)


def test_every_tag_has_positives_and_negatives_in_every_split():
    held = {split: np.array(flags) for split, flags in _flags_by_split(songs(100)).items()}
    assert set(held) == {"train", "valid", "test"}
    for flags in held.values():
        assert (flags.any(axis=0) & ~flags.all(axis=0)).all()


def _flags_by_split(composed: list[Song]) -> dict[str, list[list[bool]]]:
    flags = {"train": [], "valid": [], "test": []}
    for number, song in enumerate(composed):
        split = {2: "valid", 4: "test", 8: "test"}.get(number % 10, "train")
        flags[split] += [[tag in song.tags(section) for tag in TAGS] for section in song.sections]
    return flags


def test_major_and_minor_follow_the_thirds_that_are_played():
    for song in songs(60):
        for section in song.sections:
            end = section.start_seconds + 8
            semitones = {
                round(12 * np.log2(song.hz(note.degree, layer.octave) / song.tonic_hz)) % 12
                for layer in section.layers
                for note in layer.notes
                if section.start_seconds <= note.step * 60 / song.tempo_bpm / 4 < end
            }
            thirds = {name for name, third in (("major", 4), ("minor", 3)) if third in semitones}
            assert song.tags(section) & {"major", "minor"} == thirds


def test_a_drone_alone_has_no_pace():
    song = next(song for song in songs(20) if song.tempo_bpm > 135)
    layers = (layer for song in songs(20) for section in song.sections for layer in section.layers)
    drone = next(layer for layer in layers if layer.part == "drone")
    section = replace(song.sections[0], layers=(drone,), drumming=None)
    assert "fast" not in song.tags(section)
    assert "fast" in song.tags(replace(section, layers=(drone, replace(drone, part="melody"))))


@pytest.mark.parametrize("name", ["pluck", "organ", "flute", "square", "bass"])
@pytest.mark.parametrize("hz", [110.0, 331.7])
def test_voices_are_in_tune(name, hz):
    tone = VOICES[name](hz, 1.0, SHADE, np.random.default_rng(0))
    frequencies, power = periodogram(tone, SAMPLE_RATE, window="hann", nfft=2**17)
    near = np.abs(frequencies / hz - 1) < 0.04
    assert frequencies[near][power[near].argmax()] == pytest.approx(hz, rel=0.003)  # 5 cents


def test_kicks_follow_the_tempo():
    beating = [
        (song, section) for song in songs(20) for section in song.sections if "four on the floor" in song.tags(section)
    ]
    assert len(beating) >= 4
    for song, section in beating[:4]:
        assert _kick_seconds(song, section) == pytest.approx(60 / song.tempo_bpm, rel=0.02)


def _kick_seconds(song: Song, section: Section) -> float:
    """Return the median seconds between loudness peaks below 120 Hz, in a mix of the drums only."""
    bare = replace(song, room=Room("dry", 0.1, 0.0), crackle_db=None)
    drums = replace(section, layers=(), drive_db=None, tremolo_hz=None)
    low = sosfilt(butter(4, 120, fs=SAMPLE_RATE, output="sos"), render(bare, drums, np.random.default_rng(0)))
    loudness = np.convolve(np.abs(low), np.hanning(800), "same")
    peaks, _ = find_peaks(loudness, height=0.3 * loudness.max(), distance=0.2 * SAMPLE_RATE)
    return float(np.median(np.diff(peaks))) / SAMPLE_RATE


def test_vinyl_clicks_have_the_given_rate():
    smooth = np.sin(2 * np.pi * 440 * np.arange(8 * SAMPLE_RATE) / SAMPLE_RATE)
    worn = effects.crackle(smooth, level_db=6, clicks_per_second=10, rng=np.random.default_rng(0))
    jumps = np.abs(np.diff(worn - smooth)) > 0.3  # the RMS level is 0.7, and the median click has a peak of 1.4
    assert 50 < jumps.sum() < 110


def test_reverberation_falls_by_60_db_in_the_decay_time():
    click = np.zeros(2 * SAMPLE_RATE)
    click[0] = 1
    tail = effects.reverberate(click, decay_seconds=1.5, wet=1.0, rng=np.random.default_rng(0))
    left_db = 10 * np.log10(np.cumsum(np.square(tail)[::-1])[::-1] + 1e-12)  # Schroeder 1965
    tenth, half = round(0.1 * SAMPLE_RATE), round(0.85 * SAMPLE_RATE)
    assert (left_db[tenth] - left_db[half]) / 0.75 == pytest.approx(60 / 1.5, rel=0.05)


def test_muffling_removes_treble():
    noise = np.random.default_rng(0).normal(size=4 * SAMPLE_RATE)
    frequencies, power = periodogram(effects.muffle(noise, 1000), SAMPLE_RATE)
    treble, bass = power[frequencies > 4000].mean(), power[frequencies < 500].mean()
    assert 10 * np.log10(treble / bass) < -24  # two octaves above the cutoff
