"""AAC and M4A through ffmpeg, against what went in; and without ffmpeg."""

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from genre_tagger.data.decode import Undecodable, decode, sample_rate_of

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here")


@pytest.fixture
def songs(tmp_path):
    """A stereo WAV of two rising tones at 44.1 kHz, and files of an odd name that hold the same as AAC."""
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
        assert 0 <= delay < 2200  # of AAC's frames, where no container says how long it is
        middle = slice(10_000, 70_000)
        np.testing.assert_allclose(waveform[delay:][middle], expected[middle], atol=0.02)


@needs_ffmpeg
def test_files_without_audio_say_so(songs, tmp_path):
    (tmp_path / "text.m4a").write_text("this is no music\n" * 50)
    (tmp_path / "cut.mp4").write_bytes(songs[1][1].read_bytes()[:3000])
    (tmp_path / "list.aac").write_text(f"#EXTM3U\n#EXTINF:1,\n{songs[0]}\n")
    for name in ("text.m4a", "cut.mp4", "list.aac"):
        with pytest.raises(Undecodable, match=r"^cannot be decoded: no audio found in it \(ffmpeg: .*\)$"):
            decode(tmp_path / name, 16_000)


@needs_ffmpeg
def test_aac_that_ends_early_is_taken_as_far_as_it_goes(songs, tmp_path):
    content = songs[1][2].read_bytes()
    (tmp_path / "cut.aac").write_bytes(content[: len(content) // 2])
    assert 0.8 < decode(tmp_path / "cut.aac", 16_000).size / 16_000 < 1.2


def test_without_ffmpeg_the_reason_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(b"x")
    with pytest.raises(Undecodable, match=r"^\.m4a files need the program ffmpeg, which is not installed here$"):
        decode(tmp_path / "a.m4a", 16_000)
