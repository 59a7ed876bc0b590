import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facts import expect_error

from genre_tagger.reporting.clip_audio import NoSound, excerpt, read_waveforms, to_mp3
from genre_tagger.sources.registry import SourceOptions


@pytest.fixture
def record(run):
    return run.read_record()


CLIPS = ("test 3.wav", "test 8.wav")


def test_prepared_clips_are_read_by_id(record, collection):
    waveforms = read_waveforms(record, 8000, "test", [*CLIPS, "no such clip"])
    assert sorted(waveforms) == sorted(CLIPS)
    for name, waveform in waveforms.items():
        written, _ = soundfile.read(collection / name)
        np.testing.assert_allclose(waveform, written, atol=1 / 32768)


@pytest.mark.parametrize("place", [None, Path("gone")])
def test_without_prepared_data_the_audio_files_are_read(record, place):
    waveforms = read_waveforms(record.model_copy(update={"prepared": place}), 16_000, "test", CLIPS)
    assert {name: len(waveform) for name, waveform in waveforms.items()} == dict.fromkeys(CLIPS, 9600)


def test_a_missing_file_is_left_out(record, tmp_path, collection):
    (tmp_path / "tags.csv").write_text((collection / "tags.csv").read_text())
    source = SourceOptions(source="folder", root=tmp_path)
    moved = record.model_copy(update={"prepared": None, "source": source})
    assert read_waveforms(moved, 8000, "test", CLIPS) == {}


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (SourceOptions(source="folder", root=Path("gone")), "gone"),
        (SourceOptions(source="demo", songs=10), "d/demo"),
    ],
)
def test_without_any_data_nothing_is_rendered(record, tmp_path, source, place):
    moved = record.model_copy(update={"prepared": None, "source": source, "folder": tmp_path / "d"})
    with expect_error(place, "no such folder", kind=NoSound):
        read_waveforms(moved, 8000, "test", CLIPS)
    assert not (tmp_path / "d").exists()


def test_excerpt_is_the_middle_of_a_long_clip():
    waveform = np.arange(20 * 1000)
    np.testing.assert_array_equal(excerpt(waveform, 1000), np.arange(2500, 17_500))
    assert len(excerpt(waveform[:7], 1000)) == 7


@pytest.mark.parametrize(("rate", "written"), [(8000, 16_000), (12_000, 16_000), (24_000, 24_000), (96_000, 48_000)])
def test_mp3_has_a_sample_rate_that_browsers_play(rate, written):
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate).astype(np.float32) * 0.5
    decoded, found = soundfile.read(io.BytesIO(to_mp3(tone, rate)))
    assert found == written
    assert len(decoded) == pytest.approx(2 * written, abs=0.1 * written)  # MP3 files consist of whole frames
    spectrum = np.abs(np.fft.rfft(decoded[: written // 2 * 2]))
    assert spectrum.argmax() * written / (written // 2 * 2) == pytest.approx(440, abs=2)
