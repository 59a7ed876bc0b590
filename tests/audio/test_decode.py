"""Compare decoding with librosa and with the written samples, and test every reason to refuse a file."""

import errno
import math
import os
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from facts import expect_error

from genre_tagger.audio import decode as module
from genre_tagger.audio.decode import Silent, TooShort, Undecodable, decode, decode_blocks, to_pcm16, waveform_blocks

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
        length = min(len(expected), len(waveform))  # librosa rounds the length differently
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


def test_a_file_name_that_is_not_utf_8_is_opened(tmp_path: Path):
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


def test_the_block_size_does_not_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
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
    with pytest.raises(Silent):
        decode(tmp_path / "opposite.wav", RATE)
    soundfile.write(tmp_path / "loud.wav", 4 * left, RATE, subtype="FLOAT")
    waveform = decode(tmp_path / "loud.wav", RATE)
    assert waveform.max() == 1
    assert waveform.min() == -1


def bad_files(folder: Path) -> dict[str, tuple]:
    """Write files without usable audio. Return, for each, the error and the facts that its message must contain."""
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
    (folder / "text.mp3").write_text("this is not music\n" * 50)
    (folder / "noise.mp3").write_bytes(np.random.default_rng(5).bytes(20_000))
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "samples.raw").write_bytes(bytes(1000))
    (folder / "folder.wav").mkdir()
    soundfile.write(folder / "crawl.wav", sound, 1)
    return {
        "nan.wav": (Undecodable, "NaN"),
        "inf.wav": (Undecodable, "infinity"),
        "short.wav": (TooShort, "0.050 s", "0.1 s"),
        "silent.wav": (Silent, "silence"),
        "hushed.wav": (Silent, "silence"),
        "none.wav": (Undecodable, "no samples"),
        "cut.flac": (Undecodable, "lost sync"),  # from libsndfile's message
        "text.mp3": (Undecodable, "no audio"),
        "noise.mp3": (Undecodable, "no audio"),
        "empty.mp3": (Undecodable, "0 bytes"),
        "samples.raw": (Undecodable, "raw", "header"),
        "folder.wav": (Undecodable, "not a file"),
        "crawl.wav": (Undecodable, " 1 Hz", "1000"),
        "absent.wav": (Undecodable, os.strerror(errno.ENOENT).lower()),
    }


@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_unusable_files_are_refused_with_their_reason(tmp_path: Path, rate: int):
    for name, (kind, *facts) in bad_files(tmp_path).items():
        with expect_error(*facts, kind=kind):
            decode(tmp_path / name, rate)
    assert decode(tmp_path / "whole.flac", rate).size == rate // 2


def test_decoding_processes_load_no_tensorflow():
    heavy = {"tensorflow", "keras", "pandas"}
    code = f"import sys, genre_tagger.audio.decode_pool; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


MEASURED = """
import resource, sys
from pathlib import Path
from genre_tagger.audio.decode import MAX_SECONDS, MIN_SECONDS, TooLong, decode

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(Path(sys.argv[1]), 12_000, MIN_SECONDS, MAX_SECONDS)
except TooLong as reason:
    print(reason)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_file_of_ten_hours_is_refused_after_one_hour_in_bounded_memory(tmp_path: Path):
    path = tmp_path / "day.wav"
    soundfile.write(path, tone(0.1, 8000), 8000, subtype="PCM_U8")
    size = 10 * 3600 * 8000
    with path.open("r+b") as file:  # a sparse file; zero bytes are full scale in this format
        file.seek(4)
        file.write((size + 36).to_bytes(4, "little"))
        file.seek(40)
        file.write(size.to_bytes(4, "little"))
        file.truncate(44 + size)
    assert soundfile.info(path).duration == 36_000
    result = subprocess.run([sys.executable, "-c", MEASURED, path], capture_output=True, text=True, check=True)
    reason, grown_mb = result.stdout.splitlines()
    assert "3600 s" in reason
    assert int(grown_mb) < 300  # one hour at 12 kHz takes 173 MB, ten hours 1,730 MB


@pytest.mark.parametrize("source_rate", [RATE, 8000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_samples_are_mixed_and_resampled_as_a_file_with_them(tmp_path: Path, source_rate, channels, kind):
    rng = np.random.default_rng(4)
    samples = (tone(0.7, source_rate)[:, None] + 0.4 * rng.uniform(-1, 1, (round(0.7 * source_rate), channels))) * 1.5
    soundfile.write(tmp_path / "a.wav", samples, source_rate, subtype="FLOAT")
    given = samples.astype(kind)
    expected = np.concatenate(list(decode_blocks(tmp_path / "a.wav", RATE)))
    found = np.concatenate(list(waveform_blocks(given[:, 0] if channels == 1 else given, source_rate, RATE)))
    assert found.dtype == np.float32 and found.max() == 1  # louder samples are clipped
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(given, samples.astype(kind))  # the caller's array is unchanged


@pytest.mark.parametrize(
    ("samples", "source_rate", "facts"),
    [
        (np.zeros(9, np.int16), RATE, ["waveform: ", "int16", "(9,)"]),
        (np.zeros((9, 2, 1), np.float32), RATE, ["waveform: ", "float32", "(9, 2, 1)"]),
        (np.zeros((9, 0), np.float32), RATE, ["waveform: ", "(9, 0)"]),
        (np.zeros((2, 9), np.float32), RATE, ["waveform: ", "(2, 9)", "[samples, channels]"]),
        (np.float32(0.5), RATE, ["waveform: ", "()"]),
        (np.zeros(9, np.float32), 999, ["sample_rate: ", "999", "1000"]),
        (np.zeros(9, np.float32), math.nan, ["sample_rate: ", "nan", "1000"]),
        (np.zeros(9, np.float32), math.inf, ["sample_rate: ", "inf", "1000"]),
        (np.zeros(9, np.float32), "8000", ["sample_rate: ", "'8000'", "1000"]),
    ],
)
def test_samples_of_another_shape_type_or_rate_are_refused(samples, source_rate, facts):
    with expect_error(*facts, kind=ValueError):
        list(waveform_blocks(samples, source_rate, RATE))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("source_rate", [RATE, 44_100])
def test_samples_with_nan_or_infinity_are_unusable(value, source_rate):
    samples = tone(0.1, source_rate)
    samples[50] = value
    with expect_error("NaN", "infinity", kind=Undecodable):
        list(waveform_blocks(samples, source_rate, RATE))
