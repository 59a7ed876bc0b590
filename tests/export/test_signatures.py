"""The signatures answer what the model answers, item by item, and say what is wrong with an item."""

import re

import numpy as np
import pytest
import soxr
import tensorflow as tf
from scipy.signal import firwin, kaiserord, resample, resample_poly
from sklearn.metrics import roc_auc_score

from genre_tagger.data.decode import decode, to_pcm16
from genre_tagger.export.contract import SIGNATURES, WAV_RATES_HZ
from genre_tagger.export.signatures import ServedTagger, _one_by_one


def ask(signatures, name, items):
    """The answer of a signature as NumPy arrays, errors as text."""
    kind = "waveform" if name in ("serving_default", "embed") else "audio"
    answer = {key: value.numpy() for key, value in signatures[name](**{kind: tf.constant(items)}).items()}
    return {**answer, "error": [error.decode() for error in answer["error"]]}


def check_nothing(signatures, name, items):
    """A batch without items has an answer without items; asked in other tests, which have the signature prepared."""
    answer = ask(signatures, name, items)
    assert set(answer) == set(signatures[name].structured_outputs)
    assert {len(output) for output in answer.values()} == {0}


@pytest.fixture(scope="module")
def tones(make_tones):
    return make_tones


def resampled_by_twin(mono, source_hz, target_hz):
    """The filter again, as one FIR filter at the common multiple of both rates, by SciPy."""
    if source_hz == target_hz:
        return mono
    divisor = np.gcd(source_hz, target_hz)
    up, down = target_hz // divisor, source_hz // divisor
    lower = min(1, target_hz / source_hz)
    taps, beta = kaiserord(80, 0.1 * lower)
    prototype = firwin(2 * (taps * up // 2) + 1, 0.95 * lower / up, window=("kaiser", beta))
    return resample_poly(mono, up, down, window=prototype)[: round(len(mono) * target_hz / source_hz)]


def all_windows(mono, config):
    """Windows at the hop, the last aligned to the end, zeros behind a short clip."""
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
    check_nothing(signatures, "pcm16", np.array([], "S"))


def test_embed_is_what_the_last_layer_reads(signatures, model, windows, predict):
    embedding = ask(signatures, "embed", windows)["embedding"]
    last = model.get_layer("probabilities")
    logits = embedding @ last.kernel.numpy() + last.bias.numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), predict(windows), atol=1e-5)


def test_wav_scores_as_through_the_twin_of_its_filter(signatures, predict, config, to_wav, tones):
    """At every rate, mono and stereo; in one request, since each test makes TensorFlow prepare its graphs anew."""
    kinds = [(rate_hz, channels) for rate_hz in WAV_RATES_HZ for channels in (1, 2)]
    clips = [tones(rate_hz, 1.23, channels, seed) for seed, (rate_hz, channels) in enumerate(kinds)]
    files = [to_wav(clip, rate_hz, "FLOAT") for clip, (rate_hz, _) in zip(clips, kinds, strict=True)]
    answer = ask(signatures, "wav", files)
    assert answer["error"] == [""] * len(kinds)
    for clip, (rate_hz, channels), served in zip(clips, kinds, answer["probabilities"], strict=True):
        scores = predict(all_windows(resampled_by_twin(clip.mean(axis=1), rate_hz, 12_000), config)[0])
        assert len(scores) == 5
        np.testing.assert_allclose(served, scores.mean(axis=0), atol=1e-3, err_msg=f"{rate_hz} Hz, {channels} channels")


def test_taggram_has_every_window_the_last_at_the_end(signatures, predict, config, to_wav, tones):
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


def test_a_taggram_of_several_files_is_filled_with_zeros(signatures, to_wav, tones):
    short, long = to_wav(tones(16_000, 0.6), 16_000), to_wav(tones(22_050, 2.0), 22_050)
    answer = ask(signatures, "taggram", [short, b"junk", long])
    assert answer["num_windows"].tolist() == [2, 0, 9]
    assert answer["probabilities"].shape[1] == 9
    assert not answer["probabilities"][0, 2:].any() and not answer["probabilities"][1].any()
    alone = ask(signatures, "taggram", [short])
    np.testing.assert_allclose(answer["probabilities"][0, :2], alone["probabilities"][0], atol=1e-6)
    check_nothing(signatures, "taggram", np.array([], "S"))


def test_wav_ranks_as_the_path_that_trained_the_model(signatures, predict, config, to_wav, tmp_path, tones):
    """Against libsndfile and soxr; the truth is a third path, resampled by an FFT, with some labels turned."""
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


def test_items_of_a_batch_do_not_influence_each_other(signatures, windows):
    bad = windows.copy()
    bad[1], bad[2, 7], bad[3] = 0, np.nan, np.inf
    answer = ask(signatures, "serving_default", bad)
    good = ask(signatures, "serving_default", windows)
    assert answer["error"] == ["", "digital silence", *["NaN or infinity among its samples"] * 2, ""]
    np.testing.assert_allclose(answer["probabilities"][[0, 4]], good["probabilities"][[0, 4]], atol=1e-6)
    assert not answer["probabilities"][1:4].any()
    assert {tag for row in answer["top_tags"][1:4] for tag in row} == {b""}
    embedded = ask(signatures, "embed", bad)
    assert embedded["error"] == answer["error"]
    assert not embedded["embedding"][1:4].any()
    for name in ("serving_default", "embed"):
        check_nothing(signatures, name, windows[:0])


