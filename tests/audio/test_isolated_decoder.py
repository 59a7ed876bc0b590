"""Decode in a separate process, and report its crash like any other reason to refuse a file."""

import errno
import multiprocessing
import os
import signal

import numpy as np
import pytest
import soundfile
from facts import expect_error

from genre_tagger.audio.decode import BLOCK_FRAMES, Undecodable, decode_blocks
from genre_tagger.audio.isolated_decoder import decode_blocks_apart

RATE = 8000


@pytest.fixture
def song(tmp_path):
    """Return (file, its samples). Decoding gives three blocks, each larger than the buffer of a pipe."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * BLOCK_FRAMES).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    return tmp_path / "a.wav", samples


def test_blocks_arrive_unchanged(song):
    file, samples = song
    blocks = list(decode_blocks_apart(file, RATE))
    assert len(blocks) == 3
    np.testing.assert_array_equal(np.concatenate(blocks), samples)
    assert not multiprocessing.active_children()


def test_the_reason_is_that_of_the_decoder(song):
    song[0].write_text("la la la")
    with pytest.raises(Undecodable) as expected:
        list(decode_blocks(song[0], RATE))
    with pytest.raises(Undecodable) as caught:
        list(decode_blocks_apart(song[0], RATE))
    assert str(caught.value) == str(expected.value) != ""


def test_a_process_that_cannot_be_started_is_a_reason(song, monkeypatch):
    def start(process):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.get_context("forkserver").Process, "start", start)
    with expect_error("Resource temporarily unavailable", kind=Undecodable):
        list(decode_blocks_apart(song[0], RATE))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_crash_is_a_reason_and_the_next_file_is_decoded(song, number):
    file, samples = song
    blocks = decode_blocks_apart(file, RATE)
    next(blocks)
    os.kill(multiprocessing.active_children()[0].pid, number)
    with expect_error("decoder", signal.strsignal(number).lower(), kind=Undecodable):
        list(blocks)
    assert sum(map(len, decode_blocks_apart(file, RATE))) == len(samples)


def test_closing_the_generator_ends_the_process(song):
    blocks = decode_blocks_apart(song[0], RATE)
    next(blocks)
    blocks.close()
    assert not multiprocessing.active_children()
