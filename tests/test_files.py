"""Errors of disks when writing, locks between processes, free space, and digests."""

import errno
import fcntl
import logging
import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from facts import check_facts, expect_error

from genre_tagger import files
from genre_tagger.files import (
    HASHED_BYTES,
    LOCK_NAME,
    DiskNeed,
    check_space,
    locked,
    locked_file,
    remove_leftovers,
    replacing,
    sha256_of,
    storage_errors,
    working_in,
    write_text,
)


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"", "e3b0c442 98fc1c14 9afbf4c8 996fb924 27ae41e4 649b934c a495991b 7852b855"),
        (b"abc", "ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c 9914fb92 81a1c7e2 84d73e67 f1809a48 a497200e 046d39cc c7112cd0"),
    ],
    ids=["empty", "one block", "several blocks"],
)
def test_digests_equal_those_published_by_nist(tmp_path, content, digest):
    """The examples of FIPS 180-2, appendix B, and NIST's digest of an empty message."""
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == digest.replace(" ", "")
    assert 3 * HASHED_BYTES < 1_000_000


@pytest.mark.parametrize("number", [errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG])
def test_an_unwritable_disk_is_one_line(tmp_path, number):
    with expect_error(f"{tmp_path}: ", os.strerror(number)) as caught, storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line(tmp_path, number):
    with expect_error(f"{tmp_path}: ", "space", "resume") as caught, storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert "\n" not in str(caught.value)


def test_the_message_of_tensorflow_for_a_large_file_is_known(tmp_path):
    with expect_error(f"{tmp_path}: ", "x.tfrecord; File too large"), storage_errors(tmp_path):
        raise RuntimeError("x.tfrecord; File too large")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_a_place_where_nothing_can_be_created_is_one_line():
    place = Path("/proc/nowhere")
    with expect_error("/proc/nowhere: ", os.strerror(errno.ENOENT)), storage_errors(place):
        place.mkdir(parents=True)


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path):
        (tmp_path / "missing.csv").read_text()


def test_an_unfinished_file_never_takes_the_place_of_a_finished_one(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("half")
        assert (tmp_path / "a.txt").read_text() == "old"
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    write_text(tmp_path / "a.txt", "né")
    assert (tmp_path / "a.txt").read_bytes() == "né".encode()


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    for name in (".a.csv.tmp", "a.csv", "b.tmp", ".hidden"):
        (tmp_path / name).touch()
    for name in (".pcm-1", ".other-1"):
        (tmp_path / name).mkdir()
    (tmp_path / ".pcm-1/0").touch()
    remove_leftovers(tmp_path, ".pcm-")
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b.tmp", ".hidden", ".other-1"}


HOLDER = """
import sys
from pathlib import Path
from genre_tagger import files

with getattr(files, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator:
    """Yield a function that starts a process and returns when the process holds a lock."""
    processes = []

    def start(function: str, path: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLDER, function, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_another_process_is_kept_out_until_the_lock_ends(tmp_path, hold):
    place = tmp_path / "new" / "run"
    holder = hold("working_in", place)
    for keep_out in (locked, working_in):
        with expect_error(f"{place}: ", "process"), keep_out(place):
            pytest.fail("the lock is held by two processes")
    holder.communicate()  # closes its input, which ends the process
    with working_in(place):
        pass
    assert [path.name for path in place.iterdir()] == [LOCK_NAME]


def test_the_lock_of_a_killed_process_is_free(tmp_path, hold):
    holder = hold("locked", tmp_path)
    with expect_error(f"{tmp_path}: "), locked(tmp_path):
        pytest.fail("the lock is held by two processes")
    holder.kill()
    holder.wait()
    with locked(tmp_path):
        pass


def test_an_error_inside_ends_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path), expect_error(f"{tmp_path}: ", "process"), locked(tmp_path):
        pytest.fail("the lock is held twice")


def test_the_lock_of_a_file_is_a_hidden_file_of_its_own(tmp_path, hold):
    table = tmp_path / "t.csv"
    table.write_text("kept")
    hold("locked_file", table)
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", f".t.csv{LOCK_NAME}"}
    with expect_error(f"{table}: ", "process"), locked_file(table):
        pytest.fail("the lock is held by two processes")
    with locked_file(tmp_path / "u.csv"), locked(tmp_path):  # neither another file nor the directory is locked
        write_text(table, "replaced")
    with expect_error(f"{table}: ", "process"), locked_file(table):
        pytest.fail("replacing the file has ended its lock")
    assert table.read_text() == "replaced"


def test_a_lock_in_a_missing_directory_is_one_line_and_creates_nothing(tmp_path):
    with (
        expect_error(f"{tmp_path / 'nowhere'}: ", os.strerror(errno.ENOENT)),
        locked_file(tmp_path / "nowhere" / "t.csv"),
    ):
        pytest.fail("there is no place for the lock")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog, number):
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        write_text(tmp_path / "a.txt", "written")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    check_facts(record.getMessage(), f"{tmp_path}: ", "lock")


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_a_lock_that_the_disk_refuses_is_one_line(tmp_path, monkeypatch, number):
    def refuse(path: str, *_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    with expect_error(f"{tmp_path}: ") as caught, locked(tmp_path):
        pytest.fail("the lock file cannot be written")
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == number


@pytest.fixture
def mounted(tmp_path) -> Iterator:
    """Yield a function that mounts a disk in memory with the given options."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small disk can only be mounted by root")
        return disk

    yield mount
    while disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


