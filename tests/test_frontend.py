"""The log-mel layer compared with librosa: eagerly, in tf.data and in fit, at several rates and band counts."""

import keras
import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from facts import expect_error
from keras import ops

from genre_tagger.frontend import LogMelSpectrogram

RATES = (12_000, 16_000, 22_050)
BANDS = (64, 96, 128)
SOUNDS = ("real_music", "synthetic_music", "white_noise", "tones")
SECONDS = 2.0
SETTINGS = {
    "sample_rate": 16_000,
    "n_fft": 400,
    "hop_length": 160,
    "n_mels": 40,
    "fmin_hz": 30.0,
    "fmax_hz": 7_000.0,
    "mel_exponent": 1.0,
    "amin": 1e-8,
    "top_db": 60.0,
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Empty filters detected"),  # 128 bands, 512 samples, 22.05 kHz
    pytest.mark.filterwarnings("ignore:The model does not have any trainable weights"),
]


def real_music(rate, path):
    audio, found_rate = soundfile.read(path, dtype="float32")
    middle = len(audio) // 2
    clips = [audio[start : start + int(SECONDS * found_rate)] for start in (0, middle)]  # almost silent, then loud
    return np.stack([librosa.resample(clip, orig_sr=found_rate, target_sr=rate) for clip in clips])


def synthetic_music(rate):
    """Return two clips of decaying harmonic notes. The second is quiet."""
    time = np.arange(int(SECONDS * rate)) / rate
    audio = np.zeros_like(time)
    for onset, pitch_hz in enumerate((220.0, 277.2, 329.6, 440.0, 164.8, 246.9, 523.3, 110.0)):
        since = time - onset * SECONDS / 8
        note = sum(np.sin(2 * np.pi * pitch_hz * k * since) / k for k in range(1, 9) if pitch_hz * k < rate / 2)
        audio += np.where(since >= 0, np.exp(-3 * np.maximum(since, 0)), 0) * note
    audio *= 0.5 / np.abs(audio).max()
    return np.stack([audio, 0.01 * audio[::-1]]).astype("float32")


def white_noise(rate):
    return np.random.default_rng(0).uniform(-0.8, 0.8, (2, int(SECONDS * rate))).astype("float32")


def tones(rate):
    time = np.arange(int(SECONDS * rate)) / rate
    return np.stack([np.sin(2 * np.pi * hertz * time) for hertz in (440.0, rate / 8)]).astype("float32")


@pytest.fixture
def make_sound(request):
    """Return a function of a kind of sound and a rate in hertz that returns two clips, float32 [2, samples]."""

    def make(kind, rate):
        if kind == "real_music":
            return real_music(rate, request.getfixturevalue("real_mp3"))
        return {"synthetic_music": synthetic_music, "white_noise": white_noise, "tones": tones}[kind](rate)

    return make


def librosa_log_mel(waveform, rate=12_000, n_mels=96, mel_exponent=2, top_db=80.0):
    """Compute log-mel spectrograms [batch, frames, mels] with librosa and the published settings, clip by clip."""
    clips = []
    for clip in waveform:
        mel = librosa.feature.melspectrogram(y=clip, sr=rate, n_fft=512, hop_length=256, n_mels=n_mels)
        clips.append(librosa.power_to_db(mel**mel_exponent, ref=1.0, amin=1e-10, top_db=top_db).T)
    return np.stack(clips)


def worst(actual, expected):
    assert actual.shape == expected.shape
    return np.abs(np.asarray(actual) - expected).max()


@pytest.mark.parametrize("kind", SOUNDS)
@pytest.mark.parametrize("n_mels", BANDS)
@pytest.mark.parametrize("rate", RATES)
def test_equals_librosa_with_the_clamp(rate, n_mels, kind, make_sound):
    waveform = make_sound(kind, rate)
    actual = LogMelSpectrogram(sample_rate=rate, n_mels=n_mels)(waveform)
    assert worst(actual, librosa_log_mel(waveform, rate, n_mels)) <= 1e-3


