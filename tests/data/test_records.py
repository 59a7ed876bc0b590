"""Preparing: records equal decoding, a killed run goes on, and every failure is said in one line."""

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

from genre_tagger.data import shards
from genre_tagger.data.clips import SPLITS, read_tags
from genre_tagger.data.decode import decode, to_pcm16
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.manifest import Manifest, read_manifest
from genre_tagger.data.records import data_hash, prepare
from genre_tagger.errors import UserError

RATE = 12_000


def read_records(paths: list[Path]) -> list[dict]:
    """The records of TFRecord files, parsed by tf.data as training does."""
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in ("id", "pcm", "labels")}
    features["index"] = tf.io.FixedLenFeature([], tf.int64)
    names = [str(path) for path in paths]
    return list(tf.data.TFRecordDataset(names).map(lambda x: tf.io.parse_example(x, features)).as_numpy_iterator())


def contents(directory: Path) -> dict[str, bytes]:
    """All files of a directory, hidden ones too, but for the lock."""
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
    progress = []
    manifest = prepare(source, RATE, tmp_path / "out", workers=2, on_progress=lambda *step: progress.append(step))
    assert progress == [(done, 12) for done in range(13)]
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


def test_a_second_call_decodes_nothing_and_a_moved_directory_still_reads(
    music_folder: Path, tmp_path: Path, monkeypatch
):
    source = FolderSource(music_folder)
    first = prepare(source, RATE, tmp_path / "out", workers=1)
    monkeypatch.setattr("genre_tagger.data.records.decode_many", None)
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


def test_hash_follows_labels_splits_files_and_rate(music_folder: Path):
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


def test_unusable_files_are_listed_and_the_rest_goes_on(music_folder: Path, tmp_path: Path):
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
    words = ("0.050 s", "silence", "NaN", "no audio found", "empty", "lost sync", "no such file")
    for name, word in zip(names, words, strict=True):
        assert word in rejected.loc[name, "reason"]


KILLED_RUN = """
import sys, time
from pathlib import Path
from genre_tagger.data import shards
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.records import prepare

shards.CLIPS_PER_SHARD = 2


def slow(done, total):
    print(done, flush=True)
    time.sleep(0.1 if done < 5 else 60)


prepare(FolderSource(Path(sys.argv[1])), 12_000, Path(sys.argv[2]), workers=2, on_progress=slow)
"""


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc to find the decoding processes")
def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(music_folder: Path, tmp_path: Path, monkeypatch):
    out = tmp_path / "out"
    (tmp_path / "run.py").write_text(KILLED_RUN)
    command = [sys.executable, str(tmp_path / "run.py"), str(music_folder), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
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

    monkeypatch.setattr(shards, "CLIPS_PER_SHARD", 2)
    progress = []
    source = FolderSource(music_folder)
    prepare(source, RATE, out, workers=2, on_progress=lambda *step: progress.append(step))
    assert progress == [(done, 12) for done in range(4, 13)]
    assert {name: (out / f"{name}.tfrecord").stat().st_mtime_ns for name in finished} == times
    prepare(source, RATE, tmp_path / "unbroken", workers=1)
    assert contents(out) == contents(tmp_path / "unbroken")
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

    with pytest.raises(KeyboardInterrupt):
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1, on_progress=interrupt)
    assert list(contents(tmp_path / "out")) == ["hash.txt"]


def test_a_directory_that_another_process_prepares_is_left_alone(music_folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    (out / ".pcm-alive").mkdir(parents=True)
    source = FolderSource(music_folder)
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"out: another process is working here; wait for it to end, then run"):
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
    with pytest.raises(UserError, match=r"out: holds other data .*choose another directory"):
        prepare(FolderSource(music_folder), 16_000, out, workers=1)
    assert contents(out) == before


def test_a_split_without_usable_clips_is_refused(music_folder: Path, tmp_path: Path):
    for name in ("d1.flac", "d2.wav", "e1.ogg"):
        (music_folder / name).unlink()
    with pytest.raises(UserError, match=r"in valid, 3 rejected, the first .*/(d|e)\d.*: no such file .*rejected.csv\)"):
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1)
    assert pd.read_csv(tmp_path / "out/rejected.csv")["reason"].str.startswith("no such file").all()
    assert not (tmp_path / "out/manifest.json").exists()


def test_no_usable_clip_at_all_is_refused(music_folder: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="no usable clip in train, valid, test, 12 rejected"):
        prepare(FolderSource(empty, music_folder / "tags.csv"), RATE, tmp_path / "out", workers=1)


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 160 kB: room for some shards of the music folder, not for all."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_finished_shards_and_the_same_call_continues(
    music_folder: Path, small_disk: Path, monkeypatch
):
    monkeypatch.setattr(shards, "CLIPS_PER_SHARD", 1)
    source = FolderSource(music_folder)
    with pytest.raises(UserError, match=r"disk: no space left .* the same command continues"):
        prepare(source, RATE, small_disk, workers=1)
    finished = len(list(small_disk.glob("*-of-*.json")))
    assert finished > 0
    assert not [name for name in contents(small_disk) if name.startswith(".")]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    progress = []
    manifest = prepare(source, RATE, small_disk, workers=1, on_progress=lambda *step: progress.append(step))
    assert progress[0] == (finished, 12)
    check_records(manifest, source)


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "x.tfrecord; No space left on device"),
        tf.errors.UnknownError(None, None, "write failed: No space left on device"),
    ],
)
def test_a_full_disk_is_known_by_each_of_its_errors(
    music_folder: Path, tmp_path: Path, monkeypatch, failure: Exception
):
    def full(*_: object) -> None:
        raise failure

    monkeypatch.setattr(shards, "_example", full)
    with pytest.raises(UserError, match="no space left on its disk; finished parts are kept"):
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1)


def test_a_directory_that_cannot_be_made_is_a_users_error(music_folder: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    source = FolderSource(music_folder)
    for directory in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UserError, match=rf"{directory}: cannot be written \((File exists|Not a directory)"):
            prepare(source, RATE, directory, workers=1)

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "locked"))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(UserError, match=r"locked: cannot be written \(Permission denied"):
        prepare(source, RATE, tmp_path / "locked", workers=1)


def test_a_dead_decoding_process_is_said(music_folder: Path, tmp_path: Path):
    def kill_workers(done: int, total: int) -> None:
        if done == 1:
            for child in children_of(os.getpid()):
                if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.5)

    with pytest.raises(UserError, match="a worker process was killed"):
        prepare(FolderSource(music_folder), RATE, tmp_path / "out", workers=1, on_progress=kill_workers)


def test_a_missing_or_broken_manifest_is_a_users_error(music_folder: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"manifest.json: no such file; expected a directory made by"):
        read_manifest(tmp_path)
    out = tmp_path / "out"
    prepare(FolderSource(music_folder), RATE, out, workers=1)
    text = (out / "manifest.json").read_text()
    for broken in (text[:100], "[1]", text.replace('"format_version": 1', '"format_version": 99'), "{}"):
        (out / "manifest.json").write_text(broken)
        with pytest.raises(UserError, match=r"manifest.json: (broken|format version 99, expected 1)") as caught:
            read_manifest(out)
        assert "\n" not in str(caught.value)
    (out / "manifest.json").write_text(text)
    (out / "valid-00000-of-00001.tfrecord").unlink()
    with pytest.raises(UserError, match=r"lists valid-00000-of-00001.tfrecord, which is missing"):
        read_manifest(out)
