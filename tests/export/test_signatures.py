"""The signatures return the outputs of the model for each item, or an error for an invalid item."""

import numpy as np
import pytest
import soxr
import tensorflow as tf
from facts import check_facts, expect_error
from scipy.signal import firwin, kaiserord, resample, resample_poly
from sklearn.metrics import roc_auc_score

from genre_tagger.audio.decode import NOT_FINITE, decode, to_pcm16
from genre_tagger.export.contract import SIGNATURES, SILENCE, WAV_RATES_HZ
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.export.waveform import MAX_PEAK, TOO_LOUD


def ask(signatures, name, items):
    """Return the answer of a signature as NumPy arrays, with the errors as text."""
    kind = "waveform" if name in ("serving_default", "embed") else "audio"
    answer = {key: value.numpy() for key, value in signatures[name](**{kind: tf.constant(items)}).items()}
    return {**answer, "error": [error.decode() for error in answer["error"]]}


def check_empty_batch(signatures, name, items):
    """Check that an empty batch has an empty answer. Called by tests that already use the signature."""
    answer = ask(signatures, name, items)
    assert set(answer) == set(signatures[name].structured_outputs)
    assert {len(output) for output in answer.values()} == {0}


@pytest.fixture(scope="module")
def tones(make_tones):
    return make_tones


def resampled_by_twin(mono, source_hz, target_hz):
    """Resample with SciPy, by an equivalent FIR filter at the common multiple of both rates."""
    if source_hz == target_hz:
        return mono
    divisor = np.gcd(source_hz, target_hz)
    up, down = target_hz // divisor, source_hz // divisor
    lower = min(1, target_hz / source_hz)
    taps, beta = kaiserord(80, 0.1 * lower)
    prototype = firwin(2 * (taps * up // 2) + 1, 0.95 * lower / up, window=("kaiser", beta))
    return resample_poly(mono, up, down, window=prototype)[: round(len(mono) * target_hz / source_hz)]


def all_windows(mono, config):
    """Return the windows of a clip and their times. The last one ends with the clip; a short clip is zero-padded."""
    size, hop = config.window_samples, config.hop_samples
    mono = np.pad(mono, (0, max(0, size - len(mono)))).astype(np.float32)
    starts = sorted({*range(0, len(mono) - size + 1, hop), len(mono) - size})
    return np.stack([mono[start : start + size] for start in starts]), np.array(starts) / config.frontend.sample_rate


def test_every_signature_has_the_names_and_shapes_of_the_contract(signatures, config):
    assert set(signatures) == set(SIGNATURES)
    tagged = {"probabilities", "top_tags", "top_scores", "error"}
    outputs = {"taggram": {"probabilities", "times", "num_windows", "error"}, "embed": {"embedding", "error"}}
    for name in SIGNATURES:
        ((input_name, spec),) = signatures[name].structured_input_signature[1].items()
        if name in ("serving_default", "embed"):
            assert (input_name, spec.shape.as_list()) == ("waveform", [None, config.window_samples])
        else:
            assert (input_name, spec.dtype, spec.shape.as_list()) == ("audio", tf.string, [None])
        assert set(signatures[name].structured_outputs) == outputs.get(name, tagged)


def test_serving_default_is_predict(signatures, model, windows):
    answer = ask(signatures, "serving_default", windows)
    expected = model.predict(windows, verbose=0)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
    assert np.ptp(expected) > 0.5
    assert answer["error"] == [""] * 5


def test_top_tags_are_the_highest_probabilities_by_name(signatures, windows, run):
    names = run.tags.read_text(encoding="utf-8").splitlines()
    answer = ask(signatures, "serving_default", windows)
    order = np.argsort(-answer["probabilities"], axis=1)[:, :5]
    np.testing.assert_array_equal(answer["top_scores"], np.take_along_axis(answer["probabilities"], order, axis=1))
    assert [[tag.decode() for tag in row] for row in answer["top_tags"]] == [[names[i] for i in row] for row in order]


def test_pcm16_is_predict_on_the_rounded_window(signatures, predict, windows):
    pcm = to_pcm16(windows.copy())
    answer = ask(signatures, "pcm16", [row.tobytes() for row in pcm])
    np.testing.assert_allclose(answer["probabilities"], predict(pcm / np.float32(32768)), atol=1e-5)
    check_empty_batch(signatures, "pcm16", np.array([], "S"))


def test_embed_is_what_the_last_layer_reads(signatures, model, windows, predict):
    embedding = ask(signatures, "embed", windows)["embedding"]
    last = model.get_layer("probabilities")
    logits = embedding @ last.kernel.numpy() + last.bias.numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), predict(windows), atol=1e-5)