def test_a_real_full_or_read_only_disk_is_one_line(mounted):
    disk = mounted("size=64k,nr_inodes=2")
    (disk / "last").touch()
    for keep_out in (locked, working_in):
        with expect_error(f"{disk}: ", "space", "resume"), keep_out(disk):
            pytest.fail("the disk is full")
    mounted("size=64k,ro")
    read_only = os.strerror(errno.EROFS)
    for keep_out in (locked, working_in):
        with expect_error(f"{disk}: ", read_only), keep_out(disk):
            pytest.fail("the disk is read-only")
    with expect_error(f"{disk / 'run'}: ", read_only), working_in(disk / "run"):
        pytest.fail("the disk is read-only")
    with expect_error(f"{disk}: ", read_only), locked_file(disk / "t.csv"):
        pytest.fail("the disk is read-only")


@pytest.fixture
def free(monkeypatch) -> dict[str, int]:
    """Return a dictionary of free bytes by the start of a path. Tests fill it."""
    free = {}
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(
        files.shutil,
        "disk_usage",
        lambda path: usage(next(free[start] for start in free if str(path).startswith(start))),
    )
    return free


def test_needs_on_the_same_disk_are_added_up(tmp_path, free, caplog):
    caplog.set_level(logging.INFO)
    needs = [
        DiskNeed(tmp_path / "a", 3_000_000, "to download into"),
        DiskNeed(tmp_path / "b/c", 2_000_000, "to prepare into"),
    ]
    both = [f"3.00 MB to download into {tmp_path}/a", f"2.00 MB to prepare into {tmp_path}/b/c"]
    free[str(tmp_path)] = 4_999_999
    with expect_error(f"{tmp_path / 'a'}: ", "5.00 MB", *both):
        check_space(needs)
    free[str(tmp_path)] = 5_000_000
    check_space(needs)
    assert len(caplog.messages) == 2
    for line in caplog.messages:
        check_facts(line, "5.00 MB", *both)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_needs_on_two_disks_are_checked_separately(tmp_path, free, caplog):
    caplog.set_level(logging.INFO)
    needs = [
        DiskNeed(tmp_path, 3_000_000, "to download into"),
        DiskNeed(Path("/proc/made"), 2_000_000_000, "to prepare into"),
    ]
    free |= {str(tmp_path): 3_000_000, "/proc": 2_000_000_000}
    check_space(needs)
    first, second = caplog.messages
    check_facts(first, f"3.00 MB to download into {tmp_path}")
    check_facts(second, "2.00 GB to prepare into /proc/made")
    free["/proc"] = 1_990_000_000
    with expect_error("/proc/made: ", "1.99 GB", "2.00 GB to prepare into"):
        check_space(needs)
