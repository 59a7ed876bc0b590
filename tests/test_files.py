"""What a disk refuses, in one line; digests."""

import errno
import os
from collections import namedtuple
from pathlib import Path

import pytest

from genre_tagger import files
from genre_tagger.errors import UserError
from genre_tagger.files import HASHED_BYTES, Need, check_space, locked_file, sha256_of, storage_errors


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"", "e3b0c442 98fc1c14 9afbf4c8 996fb924 27ae41e4 649b934c a495991b 7852b855"),
        (b"abc", "ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad"),
        (b"a" * 1_000_000, "cdc76e5c 9914fb92 81a1c7e2 84d73e67 f1809a48 a497200e 046d39cc c7112cd0"),
    ],
    ids=["empty", "one block", "several blocks"],
)
def test_digests_are_those_that_nist_publishes(tmp_path, content, digest):
    """The examples of FIPS 180-2, appendix B, and NIST's answer for an empty message."""
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == digest.replace(" ", "")
    assert 3 * HASHED_BYTES < 1_000_000


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left on its disk"),
        (errno.EFBIG, "cannot be written .File too large."),
        (errno.EROFS, "cannot be written .Read-only file system."),
    ],
)
def test_failures_of_the_disk_are_one_line(tmp_path, number, message):
    with pytest.raises(UserError, match=message), storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))


def test_tensorflows_words_for_a_large_file_are_known(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), storage_errors(tmp_path):
        raise RuntimeError("x.tfrecord; File too large")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_a_place_where_nothing_can_be_made_is_one_line():
    place = Path("/proc/nowhere")
    with pytest.raises(UserError, match="/proc/nowhere: cannot be written"), storage_errors(place):
        place.mkdir(parents=True)


def test_a_lock_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match="nowhere: cannot be written"), locked_file(tmp_path / "nowhere" / "t.csv"):
        pass


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path):
        (tmp_path / "missing.csv").read_text()


@pytest.fixture
def free(monkeypatch) -> dict[str, int]:
    """Bytes that are free where a path begins so."""
    free = {}
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(
        files.shutil,
        "disk_usage",
        lambda path: usage(next(free[start] for start in free if str(path).startswith(start))),
    )
    return free


def test_what_lies_on_one_disk_is_added_up(tmp_path, free):
    needs = [Need(tmp_path / "a", 3_000_000, "to download into"), Need(tmp_path / "b/c", 2_000_000, "to prepare into")]
    free[str(tmp_path)] = 4_999_999
    lines = []
    both = f"3.00 MB to download into {tmp_path}/a and 2.00 MB to prepare into {tmp_path}/b/c"
    with pytest.raises(UserError, match=rf"a: found 5.00 MB free on its disk, expected {both}"):
        check_space(needs, lines.append)
    free[str(tmp_path)] = 5_000_000
    check_space(needs, lines.append)
    assert lines == [f"{both}: 5.00 MB free on that disk"] * 2


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_each_of_two_disks_needs_its_own(tmp_path, free):
    needs = [Need(tmp_path, 3_000_000, "to download into"), Need(Path("/proc/made"), 2_000_000, "to prepare into")]
    free |= {str(tmp_path): 3_000_000, "/proc": 2_000_000}
    lines = []
    check_space(needs, lines.append)
    assert [line.split(" into")[0] for line in lines] == ["3.00 MB to download", "2.00 MB to prepare"]
    free["/proc"] = 1_990_000
    with pytest.raises(UserError, match=r"/proc/made: found 1.99 MB free on its disk, expected 2.00 MB to prepare"):
        check_space(needs, lines.append)
