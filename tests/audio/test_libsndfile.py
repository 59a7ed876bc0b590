"""Decode files with foreign bytes after or inside their music, and compare with the same files without these bytes."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facts import expect_error

from genre_tagger.audio.decode import Undecodable, decode, decode_blocks

RATE = 16_000


@pytest.fixture
def bare_mp3(tmp_path: Path) -> bytes:
    """Return 3 s of noise in frames of equal size. The header frame with their number is missing, as in many files."""
    path, samples = tmp_path / "noise.mp3", np.random.default_rng(4).uniform(-0.5, 0.5, 3 * RATE)
    soundfile.write(path, samples, RATE, bitrate_mode="CONSTANT", compression_level=0.5)
    content = path.read_bytes()
    return content[content.index(content[:2], 4) :]


AFTER_MUSIC = {
    "zeros": bytes(40_000),
    "html": b"<html>" + b"<p>404: not found</p>" * 500,
    "lyrics": b"LYRICSBEGIN" + b"la la la " * 800 + b"007211LYRICS200" + b"TAG" + bytes(125),
    "ape": b"comment\0" + b"some words and no frame " * 250 + b"APETAGEX" + struct.pack("<4I8x", 2000, 6040, 1, 0),
}


@pytest.mark.parametrize("kind", AFTER_MUSIC)
def test_bytes_after_the_last_frame_of_an_mp3_are_ignored(tmp_path: Path, bare_mp3: bytes, kind: str):
    (tmp_path / "bare.mp3").write_bytes(bare_mp3)
    (tmp_path / "tailed.mp3").write_bytes(bare_mp3 + AFTER_MUSIC[kind])
    expected, _ = soundfile.read(tmp_path / "bare.mp3", dtype="float32")
    assert len(expected) > 3 * RATE
    np.testing.assert_array_equal(decode(tmp_path / "tailed.mp3", RATE), expected)
    np.testing.assert_array_equal(np.concatenate([*decode_blocks(tmp_path / "tailed.mp3", RATE)]), expected)


def test_a_tag_after_the_last_sample_of_a_flac_is_ignored(tmp_path: Path):
    soundfile.write(tmp_path / "a.flac", np.sin(np.arange(RATE)), RATE)
    expected = decode(tmp_path / "a.flac", RATE)
    with (tmp_path / "a.flac").open("ab") as file:
        file.write(b"TAG" + bytes(125))
    np.testing.assert_array_equal(decode(tmp_path / "a.flac", RATE), expected)


def test_decoding_continues_after_a_hole_in_an_mp3(tmp_path: Path, bare_mp3: bytes):
    third = len(bare_mp3) // 3
    (tmp_path / "bare.mp3").write_bytes(bare_mp3)
    (tmp_path / "holed.mp3").write_bytes(bare_mp3[:third] + bytes(third) + bare_mp3[2 * third :])
    expected, waveform = decode(tmp_path / "bare.mp3", RATE), decode(tmp_path / "holed.mp3", RATE)
    samples = len(expected) // 3
    assert len(waveform) == pytest.approx(2 * samples, abs=4 * 576)  # a frame has 576 samples
    np.testing.assert_array_equal(waveform[: samples - 2 * 576], expected[: samples - 2 * 576])
    np.testing.assert_allclose(waveform[4 * 576 - samples :], expected[4 * 576 - samples :], atol=1e-6)


def test_a_failing_disk_is_not_the_end_of_an_mp3(tmp_path: Path, bare_mp3: bytes, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "bare.mp3").write_bytes(bare_mp3)
    read = soundfile.SoundFile.read

    def fail_later(file, *arguments, **options):
        if file.tell():
            raise soundfile.LibsndfileError(2)  # "system error"
        return read(file, *arguments, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", fail_later)
    with expect_error("opened or read", kind=Undecodable):
        decode(tmp_path / "bare.mp3", RATE)


def test_an_mp3_of_a_single_frame_is_refused(tmp_path: Path, bare_mp3: bytes):
    (tmp_path / "hollow.mp3").write_bytes(bare_mp3[:150] + bytes(50_000))
    with pytest.raises(Undecodable):
        decode(tmp_path / "hollow.mp3", RATE)
