"""Clips decoded in the graph against soundfile and soxr."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from genre_tagger.data import stream
from genre_tagger.data.decode import decode
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.stream import stream_dataset
from genre_tagger.errors import UserError

RATE = 12_000


def magnitudes(waveform: np.ndarray) -> np.ndarray:
    """Spectrum of the clip's middle: tensorflow-io's resampler delays, which a magnitude does not see."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    return np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) / len(middle)


def test_every_format_decodes_as_soundfile_and_soxr_do(music_folder):
    source = FolderSource(music_folder)
    dataset, rejected = stream_dataset(source, RATE)
    assert rejected.empty
    paths = {clip.id: clip.path for clip in source.clips}
    for clips in dataset.splits.values():
        for name, number in zip(clips.ids, clips.numbers, strict=True):
            waveform, labels, index = clips.reader.load(tf.constant(number))
            expected = decode(paths[name], RATE)
            assert abs(len(waveform) - len(expected)) <= 2, name
            size = min(len(waveform), len(expected))
            difference = magnitudes(waveform.numpy()[:size]) - magnitudes(expected[:size])
            assert np.abs(difference).max() < 0.05 * magnitudes(expected).max(), name
            assert np.array_equal(labels, clips.labels[number])
            assert index == number


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_depths_of_wav_keep_their_scale(tmp_path, subtype):
    times = np.arange(RATE) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 440 * times)
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.stack([tone, tone / 2], axis=1), RATE, subtype=subtype)
    number = stream.FORMATS.index(("WAV", subtype))
    waveform = stream.decode_in_graph(
        tf.constant(str(path)), tf.constant(number), tf.constant(RATE, tf.int64), RATE
    ).numpy()
    assert np.abs(waveform - 0.75 * tone).max() < 2e-4


def test_the_same_audio_without_tensorflow_io(music_folder, monkeypatch):
    monkeypatch.setattr(stream, "HAS_TENSORFLOW_IO", False)
    source = FolderSource(music_folder)
    dataset, _ = stream_dataset(source, RATE)
    clips = dataset.splits["test"]
    paths = {clip.id: clip.path for clip in source.clips}
    (batch,) = clips.reader.entries(None).map(clips.reader.load).take(1)
    assert np.array_equal(batch[0], decode(paths[clips.ids[0]], RATE))


def test_files_that_cannot_be_used_are_listed_and_the_rest_goes_on(music_folder):
    (music_folder / "a1.wav").write_text("this is no audio")
    (music_folder / "b2.mp3").unlink()
    soundfile.write(music_folder / "c1.wav", np.ones(100), 12_000)
    soundfile.write(music_folder / "d2.wav", np.full(48_000, 0.1), 48_000, subtype="PCM_32")
    dataset, rejected = stream_dataset(FolderSource(music_folder), RATE)
    reasons = dict(zip(rejected["id"], rejected["reason"], strict=True))
    assert set(reasons) == {"a1.wav", "b2.mp3", "c1.wav", "d2.wav"}
    assert reasons["a1.wav"] == "cannot be decoded: no header of an audio file in it"
    assert reasons["b2.mp3"] == "no such file or directory"
    assert "shorter than 0.1 s" in reasons["c1.wav"]
    assert "WAV PCM_32" in reasons["d2.wav"]
    assert dataset.splits["train"].ids == ["a2.flac", "b1.ogg", "c2.mp3"]


def test_a_split_without_usable_clips_is_refused(music_folder):
    for name in ("f1.mp3", "f2.wav", "sub/g1.wav"):
        (music_folder / name).unlink()
    with pytest.raises(UserError, match=r"split 'test': expected clips .* found none"):
        stream_dataset(FolderSource(music_folder), RATE)


def test_nan_in_a_file_is_named(music_folder):
    soundfile.write(music_folder / "f2.wav", np.full(12_000, np.nan, np.float32), 12_000, subtype="FLOAT")
    dataset, _ = stream_dataset(FolderSource(music_folder), RATE)
    reader = dataset.splits["test"].reader
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"f2\.wav"):
        list(reader.entries(None).map(reader.load))
