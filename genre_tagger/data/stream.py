"""Reads clips straight from their audio files, decoded in the graph, where nothing has been prepared."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from genre_tagger.data.archive import PackedFile
from genre_tagger.data.clips import SPLITS, Clip, Source
from genre_tagger.data.dataset import Dataset, LabelledClips
from genre_tagger.data.decode import MAX_SECONDS, PCM16_SCALE, Undecodable, decode, opened
from genre_tagger.data.records import data_hash
from genre_tagger.errors import UserError

HAS_TENSORFLOW_IO = find_spec("tensorflow_io") is not None
PCM32_SCALE = 2**31

# What tensorflow-io decodes correctly, by libsndfile's names of format and subtype (it fails on 32-bit PCM, say).
FORMATS = (
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
)
OTHER_FORMAT = -1
ROUNDED_SAMPLES = 2  # by which two resamplers may differ in length

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Probe:
    """What a usable file holds: which of FORMATS (or OTHER_FORMAT), its rate in Hz, its length."""

    format: int
    rate: int
    seconds: float


class StreamReader:
    """A `ClipReader` of audio files: tensorflow-io decodes and resamples in the graph.

    What it refuses or cuts short (the last frames of an MP3 with something behind them, say) goes through soundfile and
    soxr instead, and so does everything where it cannot be installed (Python 3.13 and later).
    """

    def __init__(self, clips: Sequence[Clip], probes: Sequence[Probe], sample_rate: int):
        self.num_clips = len(clips)
        self._sample_rate = sample_rate
        self._paths = tf.constant([str(clip.path) for clip in clips])
        self._formats = tf.constant([probe.format for probe in probes], tf.int32)
        self._rates = tf.constant([probe.rate for probe in probes], tf.int64)
        self._samples = tf.constant([round(probe.seconds * sample_rate) for probe in probes], tf.int32)
        self._labels = tf.constant(np.stack([clip.labels for clip in clips]), tf.float32)

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Numbers of clips, shuffled by a seed [2] or in order."""
        numbers = tf.range(self.num_clips, dtype=tf.int64)
        if seed is not None:
            numbers = tf.random.experimental.stateless_shuffle(numbers, seed)
        return tf.data.Dataset.from_tensor_slices(numbers)

    def load(self, numbers: tf.data.Dataset) -> tf.data.Dataset:
        """Decodes the files of the numbers."""
        return numbers.interleave(
            self._decoded, cycle_length=os.cpu_count(), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def _decoded(self, number):
        """The one clip of a number, by the first decoder that can: a dataset may fail and be followed by another."""
        entry = tf.data.Dataset.from_tensors(number)
        clip = entry.map(self._by_soundfile)
        if HAS_TENSORFLOW_IO:
            known = entry.filter(lambda number: self._formats[number] != OTHER_FORMAT)
            clip = known.map(self._by_tensorflow_io).filter(self._is_whole).ignore_errors().concatenate(clip).take(1)
        return clip

    def _is_whole(self, waveform, _labels, number):
        return tf.size(waveform) >= self._samples[number] - ROUNDED_SAMPLES

    def _by_tensorflow_io(self, number):
        waveform = decode_in_graph(self._paths[number], self._formats[number], self._rates[number], self._sample_rate)
        return waveform, self._labels[number], number

    def _by_soundfile(self, number):
        decode_file = partial(_decode_by_soundfile, sample_rate=self._sample_rate)
        waveform = tf.numpy_function(decode_file, [self._paths[number]], tf.float32)
        return tf.ensure_shape(waveform, [None]), self._labels[number], number


def stream_dataset(
    source: Source, sample_rate: int, on_progress: OnProgress | None = None
) -> tuple[Dataset, pd.DataFrame]:
    """The dataset of a source's audio files as they are, and a table of the clips left out: id, path, reason.

    Each file is decoded once here as preparing does it, a tenth of the time that tensorflow-io takes for it in every
    epoch, so that what is left out is the same, with the same reasons.

    Args:
        source: yields the clips.
        sample_rate: that they are decoded to, in Hz.
        on_progress: called with the number of files judged and of all.

    Raises:
        UserError: a split has no usable clip, or clips lie in an archive, which no op of the graph reads.
    """
    if any(isinstance(clip.path, PackedFile) for clip in source.clips):
        raise UserError("--stream: found clips in an archive, expected audio files; unpack it, or leave --stream out")
    probes = dict(zip((clip.id for clip in source.clips), _probe_all(source, sample_rate, on_progress), strict=True))
    reasons = [(clip.id, clip.path, probe) for clip in source.clips if isinstance(probe := probes[clip.id], str)]
    rejected = pd.DataFrame(reasons, columns=["id", "path", "reason"])
    usable = [clip for clip in source.clips if isinstance(probes[clip.id], Probe)]
    splits = {}
    for split in SPLITS:
        clips = [clip for clip in usable if clip.split == split]
        if not clips:
            first = "".join(f"; {name}: {reason}" for name, _, reason in reasons[:1])
            raise UserError(f"split {split!r}: expected clips that can be decoded, found none{first}")
        splits[split] = _labelled(clips, [probes[clip.id] for clip in clips], sample_rate)
    return Dataset(source.tags, data_hash(source, sample_rate), splits, source.protocol), rejected


def decode_in_graph(path: tf.Tensor, file_format: tf.Tensor, rate: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """One file as mono float32 [samples] at `sample_rate`, as an op of the graph.

    Args:
        path: string.
        file_format: int32, index into FORMATS.
        rate: int64, the file's own, in Hz.
        sample_rate: of the result, in Hz.
    """
    import tensorflow_io as tfio  # loads its library at import: only where it is used

    content = tf.io.read_file(path)
    channels = tf.switch_case(file_format, [_decoder(content, *names) for names in FORMATS])
    mono = tf.reduce_mean(channels, axis=-1, keepdims=True)
    # Its filter delays by a millisecond or two, which no tag depends on.
    resampled = tf.cond(rate == sample_rate, lambda: mono, lambda: tfio.audio.resample(mono, rate, sample_rate))
    return tf.ensure_shape(resampled, [None, 1])[:, 0]


def _decode_by_soundfile(path: bytes, sample_rate: int) -> np.ndarray:
    name = np.asarray(path).item().decode()
    try:
        return decode(Path(name), sample_rate)
    except Undecodable as error:  # as a ValueError it becomes the error that tensorflow-io's decoders raise
        raise ValueError(f"{error} ({name})") from None


def _decoder(content: tf.Tensor, name: str, subtype: str):
    """A function that decodes a file's content to float32 [samples, channels]."""
    import tensorflow_io as tfio

    if name == "MP3":
        return lambda: tfio.audio.decode_mp3(content)
    if name == "OGG":
        return lambda: tfio.audio.decode_vorbis(content)
    decoder = tfio.audio.decode_wav if name == "WAV" else tfio.audio.decode_flac
    dtype, scale = {"PCM_16": (tf.int16, PCM16_SCALE), "PCM_24": (tf.int32, PCM32_SCALE)}.get(subtype, (tf.float32, 1))
    return lambda: tf.cast(decoder(content, dtype=dtype), tf.float32) / scale


def _probe_all(source: Source, sample_rate: int, on_progress: OnProgress | None) -> list[Probe | str]:
    probes = []
    probe_clip = partial(_probe, sample_rate=sample_rate, min_seconds=source.min_seconds)
    with ThreadPoolExecutor() as pool:
        for probe in pool.map(probe_clip, source.clips):
            probes.append(probe)
            if on_progress:
                on_progress(len(probes), len(source.clips))
    return probes


def _probe(clip: Clip, sample_rate: int, min_seconds: float) -> Probe | str:
    """What the file holds, or the reason why it cannot be used."""
    try:
        seconds = len(decode(clip.path, sample_rate, min_seconds, MAX_SECONDS)) / sample_rate
    except Undecodable as reason:
        return str(reason)
    with opened(clip.path) as file:
        names = ("WAV" if file.format == "WAVEX" else file.format, file.subtype)
        return Probe(FORMATS.index(names) if names in FORMATS else OTHER_FORMAT, file.samplerate, seconds)


def _labelled(clips: list[Clip], probes: list[Probe], sample_rate: int) -> LabelledClips:
    return LabelledClips(
        reader=StreamReader(clips, probes, sample_rate),
        numbers=np.arange(len(clips)),
        ids=[clip.id for clip in clips],
        groups=np.array([clip.group for clip in clips]),
        seconds=np.array([probe.seconds for probe in probes]),
        labels=np.stack([clip.labels for clip in clips]),
    )
