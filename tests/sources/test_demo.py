"""The demo dataset is reproducible, resumable and labelled correctly. Labels are recomputed from MIDI and audio."""

import csv
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from facts import check_facts, expect_error
from shown_progress import progress_to

from genre_tagger.errors import FieldError
from genre_tagger.sources.demo import CLIP_SECONDS, CLIPS_PER_SONG, SAMPLE_RATE, TAGS, render_demo
from genre_tagger.sources.demo.composer import compose, split_of
from genre_tagger.sources.demo.labels import clip_tags
from genre_tagger.sources.demo.parts import Bar, Harmony
from genre_tagger.sources.demo.render import render_song, synthesize

SEED = 3
RENDERED_SONGS = (0, 5, 7)  # quiet and slow; medium level and fast; loud
COMPOSED_SONGS = 120

# Programs of the General MIDI standard by family or name, independent of the composer's table.
GENERAL_MIDI = {
    "piano": {0, 1, 2, 3},
    "harpsichord": {6},
    "organ": {16, 17, 18, 19, 20},
    "guitar": {24, 25},
    "electric guitar": {26, 27, 28, 29, 30},
    "bass": set(range(32, 40)),
    "violin": {40, 110},
    "strings": {44, 48, 49},
    "harp": {46},
    "choir": {52, 53},
    "trumpet": {56, 59},
    "saxophone": {64, 65, 66, 67},
    "flute": {73, 75},
    "synth": {38, 39, *range(80, 104)},
    "sitar": {104},
}


@pytest.fixture(scope="module")
def composed():
    """Return many composed songs that are not rendered: [(song, [(clip, tags)])]."""
    songs = [compose(SEED, index) for index in range(COMPOSED_SONGS)]
    return [(song, [(clip, clip_tags(song, clip)) for clip in song.clips]) for song in songs]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Return the clips of a few rendered songs: [(samples, sample rate, subtype, tags)]."""
    directory = tmp_path_factory.mktemp("rendered")
    (directory / "audio").mkdir()
    rows = [row for index in RENDERED_SONGS for row in render_song(directory, SEED, index)]
    return [(*_read(directory / path), _tags_of(flags)) for path, _, _, *flags in rows]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Return a directory with two rendered songs."""
    return render_demo(tmp_path_factory.mktemp("demo"), songs=2, seed=SEED, workers=1).parent


def _read(path):
    samples, rate = soundfile.read(path)
    return samples, rate, soundfile.info(path).subtype


def _tags_of(flags):
    return {tag for tag, flag in zip(TAGS, flags, strict=True) if flag}


def _files(directory):
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(directory)): path for path in files}


def _bytes(directory):
    return {name: path.read_bytes() for name, path in _files(directory).items()}


def _read_table(directory):
    with (directory / "tags.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _rms_db(samples):
    return 10 * np.log10(np.mean(np.square(samples)))


def _overlap(note, clip):
    return max(0.0, min(note.end, clip.end) - max(note.start, clip.start))


def test_same_seed_gives_same_bytes_for_any_number_of_workers(demo, tmp_path):
    render_demo(tmp_path, songs=2, seed=SEED, workers=2)
    assert _bytes(tmp_path) == _bytes(demo)
    clips = [*demo.glob("audio/*"), *tmp_path.glob("audio/*")]
    # With other times, data prepared from the clips would count as changed.
    assert len({path.stat().st_mtime_ns for path in clips}) == 1


def test_another_seed_gives_other_music():
    notes = [
        [(note.pitch, note.start) for track in compose(seed, 0).midi.instruments for note in track.notes]
        for seed in (SEED, SEED + 1)
    ]
    assert notes[0] != notes[1]


def test_table_is_a_folder_table_of_the_clips(demo):
    rows = _read_table(demo)
    assert tuple(rows[0]) == ("path", "group", "split", *TAGS)
    assert [row["path"] for row in rows[:2]] == ["audio/song-0000-clip-0.flac", "audio/song-0000-clip-1.flac"]
    assert {row["path"] for row in rows} | {"tags.csv"} == set(_files(demo))
    assert {row["group"] for row in rows} == {"song-0000", "song-0001"}
    assert len(TAGS) == len(set(TAGS)) >= 20
    for index, row in enumerate(rows):
        song, clip = divmod(index, CLIPS_PER_SONG)
        composed = compose(SEED, song)
        assert {tag for tag in TAGS if row[tag] == "1"} == clip_tags(composed, composed.clips[clip])


def test_interrupted_run_renders_only_what_is_missing_and_writes_the_table_last(demo, tmp_path):
    for name, content in _bytes(demo).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (0, 0))
    lost = tmp_path / "audio/song-0001-clip-2.flac"
    lost.rename(lost.with_name(f".{lost.name}.tmp"))
    (tmp_path / "tags.csv").unlink()
    seen = []

    def watch(done, total):
        seen.append((done, total, (tmp_path / "tags.csv").exists()))

    with progress_to(watch):
        render_demo(tmp_path, songs=2, seed=SEED, workers=1)

    assert seen == [(1, 2, False), (2, 2, False)]
    assert _bytes(tmp_path) == _bytes(demo)  # this also checks that no unfinished file remains
    rendered_again = {name for name, path in _files(tmp_path).items() if path.stat().st_mtime > 0}
    assert rendered_again == {"tags.csv"} | {f"audio/song-0001-clip-{clip}.flac" for clip in range(CLIPS_PER_SONG)}


