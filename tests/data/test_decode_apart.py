"""Decoding in a process of its own, whose death is a reason like any other."""

import errno
import multiprocessing
import os
import signal

import numpy as np
import pytest
import soundfile

from genre_tagger.data.decode import BLOCK_FRAMES, Undecodable
from genre_tagger.data.decode_apart import decode_blocks_apart

RATE = 8000


@pytest.fixture
def song(tmp_path):
    """(file, its samples): three blocks, more than a pipe holds."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * BLOCK_FRAMES).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    return tmp_path / "a.wav", samples


def test_blocks_arrive_as_they_are(song):
    file, samples = song
    blocks = list(decode_blocks_apart(file, RATE))
    assert len(blocks) == 3
    np.testing.assert_array_equal(np.concatenate(blocks), samples)
    assert not multiprocessing.active_children()


def test_a_reason_is_that_of_the_decoder(song):
    song[0].write_text("la la la")
    with pytest.raises(Undecodable, match=r"^cannot be decoded: Format not recognised$"):
        list(decode_blocks_apart(song[0], RATE))


def test_a_process_that_cannot_be_started_is_a_reason(song, monkeypatch):
    def start(process):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.get_context("forkserver").Process, "start", start)
    with pytest.raises(Undecodable, match=r"^its decoder cannot be started \(.*temporarily unavailable\)$"):
        list(decode_blocks_apart(song[0], RATE))


@pytest.mark.parametrize(("number", "words"), [(signal.SIGSEGV, "segmentation fault"), (signal.SIGKILL, "killed")])
def test_a_crash_is_a_reason_and_the_next_file_is_decoded(song, number, words):
    file, samples = song
    blocks = decode_blocks_apart(file, RATE)
    next(blocks)
    os.kill(multiprocessing.active_children()[0].pid, number)
    with pytest.raises(Undecodable, match=rf"^its decoder crashed \({words}\)$"):
        list(blocks)
    assert sum(map(len, decode_blocks_apart(file, RATE))) == len(samples)


def test_nobody_decodes_for_a_reader_that_went_away(song):
    blocks = decode_blocks_apart(song[0], RATE)
    next(blocks)
    blocks.close()
    assert not multiprocessing.active_children()
