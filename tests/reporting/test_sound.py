import io
import json

import numpy as np
import pytest
import soundfile

from genre_tagger.reporting.sound import NoSound, excerpt, read_waveforms, to_mp3


@pytest.fixture
def record(run):
    return json.loads(run.data.read_text())


CLIPS = ("test 3.wav", "test 8.wav")


def test_prepared_clips_are_found_by_their_ids(record, collection):
    waveforms = read_waveforms(record, 8000, "test", [*CLIPS, "no such clip"])
    assert sorted(waveforms) == sorted(CLIPS)
    for name, waveform in waveforms.items():
        written, _ = soundfile.read(collection / name)
        np.testing.assert_allclose(waveform, written, atol=1 / 32768)


@pytest.mark.parametrize("place", [None, "gone"])
def test_without_prepared_data_the_files_are_read(record, place):
    waveforms = read_waveforms({**record, "prepared": place}, 16_000, "test", CLIPS)
    assert {name: len(waveform) for name, waveform in waveforms.items()} == dict.fromkeys(CLIPS, 9600)


def test_a_file_that_is_gone_is_left_out(record, tmp_path, collection):
    (tmp_path / "tags.csv").write_text((collection / "tags.csv").read_text())
    moved = {**record, "prepared": None, "source": {"source": "folder", "root": str(tmp_path)}}
    assert read_waveforms(moved, 8000, "test", CLIPS) == {}


@pytest.mark.parametrize("source", [{"source": "folder", "root": "gone"}, {"source": "demo", "songs": 10}])
def test_where_all_is_gone_nothing_is_rendered(record, tmp_path, source):
    with pytest.raises(NoSound, match="no such folder"):
        read_waveforms({**record, "prepared": None, "source": source, "data": str(tmp_path / "d")}, 8000, "test", CLIPS)
    assert not (tmp_path / "d").exists()


def test_a_long_clip_is_cut_to_its_middle():
    waveform = np.arange(20 * 1000)
    np.testing.assert_array_equal(excerpt(waveform, 1000), np.arange(2500, 17_500))
    assert len(excerpt(waveform[:7], 1000)) == 7


@pytest.mark.parametrize(("rate", "written"), [(8000, 16_000), (12_000, 16_000), (24_000, 24_000), (96_000, 48_000)])
def test_mp3_has_the_sound_at_a_rate_that_browsers_play(rate, written):
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate).astype(np.float32) * 0.5
    decoded, found = soundfile.read(io.BytesIO(to_mp3(tone, rate)))
    assert found == written
    assert len(decoded) == pytest.approx(2 * written, abs=0.1 * written)  # MP3 has whole frames
    spectrum = np.abs(np.fft.rfft(decoded[: written // 2 * 2]))
    assert spectrum.argmax() * written / (written // 2 * 2) == pytest.approx(440, abs=2)