@pytest.mark.parametrize("kind", SOUNDS)
@pytest.mark.parametrize("n_mels", BANDS)
@pytest.mark.parametrize("rate", RATES)
def test_equals_librosa_without_the_clamp(rate, n_mels, kind, make_sound):
    waveform = make_sound(kind, rate)
    actual = LogMelSpectrogram(sample_rate=rate, n_mels=n_mels, top_db=None)(waveform)
    error = np.abs(np.asarray(actual) - librosa_log_mel(waveform, rate, n_mels, top_db=None))
    assert error.max() <= 5e-3
    if kind != "tones":
        assert np.mean(error <= 1e-3) >= 0.999


@pytest.mark.parametrize("kind", ["real_music", "synthetic_music", "white_noise"])
@pytest.mark.parametrize("rate", RATES)
def test_equals_librosa_with_the_plain_power_spectrogram(rate, kind, make_sound):
    waveform = make_sound(kind, rate)
    actual = LogMelSpectrogram(sample_rate=rate, mel_exponent=1)(waveform)
    assert worst(actual, librosa_log_mel(waveform, rate, mel_exponent=1)) <= 1e-3


def test_equals_librosa_with_every_setting_changed():
    rate = SETTINGS["sample_rate"]
    clip = synthetic_music(rate)[0]
    mel = librosa.feature.melspectrogram(y=clip, sr=rate, n_fft=400, hop_length=160, n_mels=40, fmin=30.0, fmax=7_000.0)
    expected = librosa.power_to_db(mel, ref=1.0, amin=1e-8, top_db=60.0).T[None]
    assert worst(LogMelSpectrogram(**SETTINGS)(clip[None]), expected) <= 1e-3


@pytest.mark.parametrize("dft", ["fft", "conv"])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("kind", SOUNDS)
def test_equals_librosa_with_log10_compression(kind, center, dft, make_sound):
    waveform = make_sound(kind, 16_000)
    layer = LogMelSpectrogram(sample_rate=16_000, center=center, mel_exponent=1, compression="log10", dft=dft)
    mel = librosa.feature.melspectrogram(y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96, center=center)
    assert worst(layer(waveform), np.log10(10_000 * mel + 1).swapaxes(1, 2)) <= 2e-4


