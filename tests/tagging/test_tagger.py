"""Taggrams against windows cut by hand and scored by Keras; memory; what is judged; what a version is."""

import shutil
import tracemalloc

import keras
import numpy as np
import pytest
import soundfile
from tiny_tagger import RATE, TAGS, Measuring, noise, write

from genre_tagger.data.decode import Undecodable
from genre_tagger.errors import UserError
from genre_tagger.tagging.tagger import Tagger


def test_windows_scores_and_embeddings_are_the_models(tiny_run, tmp_path):
    path, model = tiny_run
    waveform = noise(1.43)
    tagger = Tagger.of_model(path)
    taggram = tagger.taggram(write(tmp_path / "a.wav", waveform), embed=True)
    starts = [0, 1600, 3200, 4800, 6400, 11440 - 4000]
    windows = np.stack([waveform[start : start + 4000] for start in starts])
    expected = model.predict(windows, verbose=0)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(taggram.times, np.array(starts) / RATE, atol=1e-6)
    np.testing.assert_allclose(taggram.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(taggram.scores, expected.mean(axis=0), atol=1e-5)
    embedder = keras.Model(model.inputs[0], model.get_layer("probabilities").input)
    np.testing.assert_allclose(taggram.embedding, embedder.predict(windows, verbose=0).mean(axis=0), atol=1e-5)
    assert (taggram.flag, taggram.seconds, tagger.tags) == ("", 1.43, TAGS)
    assert tagger.taggram(tmp_path / "a.wav").embeddings is None


def test_pooling_and_windows_are_the_configurations(config, tmp_path):
    window = config.window.model_copy(update={"pooling": "max", "evaluate": "center"})
    tagger = Tagger(Measuring(), config.model_copy(update={"window": window}), TAGS, "")
    waveform = noise(2)
    taggram = tagger.taggram(write(tmp_path / "a.wav", waveform))
    starts = np.array([*range(0, 12_001, 1600), 12_000])  # of all windows: one centre would miss most of a song
    np.testing.assert_allclose(taggram.probabilities[:, 0], waveform[starts], atol=1e-6)
    assert taggram.scores[0] == pytest.approx(waveform[starts].max(), abs=1e-6)


def test_a_mix_of_three_hours_takes_little_memory(config, tmp_path):
    window = config.window.model_copy(update={"hop_seconds": None})
    tagger, path = Tagger(Measuring(), config.model_copy(update={"window": window}), TAGS, ""), tmp_path / "mix.wav"
    soundfile.write(path, noise(1), RATE, subtype="PCM_U8")
    size = 3 * 3600 * RATE
    with path.open("r+b") as file:  # a hole of zeros, which are full scale in this format
        file.seek(4)
        file.write((size + 36).to_bytes(4, "little"))
        file.seek(40)
        file.write(size.to_bytes(4, "little"))
        file.truncate(44 + size)
    tracemalloc.start()
    try:
        taggram = tagger.taggram(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taggram.seconds == 3 * 3600
    assert len(taggram.times) == 2 * 3 * 3600
    assert taggram.scores[0] == pytest.approx(-1, abs=1e-3)
    assert peak < 30e6  # the waveform alone is 346 MB


@pytest.mark.parametrize(
    ("waveform", "flag"),
    [
        (noise(0.5, level=2**-12 * 0.99), "silent"),
        (noise(0.5, level=2**-12 * 1.01), ""),
        (np.zeros(RATE), "silent"),
        (noise(0.124), "too short"),
        (noise(0.125), ""),  # a quarter of the window
        (np.concatenate([np.zeros(RATE), noise(0.1)]), ""),
    ],
)
def test_what_is_silent_or_too_short_is_flagged(measuring, tmp_path, waveform, flag):
    taggram = measuring.taggram(write(tmp_path / "a.wav", waveform), embed=True)
    assert taggram.flag == flag
    assert np.isnan(taggram.scores).all() == bool(flag) and len(taggram.scores) == len(TAGS)
    lengths = {len(taggram.times), len(taggram.probabilities), len(taggram.embeddings)}
    assert (lengths == {0}) == bool(flag)


def test_files_without_usable_audio_say_why(measuring, tmp_path):
    long = noise(9)
    soundfile.write(tmp_path / "whole.flac", long, RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:60_000])
    (tmp_path / "text.mp3").write_text("this is no music\n" * 50)
    write(tmp_path / "nan.wav", np.where(np.arange(long.size) == 70_000, np.nan, long))
    write(tmp_path / "none.wav", long[:0])
    reasons = {"cut.flac": "lost sync", "text.mp3": "no audio", "nan.wav": "NaN", "none.wav": "no samples"}
    for name, words in {**reasons, "absent.mp3": "no such file"}.items():
        with pytest.raises(Undecodable, match=words):
            measuring.taggram(tmp_path / name)


def test_an_mp3_that_ends_early_is_tagged_as_far_as_it_goes(measuring, tmp_path):
    soundfile.write(tmp_path / "whole.mp3", noise(6), RATE)
    content = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(content[: len(content) // 2])
    assert 2.5 < measuring.taggram(tmp_path / "cut.mp3").seconds < 3.5


def test_the_version_is_that_of_the_content(tiny_run, tmp_path):
    path, _ = tiny_run
    version = Tagger.of_model(path).model_version
    copy = shutil.copytree(path, tmp_path / "copy")
    (copy / "history.csv").write_text("epoch\n")
    assert Tagger.of_model(copy).model_version == version
    (copy / "tags.txt").write_text("other\n" * len(TAGS))
    assert Tagger.of_model(copy).model_version != version


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"found no model in it, expected a run directory .* or a folder of versions"):
        Tagger.of_model(tmp_path)
    (tmp_path / "models/tagger/1").mkdir(parents=True)
    (tmp_path / "models/tagger/1/saved_model.pb").touch()
    with pytest.raises(UserError, match=r"did you mean \S+/models/tagger\?$"):
        Tagger.of_model(tmp_path / "models")
