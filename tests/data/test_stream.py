"""Clips decoded in the graph against soundfile and soxr."""

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf

from genre_tagger.data import stream
from genre_tagger.data.decode import decode
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.records import prepare
from genre_tagger.data.stream import stream_dataset
from genre_tagger.errors import UserError

RATE = 12_000


def magnitudes(waveform: np.ndarray) -> np.ndarray:
    """Spectrum of the clip's middle: tensorflow-io's resampler delays, which a magnitude does not see."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    return np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) / len(middle)


def halve(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_every_format_decodes_as_soundfile_and_soxr_do(music_folder):
    source = FolderSource(music_folder)
    dataset, rejected = stream_dataset(source, RATE)
    assert rejected.empty
    paths = {clip.id: clip.path for clip in source.clips}
    for clips in dataset.splits.values():
        for name, number in zip(clips.ids, clips.numbers, strict=True):
            entry = tf.data.Dataset.from_tensors(tf.constant(number, tf.int64))
            ((waveform, labels, index),) = clips.reader.load(entry)
            expected = decode(paths[name], RATE)
            assert abs(len(waveform) - len(expected)) <= 2, name
            size = min(len(waveform), len(expected))
            difference = magnitudes(waveform.numpy()[:size]) - magnitudes(expected[:size])
            assert np.abs(difference).max() < 0.05 * magnitudes(expected).max(), name
            assert np.array_equal(labels, clips.labels[number])
            assert index == number


@pytest.mark.skipif(not stream.HAS_TENSORFLOW_IO, reason="tensorflow-io has no wheel for this Python")
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
    (batch,) = clips.reader.load(clips.reader.entries(None)).take(1)
    assert np.array_equal(batch[0], decode(paths[clips.ids[0]], RATE))


def test_files_that_cannot_be_used_are_listed_as_by_preparing(music_folder, tmp_path):
    (music_folder / "a1.wav").write_text("this is no audio")
    (music_folder / "b2.mp3").unlink()
    soundfile.write(music_folder / "c1.wav", np.ones(100), 12_000)
    soundfile.write(music_folder / "d2.wav", np.full(12_000, np.nan, np.float32), 12_000, subtype="FLOAT")
    soundfile.write(music_folder / "f2.wav", np.zeros(12_000), 12_000)
    halve(music_folder / "a2.flac")
    source = FolderSource(music_folder)
    dataset, rejected = stream_dataset(source, RATE)
    assert set(rejected["id"]) == {"a1.wav", "b2.mp3", "c1.wav", "d2.wav", "f2.wav", "a2.flac"}
    prepare(source, RATE, tmp_path / "prepared", workers=1)
    listed = pd.read_csv(tmp_path / "prepared/rejected.csv")
    assert dict(zip(rejected["id"], rejected["reason"], strict=True)) == dict(
        zip(listed["id"], listed["reason"], strict=True)
    )
    assert dataset.splits["train"].ids == ["b1.ogg", "c2.mp3"]


def test_what_tensorflow_io_refuses_is_decoded_by_soundfile(music_folder):
    """A WAV cut short, MP3s with foreign bytes or zeros at their end, 32-bit PCM: prepared, they would be used."""
    halve(music_folder / "a1.wav")
    with (music_folder / "f1.mp3").open("r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(content[content.index(content[:2], 4) :] + bytes(5000))  # its first frame told how many there are
    with (music_folder / "b2.mp3").open("ab") as file:
        file.write(b"no frame of an MP3" * 50)
    soundfile.write(music_folder / "d2.wav", np.full(48_000, 0.1), 48_000, subtype="PCM_32")
    source = FolderSource(music_folder)
    dataset, rejected = stream_dataset(source, RATE)
    assert rejected.empty
    paths = {clip.id: clip.path for clip in source.clips}
    loaded = {}
    for clips in dataset.splits.values():
        for waveform, _, index in clips.reader.load(clips.reader.entries(None)):
            loaded[clips.ids[int(index)]] = waveform.numpy()
    for name in ("a1.wav", "b2.mp3", "d2.wav", "f1.mp3"):
        assert np.array_equal(loaded[name], decode(paths[name], RATE)), name
    assert len(loaded) == len(source.clips)


def test_a_split_without_usable_clips_is_refused(music_folder):
    for name in ("f1.mp3", "f2.wav", "sub/g1.wav"):
        (music_folder / name).unlink()
    with pytest.raises(UserError, match=r"split 'test': expected clips .* found none"):
        stream_dataset(FolderSource(music_folder), RATE)


def test_a_file_that_breaks_after_it_was_checked_is_named(music_folder):
    dataset, _ = stream_dataset(FolderSource(music_folder), RATE)
    (music_folder / "f2.wav").write_text("this is no audio")
    reader = dataset.splits["test"].reader
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"f2\.wav"):
        list(reader.load(reader.entries(None)))
