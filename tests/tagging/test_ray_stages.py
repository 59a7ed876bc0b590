"""The stages of a cluster, without a cluster."""

import hashlib
import io
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from facts import check_facts
from pyarrow import fs

from genre_tagger.config import parse_config
from genre_tagger.tagging.ray_runner import packed
from genre_tagger.tagging.ray_stages import Scorer, songs_to_windows
from genre_tagger.tagging.window_models import ModelFiles

RATE = 12_000
CONFIG = parse_config(
    {
        "window": {"seconds": 0.5, "hop_seconds": 0.25, "evaluate": "all"},
        "inference": {"batch_size": 4},
    }
)


@pytest.fixture
def music(tmp_path):
    """Noise of 1.3 s, 0.5 s and 0.05 s at the model's rate, silence, and a text file."""
    rng = np.random.default_rng(0)
    for name, seconds in {"long 'n' wide.wav": 1.3, "window.wav": 0.5, "short.wav": 0.05}.items():
        soundfile.write(tmp_path / name, rng.uniform(-0.5, 0.5, round(seconds * RATE)), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    (tmp_path / "text.mp3").write_text("la la la")
    return tmp_path


def rows_of(names, store=None, config=CONFIG):
    songs = {"number": np.arange(7, 7 + len(names)), "name": np.array([os.fsencode(name) for name in names], object)}
    batches = list(songs_to_windows(songs, store, config))
    return batches, {column: np.concatenate([batch[column] for batch in batches]) for column in batches[0]}


def last_row(rows, number):
    (place,) = np.flatnonzero((rows["number"] == number) & (rows["windows"] > 0))
    return {column: values[place] for column, values in rows.items()}


def test_windows_of_several_songs_share_batches(music):
    batches, rows = rows_of([music / "long 'n' wide.wav", music / "window.wav"])
    assert [len(batch["number"]) for batch in batches] == [4, 2]
    assert rows["number"].tolist() == [7] * 5 + [8]
    # Every 0.25 s, the last one aligned to the end.
    assert rows["start"].tolist() == [0, 3000, 6000, 9000, 9600, 0]
    samples, _ = soundfile.read(music / "long 'n' wide.wav", dtype="float32")
    for start, window in zip(rows["start"][:5], rows["window"][:5], strict=True):
        np.testing.assert_array_equal(window, samples[start : start + 6000])


def test_the_last_row_describes_the_song(music):
    _, rows = rows_of([music / "long 'n' wide.wav", music / "window.wav"])
    assert rows["windows"].tolist() == [0, 0, 0, 0, 5, 1]
    last = last_row(rows, 7)
    assert last["sha256"] == hashlib.sha256((music / "long 'n' wide.wav").read_bytes()).hexdigest()
    assert last["seconds"] == pytest.approx(1.3)
    assert (last["flag"], last["reason"]) == ("", "")


@pytest.mark.parametrize("place", ["", "file://"])
def test_every_song_has_a_last_row_whatever_is_wrong_with_it(music, place):
    (music / "folder.wav").mkdir()
    os.mkfifo(music / "pipe.wav")
    names = ["silence.wav", "short.wav", "text.mp3", "missing.wav", "folder.wav", "pipe.wav", "/dev/zero"]
    _, rows = rows_of([f"{place}{music / name}" for name in names], fs.LocalFileSystem() if place else None)
    silence, short, text, missing, *others = (last_row(rows, 7 + number) for number in range(len(names)))
    assert (silence["flag"], short["flag"]) == ("silent", "too short")
    assert (silence["windows"], short["windows"]) == (3, 1)
    check_facts(text["reason"], "decoded")
    assert text["sha256"] == hashlib.sha256(b"la la la").hexdigest()
    check_facts(missing["reason"], "no such file or directory")
    assert [other["reason"] for other in others] == ["not a file"] * 3
    assert not text["window"].any()


def test_a_song_that_turns_bad_on_the_way_keeps_its_rows_together(music):
    samples = np.full(3 * RATE, 0.1, np.float32)
    samples[-1] = np.nan
    soundfile.write(music / "bad.wav", np.concatenate([np.tile(samples[:-1], 4), samples]), RATE, subtype="FLOAT")
    _, rows = rows_of([music / "bad.wav"])
    last = last_row(rows, 7)
    check_facts(last["reason"], "NaN")
    assert last["windows"] == len(rows["number"]) > 1
    assert len(set(rows["start"].tolist())) == last["windows"]


@pytest.mark.parametrize("name", ["a.wav\0b", "a." + "x" * 255])
def test_odd_names_are_reasons_of_their_songs(music, name):
    _, rows = rows_of([music / name, music / "window.wav"])
    check_facts(last_row(rows, 7)["reason"], "cannot be read")
    assert last_row(rows, 8)["reason"] == ""


def test_no_room_for_a_copy_is_a_reason_of_its_song(music):
    """A limit of 1 kB per file in this process has the same effect as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        _, rows = rows_of([music / "window.wav", music / "text.mp3"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    check_facts(last_row(rows, 7)["reason"], "copied", "file too large")
    check_facts(last_row(rows, 8)["reason"], "decoded")


def test_a_copy_keeps_its_suffix_only_if_decoding_needs_it(music):
    """A suffix of 250 bytes fits into a file name after one letter, but not after the longer name of a copy."""
    song = (music / "window.wav").rename(music / f"w.{'x' * 250}")
    _, rows = rows_of([song])
    assert rows["reason"].tolist() == [""]


class CountingStore:
    """A store with one file, which records how many bytes each request got."""

    def __init__(self, content):
        self.content, self.requests = content, []

    def open_input_stream(self, key):
        store = self

        class File(io.BytesIO):
            def read(self, size):
                part = super().read(size)
                store.requests += [len(part)] if part else []
                return part

        return File(self.content)


def test_a_song_of_four_minutes_is_one_request():
    store = CountingStore(bytes(3_840_000))
    rows_of(["s3://rock/a.wav"], store)
    assert store.requests == [3_840_000]


def test_objects_are_fetched_from_their_store(music, tmp_path):
    store = fs.SubTreeFileSystem(str(music), fs.LocalFileSystem())
    _, there = rows_of(["s3://window.wav", "s3://gone.wav"], store)
    _, here = rows_of([music / "window.wav"])
    np.testing.assert_array_equal(there["window"][0], here["window"][0])
    assert last_row(there, 7)["sha256"] == last_row(here, 7)["sha256"]
    check_facts(last_row(there, 8)["reason"], "cannot be read")


def test_a_scorer_needs_only_the_files_that_were_sent(tiny_run):
    run, model = tiny_run
    windows = np.random.default_rng(0).uniform(-0.5, 0.5, (5, model.input_shape[1])).astype(np.float32)
    batch = {"number": np.arange(5), "window": windows}
    scored = Scorer(packed(ModelFiles.find(run)), threads=None)(batch)
    assert set(scored) == {"number", "probabilities"}
    np.testing.assert_allclose(scored["probabilities"], model.predict(windows, verbose=0), atol=1e-6)
    assert set(batch) == {"number", "window"}  # its memory may be shared with other processes


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("ray_stages", {"keras", "pandas", "ray", "tensorflow"}),  # decoding processes
        ("ray_runner", {"keras", "ray", "tensorflow"}),  # the command; other processes run the model
    ],
)
def test_modules_of_the_cluster_import_nothing_heavy(module, heavy):
    check = f"import sys, genre_tagger.tagging.{module}; sys.exit(str({heavy} & set(sys.modules) or 0))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True).stderr.strip() == "0"