def test_clips_have_exact_length_and_are_neither_distorted_nor_silent(rendered):
    for samples, rate, subtype, _ in rendered:
        assert samples.shape == (round(CLIP_SECONDS * rate),)
        assert (rate, subtype) == (SAMPLE_RATE, "PCM_16")
        assert np.abs(samples).max() < 0.99
        seconds = samples.reshape(-1, rate)
        assert min(_rms_db(second) for second in seconds) > -60


def test_level_tags_follow_the_level_of_the_file(rendered):
    expected = [{"quiet"} if _rms_db(x) < -29 else {"loud"} if _rms_db(x) > -19 else set() for x, *_ in rendered]
    assert [tags & {"quiet", "loud"} for *_, tags in rendered] == expected
    assert {"quiet"} in expected and {"loud"} in expected and set() in expected


def test_pace_tags_follow_the_tempo_in_the_midi(composed):
    for song, clips in composed:
        beats_per_minute = song.midi.get_tempo_changes()[1][0]
        expected = {"slow"} if beats_per_minute < 85 else {"fast"} if beats_per_minute > 135 else set()
        assert all(tags & {"slow", "fast"} == expected for _, tags in clips)


def test_drum_tags_follow_the_strokes_in_the_midi(composed):
    for song, clips in composed:
        drums = [note for track in song.midi.instruments if track.is_drum for note in track.notes]
        for clip, tags in clips:
            strokes = sum(clip.start <= note.start < clip.end for note in drums)
            assert strokes == 0 or strokes >= 4, "every composed clip has either a beat or no drums at all"
            assert tags & {"drums", "no drums"} == ({"drums"} if strokes else {"no drums"})


@pytest.mark.parametrize(
    ("strokes", "expected"), [(0, {"no drums"}), (1, set()), (3, set()), (4, {"drums"}), (5, {"drums"})]
)
def test_a_few_drum_strokes_are_neither_a_beat_nor_none(strokes, expected):
    song = compose(SEED, 0)
    clip = song.clips[0]
    notes = [pretty_midi.Note(100, 38, clip.start + 0.5 * n, clip.start + 0.5 * n + 0.1) for n in range(strokes)]
    song.midi.instruments = [pretty_midi.Instrument(0, is_drum=True)]
    song.midi.instruments[0].notes = notes
    assert clip_tags(song, clip) & {"drums", "no drums"} == expected


def test_instrument_tags_follow_the_programs_in_the_midi(composed):
    for song, clips in composed:
        for clip, tags in clips:
            sounding = {
                track.program
                for track in song.midi.instruments
                if not track.is_drum and sum(_overlap(n, clip) for n in track.notes if n.velocity >= 40) >= 1
            }
            expected = {tag for tag, programs in GENERAL_MIDI.items() if programs & sounding}
            assert tags & set(GENERAL_MIDI) == expected
    assert set(GENERAL_MIDI) <= set(TAGS)


def test_tagged_instruments_are_audible_in_the_mix():
    song = compose(SEED, RENDERED_SONGS[-1])
    tracks, mix = song.midi.instruments, synthesize(song.midi)
    for track in tracks:
        song.midi.instruments = [track]
        alone = synthesize(song.midi)
        for clip in song.clips:
            if sum(_overlap(note, clip) for note in track.notes) >= 1:
                window = slice(round(clip.start * SAMPLE_RATE), round(clip.end * SAMPLE_RATE))
                assert _rms_db(alone[window]) > _rms_db(mix[window]) - 20, track.name


def test_songs_are_in_one_key_and_tags_change_within_them(composed):
    for song, _ in composed:
        pitches = {n.pitch % 12 for track in song.midi.instruments if not track.is_drum for n in track.notes}
        assert 3 <= len(pitches) <= 7
    changing = sum(len({tags for _, tags in clips}) > 1 for _, clips in composed)
    assert changing > 0.8 * COMPOSED_SONGS