def test_wav_equals_resampling_with_scipy(signatures, predict, config, to_wav, tones):
    """One request has all rates in mono and stereo, because one request takes less time than many."""
    kinds = [(rate_hz, channels) for rate_hz in WAV_RATES_HZ for channels in (1, 2)]
    clips = [tones(rate_hz, 1.23, channels, seed) for seed, (rate_hz, channels) in enumerate(kinds)]
    files = [to_wav(clip, rate_hz, "FLOAT") for clip, (rate_hz, _) in zip(clips, kinds, strict=True)]
    answer = ask(signatures, "wav", files)
    assert answer["error"] == [""] * len(kinds)
    for clip, (rate_hz, channels), served in zip(clips, kinds, answer["probabilities"], strict=True):
        scores = predict(all_windows(resampled_by_twin(clip.mean(axis=1), rate_hz, 12_000), config)[0])
        assert len(scores) == 5
        np.testing.assert_allclose(served, scores.mean(axis=0), atol=1e-3, err_msg=f"{rate_hz} Hz, {channels} channels")


def test_taggram_has_all_windows_and_the_last_ends_with_the_file(signatures, predict, config, to_wav, tones):
    counts = {0.3: 1, 0.5: 1, 0.51: 2, 0.7: 2, 25.3: 125}
    clips = [tones(12_000, seconds) for seconds in counts]
    answer = ask(signatures, "taggram", [to_wav(clip, 12_000, "FLOAT") for clip in clips])
    assert answer["num_windows"].tolist() == list(counts.values())
    for clip, count, times, scores in zip(
        clips, counts.values(), answer["times"], answer["probabilities"], strict=True
    ):
        windows, expected_times = all_windows(clip[:, 0], config)
        np.testing.assert_allclose(times[:count], expected_times, atol=1e-6)
        np.testing.assert_allclose(scores[:count], predict(windows), atol=1e-4)


def test_taggram_of_several_files_is_padded_with_zeros(signatures, to_wav, tones):
    short, long = to_wav(tones(16_000, 0.6), 16_000), to_wav(tones(22_050, 2.0), 22_050)
    answer = ask(signatures, "taggram", [short, b"junk", long])
    assert answer["num_windows"].tolist() == [2, 0, 9]
    assert answer["probabilities"].shape[1] == 9
    assert not answer["probabilities"][0, 2:].any() and not answer["probabilities"][1].any()
    alone = ask(signatures, "taggram", [short])
    np.testing.assert_allclose(answer["probabilities"][0, :2], alone["probabilities"][0], atol=1e-6)
    check_empty_batch(signatures, "taggram", np.array([], "S"))


def test_wav_ranks_as_the_path_that_trained_the_model(signatures, predict, config, to_wav, tmp_path, tones):
    """The signature has the same ROC-AUC as scores on audio read by libsndfile and soxr.

    The labels come from a third path, which resamples by FFT, and some of them are flipped.
    """
    clips = [tones(44_100, 0.5, 2, seed=number) for number in range(80)]
    files = [to_wav(clip, 44_100) for clip in clips]
    served = ask(signatures, "wav", files)["probabilities"]
    by_soxr, by_fft = [], []
    for clip, file in zip(clips, files, strict=True):
        (tmp_path / "clip.wav").write_bytes(file)
        by_soxr.append(decode(tmp_path / "clip.wav", 12_000))
        by_fft.append(resample(clip.mean(axis=1), config.window_samples).astype(np.float32))
    reference, truth = predict(np.stack(by_soxr)), predict(np.stack(by_fft))
    labels = (truth > np.median(truth, axis=0)) ^ (np.random.default_rng(0).random(truth.shape) < 0.1)
    print(f"largest difference of a score: {np.abs(served - reference).max():.5f}")
    assert np.ptp(reference, axis=0).min() > 0.3  # the clips differ
    difference = roc_auc_score(labels, served) - roc_auc_score(labels, reference)
    assert abs(difference) < 1e-3


