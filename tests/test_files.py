"""What a disk refuses, in one line."""

import errno
import os
from pathlib import Path

import pytest

from genre_tagger.errors import UserError
from genre_tagger.files import storage_errors


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


def test_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path):
        (tmp_path / "missing.csv").read_text()
