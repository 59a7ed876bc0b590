"""Prepare data: records equal decoded files, a killed run is resumed, and every failure is reported in one line."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from facts import check_facts, expect_error
from shown_progress import progress_to

from genre_tagger.audio.decode import decode, to_pcm16
from genre_tagger.dataset import shards
from genre_tagger.dataset.manifest import Manifest, read_manifest
from genre_tagger.dataset.prepare import data_hash, prepare
from genre_tagger.sources.clips import SPLITS, read_tags
from genre_tagger.sources.folder import FolderSource

RATE = 12_000


def read_records(paths: list[Path]) -> list[dict]:
    """Return the records of TFRecord files, parsed with tf.data as in training."""
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("id", "pcm", "labels")}
    features["index"] = tf.io.FixedLenFeature([], tf.int64)
    names = [str(path) for path in paths]
    return list(tf.data.TFRecordDataset(names).map(lambda x: tf.io.parse_example(x, features)).as_numpy_iterator())


def contents(directory: Path) -> dict[str, bytes]:
    """Return all files of a directory, including hidden ones, except the lock."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != ".lock"}


def check_records(manifest: Manifest, source: FolderSource) -> None:
    clips = {clip.id: clip for clip in source.clips}
    for split in SPLITS:
        index = manifest.clip_index(split)
        records = read_records(manifest.shard_paths(split))
        assert [record["index"] for record in records] == index.index.tolist()
        for record in records:
            clip, row = clips[record["id"].decode()], index.loc[record["index"]]
            pcm = np.frombuffer(record["pcm"], "<i2")
            np.testing.assert_array_equal(pcm, to_pcm16(decode(clip.path, RATE)))
            np.testing.assert_array_equal(np.frombuffer(record["labels"], np.int8), clip.labels)
            assert (row["id"], row["group"], row["split"]) == (clip.id, clip.group, split)
            assert (row["samples"], row["seconds"]) == (pcm.size, pytest.approx(pcm.size / RATE))
            assert [row[f"label:{tag}"] for tag in source.tags] == clip.labels.tolist()


def test_records_equal_decoding_and_the_manifest_counts_them(music_folder: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shards, "CLIPS_PER_SHARD", 4)
    source = FolderSource(music_folder)
    steps = []
    with progress_to(lambda *step: steps.append(step)):
        manifest = prepare(source, RATE, tmp_path / "out", workers=2)
    assert steps == [(done, 12) for done in range(13)]
    check_records(manifest, source)
    train = manifest.splits["train"]
    assert (train.clips, train.groups, train.seconds) == (6, 3, pytest.approx(6.0, abs=0.1))
    assert train.shards == ("train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord")
    assert train.positives == {"drums": 3, "loud": 2}
    assert train.negatives == {"drums": 3, "loud": 3}
    assert (manifest.source, manifest.sample_rate, manifest.rejected) == ("folder", RATE, 0)
    assert [manifest.one_sided_tags(split) for split in SPLITS] == [[], [], ["loud"]]
    assert read_tags(tmp_path / "out/tags.txt") == source.tags == manifest.tags
    assert pd.read_csv(tmp_path / "out/rejected.csv").columns.tolist() == ["id", "path", "reason"]
    assert [name for name in contents(tmp_path / "out") if name.startswith(".")] == []
    assert read_manifest(tmp_path / "out") == manifest


def test_a_second_call_decodes_nothing_and_a_moved_directory_can_be_read(
    music_folder: Path, tmp_path: Path, monkeypatch
):
    source = FolderSource(music_folder)
    first = prepare(source, RATE, tmp_path / "out", workers=1)
    monkeypatch.setattr("genre_tagger.dataset.prepare.decode_many", None)
    assert prepare(source, RATE, tmp_path / "out", workers=1) == first
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = read_manifest(tmp_path / "moved")
    assert moved.splits == first.splits
    assert len(moved.clip_index("train")) == 6


def test_the_real_clip(real_mp3: Path, tmp_path: Path):
    for name in ("a.mp3", "b.mp3", "c.mp3"):
        (tmp_path / name).write_bytes(real_mp3.read_bytes())
    (tmp_path / "tags.csv").write_text("path,tags\na.mp3,ambient\nb.mp3,\nc.mp3,ambient|slow\n")
    source = FolderSource(tmp_path)
    manifest = prepare(source, RATE, tmp_path / "out", workers=2)
    check_records(manifest, source)
    assert manifest.splits["train"].seconds == pytest.approx(29.124, abs=0.001)