def test_a_repeated_pitch_is_not_cut_off_by_the_end_of_the_note_before(composed):
    """The end of a note stops all notes of that pitch. If two overlap, the second would be cut off."""
    for song, _ in composed:
        for track in song.midi.instruments:
            ends = defaultdict(float)
            for note in sorted(track.notes, key=lambda note: note.start):
                assert ends[note.pitch] <= note.start + 1e-9 < note.end
                ends[note.pitch] = note.end


def test_style_does_not_reveal_other_tags(composed):
    """Every style occurs slow and fast, quiet and loud, with and without drums, and with many instruments."""
    held = defaultdict(set)
    for song, clips in composed:
        held[song.style].update(*(tags for _, tags in clips))
    for style, tags in held.items():
        assert {"slow", "fast", "quiet", "loud", "drums", "no drums"} <= tags
        assert len(tags & set(GENERAL_MIDI)) >= 10, style


@pytest.mark.parametrize("seed", [0, 1, SEED])
def test_every_tag_has_positives_and_negatives_in_each_split(seed):
    clips = defaultdict(list)
    for index in range(COMPOSED_SONGS):
        song = compose(seed, index)
        clips[split_of(index)] += [clip_tags(song, clip) for clip in song.clips]
    for split, tag_sets in clips.items():
        everywhere, somewhere = set.intersection(*map(set, tag_sets)), set().union(*tag_sets)
        assert somewhere == set(TAGS), split
        assert not everywhere, split


def test_splits_are_whole_songs_in_their_shares(demo):
    splits_of_song = defaultdict(set)
    for row in _read_table(demo):
        splits_of_song[row["group"]].add(row["split"])
    assert all(len(splits) == 1 for splits in splits_of_song.values())
    splits = [split_of(index) for index in range(100)]
    assert [splits.count(name) for name in ("train", "valid", "test")] == [70, 10, 20]


def test_swing_delays_the_off_beat_only():
    bar = Bar(start=10.0, step_seconds=0.1, steps=16, swing=0.5, harmony=Harmony(0, (0,) * 7, 0, False))
    assert [bar.time(step) for step in (0, 1, 2, 3, 4)] == pytest.approx([10.0, 10.125, 10.25, 10.325, 10.4])
    assert bar.end == pytest.approx(11.6)


@pytest.mark.parametrize(("field", "value"), [("songs", 0), ("workers", -2)])
def test_invalid_numbers_are_rejected_before_anything_is_written(tmp_path, field, value):
    with expect_error(f"{field}: ", value, kind=FieldError) as caught:
        render_demo(tmp_path / "demo", **{"songs": 1, "seed": 0, "workers": 1, field: value})
    assert caught.value.field == field
    assert not (tmp_path / "demo").exists()


def test_a_directory_that_another_process_renders_is_not_changed(tmp_path):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with expect_error(tmp_path, "process"):
            render_demo(tmp_path, songs=1, seed=SEED, workers=1)
        assert not _files(tmp_path)
    assert render_demo(tmp_path, songs=1, seed=SEED, workers=1).exists()


KILLED_RUN = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
from genre_tagger.progress import shown_by
from genre_tagger.sources.demo import render_demo

with shown_by(lambda title, in_bytes: nullcontext(lambda *step: print(*step, flush=True))):
    render_demo(Path(sys.argv[1]), songs=40, seed=0, workers=2)
"""


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid):
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.fixture
def rendering(tmp_path):
    """Yield a process that has rendered one song, and the ids of its two workers."""
    script = tmp_path / "run.py"
    script.write_text(KILLED_RUN)
    command = [sys.executable, str(script), str(tmp_path / "demo")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        children = _children(process.pid)
        yield process, [pid for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()]
        process.kill()


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc to find the workers")


@needs_proc
def test_workers_and_lock_end_with_a_killed_run(rendering, tmp_path):
    process, workers = rendering
    process.kill()
    process.wait()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(_is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, "rendering processes outlive their killed parent"
        time.sleep(0.05)
    assert render_demo(tmp_path / "demo", songs=1, seed=0, workers=1).exists()


@needs_proc
def test_killed_worker_is_reported(rendering):
    process, workers = rendering
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    check_facts(errors.splitlines()[-1], "UserError", "worker")


def test_rendering_process_imports_no_tensorflow():
    heavy = "{'tensorflow', 'keras', 'librosa'}"
    code = f"import sys, genre_tagger.sources.demo.render; sys.exit(bool({heavy} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
