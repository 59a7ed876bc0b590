"""Compare AAC and M4A files decoded by ffmpeg with the original, and test decoding without ffmpeg."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile
from facts import expect_error

from genre_tagger.audio.decode import Undecodable, decode, sample_rate_of

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture
def songs(tmp_path):
    """Return a stereo WAV of two rising tones at 44.1 kHz, and files with unusual names and the same music as AAC."""
    times = np.arange(2 * 44_100) / 44_100
    phases = np.outer(times, [300, 700]) + np.outer(times**2, [400, 500])
    soundfile.write(tmp_path / "a.wav", 0.4 * np.sin(2 * np.pi * phases), 44_100)
    files = [tmp_path / f"-it's odd: é\n{number}{suffix}" for number, suffix in enumerate((".M4A", ".mp4", ".aac"))]
    for file in files:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-i", tmp_path / "a.wav", "-b:a", "256k", f"file:{file}"]
        subprocess.run(command, check=True)
    return tmp_path / "a.wav", files


@needs_ffmpeg
def test_aac_is_decoded_at_its_rate_and_mixed_to_mono(songs):
    original, files = songs
    expected = decode(original, 44_100)
    for file in files:
        assert sample_rate_of(file) == 44_100
        waveform = decode(file, 44_100)
        delay = int(np.argmax(np.correlate(waveform[:12_000], expected[8000:10_000], "valid"))) - 8000
        assert 0 <= delay < 2200  # the encoder's delay, which raw AAC does not record
        middle = slice(10_000, 70_000)
        np.testing.assert_allclose(waveform[delay:][middle], expected[middle], atol=0.02)


@needs_ffmpeg
def test_files_without_audio_are_refused(songs, tmp_path):
    (tmp_path / "text.m4a").write_text("this is not music\n" * 50)
    (tmp_path / "cut.mp4").write_bytes(songs[1][1].read_bytes()[:3000])
    (tmp_path / "list.aac").write_text(f"#EXTM3U\n#EXTINF:1,\n{songs[0]}\n")
    for name in ("text.m4a", "cut.mp4", "list.aac"):
        with expect_error("no audio", "ffmpeg: ", kind=Undecodable) as caught:
            decode(tmp_path / name, 16_000)
        assert "\n" not in str(caught.value)


@needs_ffmpeg
def test_truncated_aac_is_decoded_up_to_its_end(songs, tmp_path):
    content = songs[1][2].read_bytes()
    (tmp_path / "cut.aac").write_bytes(content[: len(content) // 2])
    assert 0.8 < decode(tmp_path / "cut.aac", 16_000).size / 16_000 < 1.2


def test_without_ffmpeg_the_reason_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(b"x")  # this is not audio, but only ffmpeg could detect that
    with expect_error(".m4a", "ffmpeg", kind=Undecodable):
        decode(tmp_path / "a.m4a", 16_000)