def test_the_hash_depends_on_labels_splits_files_and_rate(music_folder: Path):
    table = music_folder / "tags.csv"
    text = table.read_text()
    seen = [data_hash(FolderSource(music_folder), RATE)]
    assert data_hash(FolderSource(music_folder), RATE) == seen[0]
    seen.append(data_hash(FolderSource(music_folder), 16_000))
    for old, new in (("a1.wav,1", "a1.wav,0"), ("g1.wav,0,1,test,g", "g1.wav,0,1,valid,g"), ("loud", "noisy")):
        table.write_text(text.replace(old, new, 1))
        seen.append(data_hash(FolderSource(music_folder), RATE))
    table.write_text(text)
    assert data_hash(FolderSource(music_folder), RATE) == seen[0]
    os.utime(music_folder / "a1.wav", ns=(1, 1))
    seen.append(data_hash(FolderSource(music_folder), RATE))
    assert len(set(seen)) == len(seen)


def test_unusable_files_are_listed_and_the_others_prepared(music_folder: Path, tmp_path: Path):
    soundfile.write(music_folder / "short.wav", np.full(600, 0.5), RATE)
    soundfile.write(music_folder / "silent.wav", np.zeros(6000), RATE)
    soundfile.write(music_folder / "nan.wav", np.full(6000, np.nan), RATE, subtype="FLOAT")
    (music_folder / "text.mp3").write_text("no music")
    (music_folder / "empty.ogg").write_bytes(b"")
    (music_folder / "cut.flac").write_bytes((music_folder / "a2.flac").read_bytes()[:5000])
    names = ("short.wav", "silent.wav", "nan.wav", "text.mp3", "empty.ogg", "cut.flac", "absent.mp3")
    with (music_folder / "tags.csv").open("a") as table:
        table.writelines(f"{name},1,0,train,{name}\n" for name in names)
    source = FolderSource(music_folder)
    manifest = prepare(source, RATE, tmp_path / "out", workers=2)
    assert (manifest.rejected, manifest.splits["train"].clips) == (7, 6)
    check_records(manifest, source)
    rejected = pd.read_csv(tmp_path / "out/rejected.csv").set_index("id")
    assert rejected.loc["text.mp3", "path"] == str(music_folder / "text.mp3")
    absent = os.strerror(errno.ENOENT).lower()
    facts = ("0.050 s", "silence", "NaN", "no audio", "0 bytes", "lost sync", absent)
    for name, fact in zip(names, facts, strict=True):
        check_facts(rejected.loc[name, "reason"], fact)


KILLED_RUN = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
from genre_tagger.dataset import shards
from genre_tagger.dataset.prepare import prepare
from genre_tagger.progress import shown_by
from genre_tagger.sources.folder import FolderSource

shards.CLIPS_PER_SHARD = 2


def slow(done, total):
    print(done, flush=True)
    time.sleep(0 if done < 5 else 60)


with shown_by(lambda title, in_bytes: nullcontext(slow)):
    prepare(FolderSource(Path(sys.argv[1])), 12_000, Path(sys.argv[2]), workers=2)
