"""The tagger: its Python interface, its windows compared with Keras, memory, flags, and versions of a model."""

import shutil
import tracemalloc

import keras
import numpy as np
import pytest
import soundfile
from facts import check_facts, expect_error
from tiny_tagger import RATE, TAGS, Measuring, noise, write

from genre_tagger.audio.decode import Silent, TooShort, Undecodable
from genre_tagger.tagging.tagger import Tagger

STEREO_RATE = 22_050


@pytest.fixture(scope="module")
def tagger(tiny_run):
    """A tagger with the tiny model."""
    return Tagger.load(tiny_run[0])


@pytest.fixture
def stereo(tmp_path):
    """A file of 1.3 s with two different channels and another rate than the model, and its samples [samples, 2]."""
    rng = np.random.default_rng(3)
    samples = rng.uniform(-0.3, 0.3, (round(1.3 * STEREO_RATE), 2)).astype(np.float32)
    return write(tmp_path / "stereo.wav", samples, STEREO_RATE), samples


def test_a_path_may_be_text(tiny_run, tmp_path):
    path, song = tiny_run[0], write(tmp_path / "a.wav", noise(1))
    assert Tagger.load(str(path)).tag(str(song)) == Tagger.load(path).tag(song)


def test_tags_are_those_of_the_whole_song_with_the_highest_first(tagger, tmp_path):
    song = write(tmp_path / "a.wav", noise(1))
    scores = tagger.tag(song)
    assert sorted(scores) == sorted(TAGS)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    expected = dict(zip(TAGS, tagger.taggram(song).scores, strict=True))
    assert scores == pytest.approx(expected, abs=1e-6)


def test_an_embedding_is_the_mean_over_the_windows(tagger, tmp_path):
    song = write(tmp_path / "a.wav", noise(1))
    embedding, taggram = tagger.embed(song), tagger.taggram(song, embed=True)
    assert (embedding.shape, embedding.dtype) == ((6,), np.float32)
    np.testing.assert_allclose(embedding, taggram.embeddings.mean(axis=0), atol=1e-6)


def test_a_file_and_its_samples_have_equal_results(tagger, stereo):
    path, samples = stereo
    mono = samples.mean(axis=1)
    for waveform in (samples, samples.astype(np.float64), mono):
        assert tagger.tag(waveform, sample_rate=STEREO_RATE) == pytest.approx(tagger.tag(path), abs=1e-5)
        np.testing.assert_allclose(tagger.embed(waveform, sample_rate=STEREO_RATE), tagger.embed(path), atol=1e-5)
        taggram, expected = tagger.taggram(waveform, sample_rate=STEREO_RATE), tagger.taggram(path)
        np.testing.assert_allclose(taggram.probabilities, expected.probabilities, atol=1e-5)
        np.testing.assert_array_equal(taggram.times, expected.times)
        assert taggram.seconds == expected.seconds
    left = tagger.tag(samples[:, 0], sample_rate=STEREO_RATE)
    assert left != pytest.approx(tagger.tag(path), abs=1e-5)  # so both channels count


def test_a_list_has_results_in_its_order(tagger, stereo, tmp_path):
    songs = [stereo[0], stereo[1], str(write(tmp_path / "b.wav", noise(1, seed=9)))]
    tags, embeddings = (one(songs, sample_rate=STEREO_RATE) for one in (tagger.tag, tagger.embed))
    assert [len(tags), len(embeddings)] == [3, 3]
    for song, scores, embedding in zip(songs, tags, embeddings, strict=True):
        assert scores == tagger.tag(song, sample_rate=STEREO_RATE)
        np.testing.assert_array_equal(embedding, tagger.embed(song, sample_rate=STEREO_RATE))
    assert tags[0] != pytest.approx(tags[2], abs=1e-3)
    assert tagger.tag([]) == tagger.embed([]) == []


def test_the_error_of_a_list_names_the_song(tagger, tmp_path):
    absent = tmp_path / "absent.mp3"
    for method in (tagger.tag, tagger.embed):
        with expect_error(f"{absent}: ", "no such file", kind=Undecodable):
            method([noise(1), absent], sample_rate=RATE)
        with expect_error(" 1: ", "silent", kind=Silent):
            method([noise(1), 0 * noise(1)], sample_rate=RATE)


@pytest.mark.parametrize(
    ("waveform", "kind", "flag"), [(0 * noise(1), Silent, "silent"), (noise(0.05), TooShort, "too short")]
)
def test_silent_and_too_short_songs_are_errors_of_tag_and_embed(tagger, tmp_path, waveform, kind, flag):
    for song in (write(tmp_path / "a.wav", waveform), waveform):
        for method in (tagger.tag, tagger.embed):
            with expect_error(flag, f"{len(waveform) / RATE:.3f} s", kind=kind):
                method(song, sample_rate=RATE)
        assert tagger.taggram(song, sample_rate=RATE).flag == flag


