"""Decoding against librosa and against what was written; every reason for which a file is refused."""

import os
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from genre_tagger.data import decode as module
from genre_tagger.data.decode import Undecodable, decode, to_pcm16

RATE = 12_000


def tone(seconds: float, rate: int, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [12_000, 16_000, 22_050])
def test_equals_librosa_on_all_formats_rates_and_channels(music_folder: Path, rate: int):
    files = sorted(path for path in music_folder.rglob("*") if path.suffix in {".wav", ".flac", ".ogg", ".mp3"})
    assert len(files) == 12
    for path in files:
        expected, _ = librosa.load(path, sr=rate, mono=True, res_type="soxr_hq")
        waveform = decode(path, rate)
        assert waveform.dtype == np.float32
        length = min(len(expected), len(waveform))  # librosa cuts or pads to its own rounding of the length
        assert abs(len(expected) - len(waveform)) <= 1
        np.testing.assert_allclose(waveform[:length], expected[:length], atol=1e-4, err_msg=path.name)


def test_equals_librosa_on_a_real_mp3(real_mp3: Path):
    expected, _ = librosa.load(real_mp3, sr=RATE, res_type="soxr_hq")
    waveform = decode(real_mp3, RATE)
    assert len(waveform) == pytest.approx(29.124 * RATE, abs=2)
    np.testing.assert_allclose(waveform[: len(expected)], expected[: len(waveform)], atol=1e-4)


def test_a_16_bit_file_at_the_rate_keeps_its_exact_samples(tmp_path: Path):
    samples = np.random.default_rng(1).integers(-32768, 32768, 5000).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="PCM_16")
    np.testing.assert_array_equal(to_pcm16(decode(tmp_path / "a.wav", RATE)), samples)


def test_a_name_that_is_no_utf_8_is_opened(tmp_path: Path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(tmp_path / "plain.wav", np.sin(np.arange(12_000)), 12_000)
    (tmp_path / "plain.wav").rename(path)
    assert decode(path, 12_000).size == 12_000


def test_pcm_round_trip_is_within_half_a_step_and_clips_at_full_scale():
    waveform = np.random.default_rng(2).uniform(-1, 32767 / 32768, 10_000).astype(np.float32)
    pcm = to_pcm16(waveform)
    assert pcm.dtype == np.dtype("<i2")
    assert np.abs(pcm / 32768 - waveform).max() <= 0.5 / 32768
    np.testing.assert_array_equal(to_pcm16(np.float32([-1, 1, 1.5, -2])), [-32768, 32767, 32767, -32768])


def test_blocks_do_not_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(3)
    for name in ("a.wav", "a.mp3"):
        soundfile.write(tmp_path / name, rng.uniform(-0.5, 0.5, (60_000, 2)), 44_100)
        whole = decode(tmp_path / name, RATE)
        with monkeypatch.context() as patch:
            patch.setattr(module, "BLOCK_FRAMES", 5000)
            np.testing.assert_allclose(decode(tmp_path / name, RATE), whole, atol=1e-6)


def test_opposite_channels_cancel_and_overshoot_is_clipped(tmp_path: Path):
    left = tone(0.5, RATE)
    soundfile.write(tmp_path / "half.wav", np.stack([left, 0 * left], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(decode(tmp_path / "half.wav", RATE), left / 2, atol=1e-6)
    soundfile.write(tmp_path / "opposite.wav", np.stack([left, -left], 1), RATE, subtype="FLOAT")
    with pytest.raises(Undecodable, match="silence"):
        decode(tmp_path / "opposite.wav", RATE)
    soundfile.write(tmp_path / "loud.wav", 4 * left, RATE, subtype="FLOAT")
    waveform = decode(tmp_path / "loud.wav", RATE)
    assert waveform.max() == 1
    assert waveform.min() == -1


def bad_files(folder: Path) -> dict[str, str]:
    """Writes files without usable audio; returns the words that each one's reason must hold."""
    sound = tone(0.5, RATE)
    with_nan = np.where(np.arange(sound.size) == 3000, np.nan, sound)
    for name, samples, subtype in (
        ("nan.wav", with_nan, "FLOAT"),
        ("inf.wav", np.nan_to_num(with_nan, nan=np.inf), "FLOAT"),
        ("short.wav", tone(0.05, RATE), "PCM_16"),
        ("silent.wav", 0 * sound, "PCM_16"),
        ("hushed.wav", sound / 40_000, "FLOAT"),
        ("none.wav", sound[:0], "PCM_16"),
    ):
        soundfile.write(folder / name, samples, RATE, subtype=subtype)
    soundfile.write(folder / "whole.flac", sound, RATE)
    (folder / "cut.flac").write_bytes((folder / "whole.flac").read_bytes()[:3000])
    (folder / "text.mp3").write_text("this is no music\n" * 50)
    (folder / "noise.mp3").write_bytes(np.random.default_rng(5).bytes(20_000))
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "samples.raw").write_bytes(bytes(1000))
    (folder / "folder.wav").mkdir()
    soundfile.write(folder / "crawl.wav", sound, 1)
    return {
        "nan.wav": "NaN or infinity",
        "inf.wav": "NaN or infinity",
        "short.wav": "only 0.050 s long, expected at least 0.1 s",
        "silent.wav": "digital silence",
        "hushed.wav": "digital silence",
        "none.wav": "no samples",
        "cut.flac": "cannot be decoded: .*lost sync",
        "text.mp3": "cannot be decoded: no audio found",
        "noise.mp3": "cannot be decoded: no audio found",
        "empty.mp3": r"empty \(0 bytes\)",
        "samples.raw": "raw samples without a header",
        "folder.wav": "not a file",
        "crawl.wav": "sample rate is 1 Hz",
        "absent.wav": "no such file",
    }


@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_unusable_files_say_why(tmp_path: Path, rate: int):
    for name, words in bad_files(tmp_path).items():
        with pytest.raises(Undecodable, match=words):
            decode(tmp_path / name, rate)
    assert decode(tmp_path / "whole.flac", rate).size == rate // 2


def test_decoding_processes_load_no_tensorflow():
    code = (
        "import sys, genre_tagger.data.decode_pool; print(sorted({'tensorflow', 'keras', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


MEASURED = """
import resource, sys
from pathlib import Path
from genre_tagger.data.decode import MAX_SECONDS, MIN_SECONDS, Undecodable, decode

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(Path(sys.argv[1]), 12_000, MIN_SECONDS, MAX_SECONDS)
except Undecodable as reason:
    print(reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_ten_hours_are_refused_after_one_in_bounded_memory(tmp_path: Path):
    path = tmp_path / "day.wav"
    soundfile.write(path, tone(0.1, 8000), 8000, subtype="PCM_U8")
    size = 10 * 3600 * 8000
    with path.open("r+b") as file:  # a hole of zeros, which are full scale in this format
        file.seek(4)
        file.write((size + 36).to_bytes(4, "little"))
        file.seek(40)
        file.write(size.to_bytes(4, "little"))
        file.truncate(44 + size)
    assert soundfile.info(path).duration == 36_000
    result = subprocess.run([sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True)
    reason, grown_mb = result.stdout.splitlines()
    assert reason == "longer than 3600 s; cut it into clips"
    assert int(grown_mb) < 300  # an hour at 12 kHz is 173 MB, all of it 1,730