def test_files_of_a_batch_do_not_influence_each_other(signatures, to_wav, tones):
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
    assert "not a WAV file" in together["error"][1] and "NaN" in together["error"][3]
    for number in (0, 2, 4):
        alone = ask(signatures, "wav", [files[number]])
        np.testing.assert_allclose(together["probabilities"][number], alone["probabilities"][0], atol=1e-6)
    assert not together["probabilities"][[1, 3]].any()
    check_nothing(signatures, "wav", np.array([], "S"))


def test_copies_of_a_file_are_scored_once():
    calls = tf.Variable(0)

    @tf.function
    def answer(audio):
        kinds = tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.string)
        return _one_by_one(lambda file: (calls.assign_add(1), file), audio, kinds)

    _, files = answer(tf.constant([b"b", b"a", b"b", b"b"]))
    assert (calls.numpy(), files.numpy().tolist()) == (2, [b"b", b"a", b"b", b"b"])
    assert answer(tf.constant([], tf.string))[1].shape == [0]


@pytest.mark.parametrize("rate", [12_000, 44_100])
def test_absurd_samples_are_refused(signatures, to_wav, windows, config, rate):
    """They are finite, but their spectrum is not, or they are clipped to something else."""
    for level, message in ((1e15, "samples above 2147483648"), (3e38, "NaN|samples above")):
        wav = to_wav(np.full((rate, 2), level), rate, "FLOAT")
        for name in ("wav", "taggram"):
            (error,) = ask(signatures, name, [wav])["error"]
            assert re.search(message, error), (name, level)
        (error,) = ask(signatures, "serving_default", np.full((1, config.window_samples), level, np.float32))["error"]
        assert "samples above 2147483648" in error


def test_every_bad_file_is_answered_and_the_next_request_works(signatures, to_wav, tones):
    samples = tones(16_000, 0.8)
    good = to_wav(samples, 16_000)
    expected = {
        b"": "not a WAV file",
        b"ID3" + bytes(500): "not a WAV file",
        good[:-50]: "truncated",
        to_wav(samples, 16_000, "PCM_U8"): "8-bit PCM",
        to_wav(samples, 16_000, "ALAW"): "compressed audio",
        to_wav(np.tile(samples, 9), 16_000): "9 channels",
        to_wav(samples, 1): "rate of 1 Hz",
        to_wav(samples[:0], 16_000): "no samples",
        to_wav(np.full((9000, 1), np.nan), 16_000, "FLOAT"): "NaN or infinity",
        to_wav(np.zeros((9000, 2)), 44_100): "digital silence",
        to_wav(np.full((9000, 1), 1e-6), 12_000, "FLOAT"): "digital silence",
    }
    for name in ("wav", "taggram"):
        before = ask(signatures, name, [good])
        answer = ask(signatures, name, list(expected))
        assert [part in error for part, error in zip(expected.values(), answer["error"], strict=True)] == [True] * 11
        assert not answer["probabilities"].any()
        np.testing.assert_array_equal(ask(signatures, name, [good])["probabilities"], before["probabilities"])


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [0.5, 0.4]), ("max", [0.9, 0.7])])
def test_windows_are_pooled_as_the_run_says(model, config, pooling, expected):
    pooled = config.model_copy(update={"window": config.window.model_copy(update={"pooling": pooling})})
    served = ServedTagger(model, pooled, ("rock", "jazz"))
    np.testing.assert_allclose(served._pool(tf.constant([[0.1, 0.7], [0.9, 0.1]])), expected, atol=1e-6)
    assert not served._pool(tf.zeros([0, 2])).numpy().any()


def test_a_wrong_shape_is_named(signatures, windows):
    for wrong in (windows[:, :100], windows[0]):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"waveform .* not compatible with expected .*\?,6000"):
            signatures["serving_default"](waveform=tf.constant(wrong))


def test_ties_go_to_the_earlier_tag_and_fewer_than_five_tags_are_all_named(model, config):
    served = ServedTagger(model, config, ("rock", "été, folk", "jazz"))
    answer = served._answer(tf.constant([[0.2, 0.7, 0.7], [0.5, 0.5, 0.5]]), tf.constant(["", "digital silence"]))
    names = [[name.decode() for name in row] for row in answer["top_tags"].numpy()]
    assert names == [["été, folk", "jazz", "rock"], ["", "", ""]]
    np.testing.assert_allclose(answer["top_scores"], [[0.7, 0.7, 0.2], [0, 0, 0]])


@pytest.mark.parametrize("size", [0, 1, 11_998, 12_002])
def test_pcm16_of_a_wrong_size_is_refused(signatures, windows, size):
    good = to_pcm16(windows[0].copy()).tobytes()
    answer = ask(signatures, "pcm16", [(good * 2)[:size], good])
    assert answer["error"] == [
        f"found {size} bytes, expected 12000: 6000 samples of 16-bit mono PCM at 12000 Hz",
        "",
    ]
    alone = ask(signatures, "pcm16", [good])
    np.testing.assert_allclose(answer["probabilities"][1], alone["probabilities"][0], atol=1e-6)