def test_audio_that_cannot_be_used_is_refused(tagger, tmp_path):
    with_nan = noise(1)
    with_nan[100] = np.nan
    cases = (
        (tmp_path / "absent.mp3", RATE, Undecodable, ["no such file"]),
        (with_nan, RATE, Undecodable, ["NaN"]),
        (noise(1), None, ValueError, ["sample_rate"]),
        (noise(1), 0, ValueError, ["sample_rate", "0 Hz"]),
        ((noise(1) * 32767).astype(np.int16), RATE, ValueError, ["int16", f"({RATE},)"]),
        (noise(1)[None, None], RATE, ValueError, [f"(1, 1, {RATE})"]),
    )
    for audio, rate, kind, facts in cases:
        for method in (tagger.tag, tagger.embed, tagger.taggram):
            with pytest.raises(kind) as error:
                method(audio, sample_rate=rate)
            check_facts(error.value, *facts)


def test_a_taggram_has_embeddings_only_on_request(measuring, tmp_path):
    taggram = measuring.taggram(write(tmp_path / "a.wav", noise(1)))
    with expect_error("embed", kind=ValueError):
        _ = taggram.embedding


def test_windows_scores_and_embeddings_are_the_models(tiny_run, tmp_path):
    path, model = tiny_run
    waveform = noise(1.43)
    tagger = Tagger.load(path)
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


def test_pooling_and_windows_follow_the_configuration(config, tmp_path):
    window = config.window.model_copy(update={"pooling": "max", "evaluate": "center"})
    tagger = Tagger(Measuring(), config.model_copy(update={"window": window}), TAGS, "")
    waveform = noise(2)
    taggram = tagger.taggram(write(tmp_path / "a.wav", waveform))
    starts = np.array([*range(0, 12_001, 1600), 12_000])  # all windows: the centre alone would miss most of a song
    np.testing.assert_allclose(taggram.probabilities[:, 0], waveform[starts], atol=1e-6)
    assert taggram.scores[0] == pytest.approx(waveform[starts].max(), abs=1e-6)


def test_a_mix_of_three_hours_takes_little_memory(config, tmp_path):
    window = config.window.model_copy(update={"hop_seconds": None})
    tagger, path = Tagger(Measuring(), config.model_copy(update={"window": window}), TAGS, ""), tmp_path / "mix.wav"
    soundfile.write(path, noise(1), RATE, subtype="PCM_U8")
    size = 3 * 3600 * RATE
    with path.open("r+b") as file:  # a sparse file of zeros, which are full scale in this format
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
def test_silent_and_too_short_songs_are_flagged(measuring, tmp_path, waveform, flag):
    taggram = measuring.taggram(write(tmp_path / "a.wav", waveform), embed=True)
    assert taggram.flag == flag
    assert np.isnan(taggram.scores).all() == bool(flag) and len(taggram.scores) == len(TAGS)
    lengths = {len(taggram.times), len(taggram.probabilities), len(taggram.embeddings)}
    assert (lengths == {0}) == bool(flag)


def test_files_without_usable_audio_give_the_reason(measuring, tmp_path):
    long = noise(9)
    soundfile.write(tmp_path / "whole.flac", long, RATE)
    (tmp_path / "cut.flac").write_bytes((tmp_path / "whole.flac").read_bytes()[:60_000])
    (tmp_path / "text.mp3").write_text("this is no music\n" * 50)
    write(tmp_path / "nan.wav", np.where(np.arange(long.size) == 70_000, np.nan, long))
    write(tmp_path / "none.wav", long[:0])
    reasons = {"cut.flac": "lost sync", "text.mp3": "no audio", "nan.wav": "NaN", "none.wav": "no samples"}
    for name, fact in {**reasons, "absent.mp3": "no such file"}.items():
        with expect_error(fact, kind=Undecodable):
            measuring.taggram(tmp_path / name)


def test_an_mp3_that_ends_early_is_tagged_up_to_its_end(measuring, tmp_path):
    soundfile.write(tmp_path / "whole.mp3", noise(6), RATE)
    content = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(content[: len(content) // 2])
    assert 2.5 < measuring.taggram(tmp_path / "cut.mp3").seconds < 3.5


def test_the_version_depends_on_the_content_only(tiny_run, tmp_path):
    path, _ = tiny_run
    version = Tagger.load(path).model_version
    copy = shutil.copytree(path, tmp_path / "copy")
    (copy / "history.csv").write_text("epoch\n")
    assert Tagger.load(copy).model_version == version
    (copy / "tags.txt").write_text("other\n" * len(TAGS))
    assert Tagger.load(copy).model_version != version


def test_a_folder_without_a_model_is_refused(tmp_path):
    with expect_error(f"{tmp_path}: ", "config.yaml", "saved_model.pb"):
        Tagger.load(tmp_path)
    (tmp_path / "models/tagger/1").mkdir(parents=True)
    (tmp_path / "models/tagger/1/saved_model.pb").touch()
    with expect_error(f"{tmp_path}/models: ", f"{tmp_path}/models/tagger?"):
        Tagger.load(tmp_path / "models")