def test_resampling_keeps_the_length_of_soxr(signatures, to_wav, config, tones):
    for frames in (44_100, 44_101, 44_211):
        expected = len(soxr.resample(np.zeros(frames), 44_100, 12_000))
        answer = ask(signatures, "taggram", [to_wav(tones(44_100, frames / 44_100), 44_100)])
        last = answer["times"][0, answer["num_windows"][0] - 1]
        assert round(last * 12_000) + config.window_samples == expected


def test_items_of_a_batch_do_not_affect_each_other(signatures, windows):
    bad = windows.copy()
    bad[1], bad[2, 7], bad[3] = 0, np.nan, np.inf
    answer = ask(signatures, "serving_default", bad)
    good = ask(signatures, "serving_default", windows)
    assert answer["error"] == ["", SILENCE, NOT_FINITE, NOT_FINITE, ""]
    np.testing.assert_allclose(answer["probabilities"][[0, 4]], good["probabilities"][[0, 4]], atol=1e-6)
    assert not answer["probabilities"][1:4].any()
    assert {tag for row in answer["top_tags"][1:4] for tag in row} == {b""}
    embedded = ask(signatures, "embed", bad)
    assert embedded["error"] == answer["error"]
    assert not embedded["embedding"][1:4].any()
    for name in ("serving_default", "embed"):
        check_empty_batch(signatures, name, windows[:0])


def test_files_of_a_batch_do_not_affect_each_other(signatures, to_wav, tones):
    nan = tones(16_000, 1.0)
    nan[-1] = np.nan
    files = [
        to_wav(tones(44_100, 2.0, seed=1), 44_100),
        b"garbage" * 100,
        to_wav(0.001 * tones(12_000, 0.4, seed=2), 12_000, "FLOAT"),
        to_wav(nan, 16_000, "FLOAT"),
        to_wav(tones(48_000, 0.8, 2, seed=3).clip(-1, 1) * 3, 48_000, "FLOAT"),
    ]
    together = ask(signatures, "wav", files)
    assert [bool(error) for error in together["error"]] == [False, True, False, True, False]
    check_facts(together["error"][1], "RIFF", "700 bytes")
    assert together["error"][3] == NOT_FINITE
    for number in (0, 2, 4):
        alone = ask(signatures, "wav", [files[number]])
        np.testing.assert_allclose(together["probabilities"][number], alone["probabilities"][0], atol=1e-6)
    assert not together["probabilities"][[1, 3]].any()
    check_empty_batch(signatures, "wav", np.array([], "S"))


LEVEL_TAGS = ("rock", "été, folk", "jazz")


class LevelModel:
    """A stand-in for a model. It computes the probabilities from the mean of a window, and counts its calls."""

    def __init__(self):
        self.variables = ()
        self.scored_windows = tf.Variable(0)

    def __call__(self, windows, training):
        self.scored_windows.assign_add(tf.shape(windows)[0])
        level = tf.reduce_mean(windows, axis=1)
        return tf.stack([1 - level, level, level], axis=1), level[:, tf.newaxis]


@pytest.fixture(scope="module")
def level_model():
    return LevelModel()


@pytest.fixture(scope="module")
def level_signatures(config, level_model):
    """Return a function that takes a kind of pooling and returns the signatures of a `LevelModel`."""
    served = {}  # also keeps the variables of the model alive

    def build(pooling):
        if pooling not in served:
            window = config.window.model_copy(update={"pooling": pooling})
            tagger = ServedTagger(level_model, config.model_copy(update={"window": window}), LEVEL_TAGS)
            served[pooling] = tagger.signatures()
        return served[pooling]

    return build


def wav_of_levels(to_wav, *levels):
    """Return a WAV file at the model's rate that holds one window of each constant level."""
    return to_wav(np.repeat(levels, 6000)[:, None], 12_000, "FLOAT")