@pytest.mark.parametrize("samples", [512, 767, 768])
def test_uncentred_frames_lie_inside_the_samples(samples):
    layer = LogMelSpectrogram(center=False)
    expected = (1, 1 + (samples - 512) // 256, 96)
    assert layer(np.zeros((1, samples), "float32")).shape == expected
    assert layer.compute_output_shape((1, samples)) == expected


@pytest.mark.parametrize("kind", SOUNDS)
def test_equals_librosa_inside_tf_data(kind, make_sound):
    rate = 16_000
    waveform = make_sound(kind, rate)
    dataset = tf.data.Dataset.from_tensor_slices(waveform).batch(1).map(LogMelSpectrogram(sample_rate=rate))
    actual = np.concatenate(list(dataset.as_numpy_iterator()))
    assert worst(actual, librosa_log_mel(waveform, rate)) <= 1e-3


@pytest.fixture
def precision():
    """Return a function that sets the global precision policy for one test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("top_db, tolerance", [(80.0, 1e-3), (None, 5e-3)])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_equals_librosa_under_fit(policy, top_db, tolerance, precision):
    precision(policy)
    waveform = np.concatenate([synthetic_music(12_000), white_noise(12_000), tones(12_000)])
    expected = librosa_log_mel(waveform, top_db=top_db)
    inputs = keras.Input(waveform.shape[1:])
    model = keras.Model(inputs, LogMelSpectrogram(top_db=top_db)(inputs))
    model.compile(optimizer="sgd", loss=lambda y_true, y_pred: ops.max(ops.abs(y_true - y_pred)))
    history = model.fit(waveform, expected, batch_size=len(waveform), verbose=0)
    assert history.history["loss"][0] <= tolerance
    assert model.output.dtype == "float32"
    output = model.predict(waveform, verbose=0)
    assert output.dtype == np.float32
    assert worst(output, expected) <= tolerance


def test_published_shape_and_values():
    samples = round(29.12 * 12_000)
    waveform = np.random.default_rng(1).normal(0, 0.1, (1, samples)).astype("float32")
    log_mel = LogMelSpectrogram()(waveform)
    assert log_mel.shape == (1, 1366, 96)
    assert worst(log_mel, librosa_log_mel(waveform)) <= 1e-3


@pytest.mark.parametrize("samples", [512, 2559, 2560, 2561])
def test_there_is_one_more_frame_than_whole_hops(samples):
    layer = LogMelSpectrogram()
    expected = (1, 1 + samples // 256, 96)
    assert layer(np.zeros((1, samples), "float32")).shape == expected
    assert layer.compute_output_shape((1, samples)) == expected
    assert layer.compute_output_shape((None, None)) == (None, None, 96)


def test_clamp_is_per_clip():
    quiet = 1e-3 * white_noise(12_000)[:1]
    loud = 1e3 * tones(12_000)[:1]
    layer = LogMelSpectrogram(top_db=80.0)
    alone, in_batch = layer(quiet)[0], layer(np.concatenate([quiet, loud]))[0]
    np.testing.assert_allclose(in_batch, alone, atol=1e-4)
    assert ops.max(alone) < ops.max(layer(loud)) - 80.0  # a clamp over the whole batch would flatten the quiet clip


def test_clamp_spans_top_db():
    log_mel = np.asarray(LogMelSpectrogram(top_db=30.0)(tones(12_000)))
    np.testing.assert_allclose(log_mel.max((1, 2)) - log_mel.min((1, 2)), 30.0, atol=1e-4)


def test_filters_follow_the_sample_rate():
    """The same samples at another rate have another pitch, and the loudest band must be the one at that pitch."""
    rate_hz, tone_hz = 12_000, 1_000.0
    waveform = np.sin(2 * np.pi * tone_hz / rate_hz * np.arange(24_000)).astype("float32")[None]
    for rate in RATES:
        centres_hz = librosa.mel_frequencies(98, fmin=0.0, fmax=rate / 2)[1:-1]
        band = int(np.argmax(LogMelSpectrogram(sample_rate=rate)(waveform)[0, 40]))
        assert abs(centres_hz[band] - tone_hz * rate / rate_hz) <= rate / 512  # one Fourier bin


def test_digital_silence_has_the_lowest_level():
    np.testing.assert_allclose(LogMelSpectrogram()(np.zeros((2, 4_000), "float32")), -100.0, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["published", "other"])
def test_convolution_equals_the_fourier_transform(settings):
    """`dft="conv"` is the form for runtimes without an FFT."""
    rate_hz = settings.get("sample_rate", 12_000)
    for waveform in (synthetic_music(rate_hz), white_noise(rate_hz)):
        by_fft = LogMelSpectrogram(**settings)(waveform)
        np.testing.assert_allclose(LogMelSpectrogram(**settings, dft="conv")(waveform), by_fft, atol=2e-3)


def test_dtype_argument_cannot_lower_the_precision():
    layer = LogMelSpectrogram(dtype="mixed_float16")
    assert layer(white_noise(12_000)).dtype == tf.float32


@pytest.mark.parametrize("changes", [{}, {"center": False, "compression": "log10"}])
def test_configuration_round_trip(changes):
    layer = LogMelSpectrogram(**SETTINGS, **changes, name="front")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (SETTINGS | changes).items() <= copy.get_config().items()
    np.testing.assert_array_equal(copy(white_noise(16_000)), layer(white_noise(16_000)))


def test_save_and_load(tmp_path):
    waveform = synthetic_music(16_000)
    model = keras.Sequential([keras.Input(waveform.shape[1:]), LogMelSpectrogram(**SETTINGS)])
    model.save(tmp_path / "front.keras")
    loaded = keras.models.load_model(tmp_path / "front.keras")
    np.testing.assert_array_equal(loaded.predict(waveform, verbose=0), model.predict(waveform, verbose=0))


def test_unknown_transform_or_compression_is_rejected():
    with expect_error("dft", "'dct'", "fft", "conv", kind=ValueError):
        LogMelSpectrogram(dft="dct")
    with expect_error("compression", "'ln'", "db", "log10", kind=ValueError):
        LogMelSpectrogram(compression="ln")
