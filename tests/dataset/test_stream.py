"""Clips decoded in the graph, compared with soundfile and soxr."""

import logging

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from facts import check_facts, expect_error

from genre_tagger.audio.decode import decode
from genre_tagger.dataset import stream
from genre_tagger.dataset.prepare import prepare
from genre_tagger.dataset.stream import decoding_errors, stream_dataset
from genre_tagger.errors import FieldError
from genre_tagger.sources.folder import FolderSource

RATE = 12_000


def magnitudes(waveform: np.ndarray) -> np.ndarray:
    """Return the magnitudes of the spectrum of the middle part. They do not depend on the delay of a resampler."""
    middle = waveform[len(waveform) // 4 : -len(waveform) // 4]
    return np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) / len(middle)


def halve(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_every_format_is_decoded_as_by_soundfile_and_soxr(music_folder):
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


def test_without_tensorflow_io_soundfile_decodes_everything(music_folder, monkeypatch, caplog):
    monkeypatch.setattr(stream, "HAS_TENSORFLOW_IO", False)
    source = FolderSource(music_folder)
    dataset, _ = stream_dataset(source, RATE)
    clips = dataset.splits["test"]
    paths = {clip.id: clip.path for clip in source.clips}
    (batch,) = clips.reader.load(clips.reader.entries(None)).take(1)
    assert np.array_equal(batch[0], decode(paths[clips.ids[0]], RATE))
    assert not warnings(caplog)


def test_unusable_files_are_listed_as_by_preparing(music_folder, tmp_path):
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


def warnings(caplog) -> list[str]:
    """Return the warnings of the module."""
    assert all(record.levelno == logging.WARNING for record in caplog.records if record.name == stream.__name__)
    return [record.getMessage() for record in caplog.records if record.name == stream.__name__]


def test_files_that_tensorflow_io_refuses_are_decoded_by_soundfile(music_folder, caplog):
    """Test a truncated WAV, MP3s with other bytes or zeros at their end, and 32-bit PCM. `prepare` accepts all of them.

    A file that tensorflow-io should have decoded is logged once, even if it is read several times.
    """
    halve(music_folder / "a1.wav")
    with (music_folder / "f1.mp3").open("r+b") as file:
        content = file.read()
        file.seek(0)
        # Omit the first frame, which has the number of frames.
        file.write(content[content.index(content[:2], 4) :] + bytes(5000))
    with (music_folder / "b2.mp3").open("ab") as file:
        file.write(b"no frame of an MP3" * 50)
    soundfile.write(music_folder / "d2.wav", np.full(48_000, 0.1), 48_000, subtype="PCM_32")
    source = FolderSource(music_folder)
    dataset, rejected = stream_dataset(source, RATE)
    assert rejected.empty
    paths = {clip.id: clip.path for clip in source.clips}
    loaded = {}
    for clips in [*dataset.splits.values()] * 2:
        for waveform, _, index in clips.reader.load(clips.reader.entries(None)):
            loaded[clips.ids[int(index)]] = waveform.numpy()
    for name in ("a1.wav", "b2.mp3", "d2.wav", "f1.mp3"):
        assert np.array_equal(loaded[name], decode(paths[name], RATE)), name
    assert len(loaded) == len(source.clips)
    refused = ("a1.wav", "b2.mp3", "f1.mp3") if stream.HAS_TENSORFLOW_IO else ()  # 32-bit PCM is never passed to it
    assert len(warnings(caplog)) == len(refused)
    for line, name in zip(sorted(warnings(caplog)), refused, strict=True):
        check_facts(line, f"{music_folder / name}: ", "tensorflow-io", "soundfile")


def test_a_split_without_usable_clips_is_refused(music_folder):
    for name in ("f1.mp3", "f2.wav", "sub/g1.wav"):
        (music_folder / name).unlink()
    with expect_error("split 'test'", "f1.mp3: "):
        stream_dataset(FolderSource(music_folder), RATE)


@pytest.mark.parametrize("with_tensorflow_io", [True, False])
def test_a_file_that_all_decoders_refuse_after_it_was_checked_is_an_error(
    music_folder, monkeypatch, with_tensorflow_io
):
    monkeypatch.setattr(stream, "HAS_TENSORFLOW_IO", with_tensorflow_io and stream.HAS_TENSORFLOW_IO)
    dataset, _ = stream_dataset(FolderSource(music_folder), RATE)
    (music_folder / "f2.wav").write_text("this is no audio")
    reader = dataset.splits["test"].reader
    with expect_error(music_folder / "f2.wav", kind=tf.errors.InvalidArgumentError), decoding_errors(stream=False):
        list(reader.load(reader.entries(None)))
    with expect_error("stream: ", music_folder / "f2.wav", kind=FieldError) as caught, decoding_errors(stream=True):
        list(reader.load(reader.entries(None)))
    assert caught.value.field == "stream"
    assert "\n" not in str(caught.value) and "ValueError" not in str(caught.value)
    assert isinstance(caught.value.__cause__, tf.errors.InvalidArgumentError)
    (music_folder / "f2.wav").unlink()
    with expect_error("stream: ", music_folder / "f2.wav", kind=FieldError), decoding_errors(stream=True):
        list(reader.load(reader.entries(None)))