"""


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc to find the decoding processes")
def test_a_killed_run_is_resumed_and_ends_like_an_uninterrupted_one(music_folder: Path, tmp_path: Path, monkeypatch):
    out = tmp_path / "out"
    (tmp_path / "run.py").write_text(KILLED_RUN)
    command = [sys.executable, str(tmp_path / "run.py"), str(music_folder), str(out)]
    monkeypatch.setattr(shards, "CLIPS_PER_SHARD", 2)
    source = FolderSource(music_folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        prepare(source, RATE, tmp_path / "uninterrupted", workers=1)  # while the other process imports TensorFlow
        for line in process.stdout:
            if line == "5\n":  # two shards of two clips, and half of the third
                break
        workers = children_of(process.pid)
        assert not [pid for pid in workers if "tensorflow" in Path(f"/proc/{pid}/maps").read_text()]
        process.send_signal(signal.SIGKILL)
    assert workers
    assert not (out / "manifest.json").exists()
    assert list(out.glob(".*.tmp"))
    finished = sorted(path.stem for path in out.glob("*-of-*.json"))
    assert finished == ["train-00000-of-00003", "train-00001-of-00003"]
    times = {name: (out / f"{name}.tfrecord").stat().st_mtime_ns for name in finished}

    steps = []
    with progress_to(lambda *step: steps.append(step)):
        prepare(source, RATE, out, workers=2)
    assert steps == [(done, 12) for done in range(4, 13)]
    assert {name: (out / f"{name}.tfrecord").stat().st_mtime_ns for name in finished} == times
    assert contents(out) == contents(tmp_path / "uninterrupted")
    assert_gone(workers)


def assert_gone(workers: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, "decoding processes outlive their killed parent"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_an_interrupted_call_leaves_nothing_hidden(music_folder: Path, tmp_path: Path):
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress_to(interrupt):
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1)
    assert list(contents(tmp_path / "out")) == ["hash.txt"]


def test_a_directory_that_another_process_prepares_is_not_changed(music_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out / ".pcm-alive").mkdir(parents=True)
    source = FolderSource(music_folder)
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with expect_error(f"{out}: ", "process"):
            prepare(source, RATE, out, workers=1)
        assert [path.name for path in sorted(out.iterdir())] == [".lock", ".pcm-alive"]
    manifest = prepare(source, RATE, out, workers=1)
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert prepare(source, RATE, out, workers=1) == manifest  # only reads


def test_other_data_in_the_directory_is_refused_and_kept(music_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    prepare(FolderSource(music_folder), RATE, out, workers=1)
    before = contents(out)
    hashes = [data_hash(FolderSource(music_folder), rate)[:8] for rate in (RATE, 16_000)]
    with expect_error(f"{out}: ", *hashes):
        prepare(FolderSource(music_folder), 16_000, out, workers=1)
    assert contents(out) == before


def test_a_split_without_usable_clips_is_refused(music_folder: Path, tmp_path: Path):
    for name in ("d1.flac", "d2.wav", "e1.ogg"):
        (music_folder / name).unlink()
    absent = os.strerror(errno.ENOENT).lower()
    with expect_error(f"{tmp_path / 'out'}: ", "valid", "3 rejected", absent, tmp_path / "out/rejected.csv") as caught:
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1)
    rejected = pd.read_csv(tmp_path / "out/rejected.csv")
    check_facts(caught.value, rejected["path"][0])  # the message names the first one
    assert (rejected["reason"] == absent).all()
    assert not (tmp_path / "out/manifest.json").exists()


def test_no_usable_clip_at_all_is_refused(music_folder: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with expect_error(f"{tmp_path / 'out'}: ", "train, valid, test", "12 rejected"):
        prepare(FolderSource(empty, music_folder / "tags.csv"), RATE, tmp_path / "out", workers=1)


@pytest.fixture
def small_disk(tmp_path: Path):
    """Mount a file system of 160 kB, which has space for some shards of the music folder, but not for all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_finished_shards_and_the_same_call_resumes(music_folder: Path, small_disk: Path, monkeypatch):
    monkeypatch.setattr(shards, "CLIPS_PER_SHARD", 1)
    source = FolderSource(music_folder)
    with expect_error(f"{small_disk}: ", "space", "resume"):
        prepare(source, RATE, small_disk, workers=1)
    finished = len(list(small_disk.glob("*-of-*.json")))
    assert finished > 0
    assert not [name for name in contents(small_disk) if name.startswith(".")]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    steps = []
    with progress_to(lambda *step: steps.append(step)):
        manifest = prepare(source, RATE, small_disk, workers=1)
    assert steps[0] == (finished, 12)
    check_records(manifest, source)


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "x.tfrecord; No space left on device"),
        tf.errors.UnknownError(None, None, "write failed: No space left on device"),
    ],
)
def test_each_error_of_a_full_disk_is_recognised(music_folder: Path, tmp_path: Path, monkeypatch, failure: Exception):
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(tf.io.TFRecordWriter, "write", fail)
    with expect_error(f"{tmp_path / 'out'}: ", "space", "resume"):
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1)


def test_a_directory_that_cannot_be_created_is_one_line(music_folder: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    source = FolderSource(music_folder)
    for directory, number in ((tmp_path / "file", errno.EEXIST), (tmp_path / "file/below", errno.ENOTDIR)):
        with expect_error(f"{directory}: ", os.strerror(number)):
            prepare(source, RATE, directory, workers=1)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "locked"))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with expect_error(f"{tmp_path / 'locked'}: ", "Permission denied"):
        prepare(source, RATE, tmp_path / "locked", workers=1)


def test_a_killed_decoding_process_is_reported(music_folder: Path, tmp_path: Path):
    def kill_workers(done: int, total: int) -> None:
        if done == 1:
            for child in children_of(os.getpid()):
                if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.5)

    with expect_error("worker process"), progress_to(kill_workers):
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1)


def test_a_missing_or_broken_manifest_is_one_line(music_folder: Path, tmp_path: Path):
    with expect_error(f"{tmp_path / 'manifest.json'}: ", "genre-tagger prepare"):
        read_manifest(tmp_path)
    out = tmp_path / "out"
    prepare(FolderSource(music_folder), RATE, out, workers=1)
    text = (out / "manifest.json").read_text()
    newer = text.replace('"format_version": 1', '"format_version": 99')
    for broken, facts in ((text[:100], ["line"]), ("[1]", ["list"]), (newer, ["99", "1"]), ("{}", ["format_version"])):
        (out / "manifest.json").write_text(broken)
        with expect_error(f"{out / 'manifest.json'}: ", *facts) as caught:
            read_manifest(out)
        assert "\n" not in str(caught.value)
    (out / "manifest.json").write_text(text)
    (out / "valid-00000-of-00001.tfrecord").unlink()
    with expect_error(f"{out / 'manifest.json'}: ", "valid-00000-of-00001.tfrecord"):
        read_manifest(out)