def test_copies_of_a_file_are_scored_once(level_signatures, level_model, to_wav):
    quiet, loud = wav_of_levels(to_wav, 0.25), wav_of_levels(to_wav, 0.75)
    level_model.scored_windows.assign(0)
    answer = ask(level_signatures("mean"), "wav", [loud, quiet, loud, loud])
    assert level_model.scored_windows.numpy() == 2
    np.testing.assert_allclose(answer["probabilities"][:, 1], [0.75, 0.25, 0.75, 0.75], atol=1e-6)


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [0.46, 0.54, 0.54]), ("max", [0.9, 0.9, 0.9])])
def test_windows_are_pooled_as_configured(level_signatures, to_wav, pooling, expected):
    """The windows of the file have the levels 0.1, 0.42, 0.74 and 0.9; the second file has no windows."""
    answer = ask(level_signatures(pooling), "wav", [wav_of_levels(to_wav, 0.1, 0.9), b"garbage"])
    np.testing.assert_allclose(answer["probabilities"], [expected, [0, 0, 0]], atol=1e-6)


def test_ties_go_to_the_earlier_tag_and_fewer_than_five_tags_are_all_named(level_signatures, config):
    windows = np.zeros((2, config.window_samples), np.float32)
    windows[0] = 0.75
    answer = ask(level_signatures("mean"), "serving_default", windows)
    names = [[name.decode() for name in row] for row in answer["top_tags"]]
    assert names == [["été, folk", "jazz", "rock"], ["", "", ""]]
    np.testing.assert_allclose(answer["top_scores"], [[0.75, 0.75, 0.25], [0, 0, 0]], atol=1e-6)
    assert answer["error"] == ["", SILENCE]


@pytest.mark.parametrize("rate", [12_000, 44_100])
def test_absurd_samples_are_rejected(signatures, to_wav, windows, config, rate):
    """The samples are finite, but their spectrum is not, and clipping them would change the audio completely."""
    for level, allowed in ((1e15, {TOO_LOUD}), (3e38, {TOO_LOUD, NOT_FINITE})):
        wav = to_wav(np.full((rate, 2), level), rate, "FLOAT")
        for name in ("wav", "taggram"):
            (error,) = ask(signatures, name, [wav])["error"]
            assert error in allowed, (name, level)
        (error,) = ask(signatures, "serving_default", np.full((1, config.window_samples), level, np.float32))["error"]
        check_facts(error, MAX_PEAK)


def test_every_invalid_file_has_an_error_and_the_next_request_works(signatures, to_wav, tones):
    samples = tones(16_000, 0.8)
    good = to_wav(samples, 16_000)
    facts = {
        b"": ("RIFF", "0 bytes"),
        b"ID3" + bytes(500): ("RIFF", "503 bytes"),
        good[:-50]: (25_600, 25_550),
        to_wav(samples, 16_000, "PCM_U8"): ("8-bit PCM",),
        to_wav(samples, 16_000, "ALAW"): ("code 6",),
        to_wav(np.tile(samples, 9), 16_000): ("9 channels",),
        to_wav(samples, 1): (" 1 Hz",),
        to_wav(samples[:0], 16_000): ("no samples",),
        to_wav(np.full((9000, 1), np.nan), 16_000, "FLOAT"): (NOT_FINITE,),
        to_wav(np.zeros((9000, 2)), 44_100): (SILENCE,),
        to_wav(np.full((9000, 1), 1e-6), 12_000, "FLOAT"): (SILENCE,),
    }
    for name in ("wav", "taggram"):
        before = ask(signatures, name, [good])
        answer = ask(signatures, name, list(facts))
        for expected, error in zip(facts.values(), answer["error"], strict=True):
            check_facts(error, *expected)
        assert not answer["probabilities"].any()
        np.testing.assert_array_equal(ask(signatures, name, [good])["probabilities"], before["probabilities"])


def test_wrong_shape_is_reported(signatures, windows):
    for wrong in (windows[:, :100], windows[0]):
        with expect_error("waveform", "[?,6000]", kind=tf.errors.InvalidArgumentError):
            signatures["serving_default"](waveform=tf.constant(wrong))


@pytest.mark.parametrize("size", [0, 1, 11_998, 12_002])
def test_pcm16_of_a_wrong_size_is_rejected(signatures, windows, size):
    good = to_pcm16(windows[0].copy()).tobytes()
    answer = ask(signatures, "pcm16", [(good * 2)[:size], good])
    check_facts(answer["error"][0], f" {size} bytes", 12_000, "6000 samples", "12000 Hz")
    assert answer["error"][1] == ""
    alone = ask(signatures, "pcm16", [good])
    np.testing.assert_allclose(answer["probabilities"][1], alone["probabilities"][0], atol=1e-6)
