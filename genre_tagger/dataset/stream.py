"""Read clips directly from their audio files, decoded in the graph, without preparing them."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from genre_tagger.audio.archive import PackedFile
from genre_tagger.audio.decode import MAX_SECONDS, PCM16_SCALE, Undecodable, decode, opened
from genre_tagger.dataset.dataset import Dataset, LabelledClips
from genre_tagger.dataset.prepare import data_hash
from genre_tagger.errors import FieldError, UserError
from genre_tagger.progress import progress
from genre_tagger.sources.clips import SPLITS, Clip, Source

_logger = logging.getLogger(__name__)

HAS_TENSORFLOW_IO = find_spec("tensorflow_io") is not None
PCM32_SCALE = 2**31

# Formats that tensorflow-io decodes correctly, with libsndfile's names of format and subtype. It fails on 32-bit PCM,
# for example.
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
ROUNDED_SAMPLES = 2  # largest difference in length between two resamplers, in samples


@dataclass(frozen=True)
class Probe:
    """Properties of a usable file.

    Attributes:
        format: index into FORMATS, or OTHER_FORMAT.
        rate: sample rate in Hz.
        seconds: length in seconds.
    """

    format: int
    rate: int
    seconds: float


class StreamReader:
    """A `ClipReader` of audio files. tensorflow-io decodes and resamples them in the graph.

    soundfile and soxr decode the files that tensorflow-io refuses or truncates, such as an MP3 that is followed by
    other data. A warning is logged once per such file. If tensorflow-io is not installed (it does not support Python
    3.13 and later), soundfile and soxr decode all files.

    Args:
        clips: the clips of one split, with audio on disk.
        probes: properties of the file of each clip.
        sample_rate: sample rate of the result, in Hz.
    """

    def __init__(self, clips: Sequence[Clip], probes: Sequence[Probe], sample_rate: int):
        self.num_clips = len(clips)
        self._sample_rate = sample_rate
        self._paths = tf.constant([str(clip.path) for clip in clips])
        self._formats = tf.constant([probe.format for probe in probes], tf.int32)
        self._rates = tf.constant([probe.rate for probe in probes], tf.int64)
        self._samples = tf.constant([round(probe.seconds * sample_rate) for probe in probes], tf.int32)
        self._labels = tf.constant(np.stack([clip.labels for clip in clips]), tf.float32)
        self._reported: set[str] = set()

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Return a dataset of clip numbers, in order or shuffled by a seed [2]."""
        numbers = tf.range(self.num_clips, dtype=tf.int64)
        if seed is not None:
            numbers = tf.random.experimental.stateless_shuffle(numbers, seed)
        return tf.data.Dataset.from_tensor_slices(numbers)

    def load(self, entries: tf.data.Dataset) -> tf.data.Dataset:
        """Decode the files with these numbers."""
        return entries.interleave(
            self._decoded, cycle_length=os.cpu_count(), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    def _decoded(self, number: tf.Tensor) -> tf.data.Dataset:
        """Return a dataset of the one clip with this number, from the first decoder that succeeds."""
        entry = tf.data.Dataset.from_tensors(number)
        clip = entry.map(self._by_soundfile)
        if HAS_TENSORFLOW_IO:
            known = entry.filter(lambda number: self._formats[number] != OTHER_FORMAT)
            clip = known.map(self._by_tensorflow_io).filter(self._is_whole)
            # If a decoder fails, its dataset is empty, so that the next one takes its place. TensorFlow logs the error
            # as a warning of its own, which TF_CPP_MIN_LOG_LEVEL=3 hides.
            clip = clip.ignore_errors(log_warning=True).concatenate(entry.map(self._by_soundfile)).take(1)
        return clip

    def _is_whole(self, waveform: tf.Tensor, _labels: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        return tf.size(waveform) >= self._samples[number] - ROUNDED_SAMPLES

    def _by_tensorflow_io(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        waveform = decode_in_graph(self._paths[number], self._formats[number], self._rates[number], self._sample_rate)
        return waveform, self._labels[number], number

    def _by_soundfile(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        is_second_choice = tf.constant(HAS_TENSORFLOW_IO) & (self._formats[number] != OTHER_FORMAT)
        waveform = tf.numpy_function(self._decode_by_soundfile, [self._paths[number], is_second_choice], tf.float32)
        return tf.ensure_shape(waveform, [None]), self._labels[number], number

    def _decode_by_soundfile(self, path: bytes, is_second_choice: bool) -> np.ndarray:
        name = os.fsdecode(np.asarray(path).item())
        if is_second_choice and name not in self._reported:
            self._reported.add(name)
            _logger.warning("%s: tensorflow-io cannot decode all of it; soundfile decodes it instead", name)
        try:
            return decode(Path(name), self._sample_rate)
        except Undecodable as error:  # TensorFlow turns a ValueError into an InvalidArgumentError
            raise ValueError(f"{error} ({name})") from error


def stream_dataset(source: Source, sample_rate: int) -> tuple[Dataset, pd.DataFrame]:
    """Return the dataset of a source's audio files, and a table of rejected clips.

    Each file is decoded once here, in the same way as for preparing, so that the same clips are rejected for the same
    reasons. This takes a tenth of the time that tensorflow-io needs for one epoch.

    Args:
        source: source of the clips.
        sample_rate: sample rate that the files are decoded to, in Hz.

    Returns:
        The dataset, and a table with the columns `id`, `path` and `reason`.

    Raises:
        UserError: a split has no usable clip, or the clips are in an archive, which the graph cannot read.
    """
    if any(isinstance(clip.path, PackedFile) for clip in source.clips):
        raise FieldError("stream", "found clips in an archive, expected audio files; unpack it, or do not stream")
    probes = dict(zip((clip.id for clip in source.clips), _probe_all(source, sample_rate), strict=True))
    reasons = [(clip.id, clip.path, probe) for clip in source.clips if isinstance(probe := probes[clip.id], str)]
    rejected = pd.DataFrame(reasons, columns=["id", "path", "reason"])
    usable = {name: probe for name, probe in probes.items() if isinstance(probe, Probe)}
    splits = {}
    for split in SPLITS:
        clips = [clip for clip in source.clips if clip.split == split and clip.id in usable]
        if not clips:
            first = "".join(f"; {name}: {reason}" for name, _, reason in reasons[:1])
            raise UserError(f"split {split!r}: found no clip that can be decoded, expected some{first}")
        splits[split] = _labelled(clips, [usable[clip.id] for clip in clips], sample_rate)
    return Dataset(source.tags, data_hash(source, sample_rate), splits, source.protocol), rejected


@contextmanager
def decoding_errors(stream: bool) -> Iterator[None]:
    """Turn the error of a decoder in the graph into a FieldError.

    Args:
        stream: whether audio files are decoded in the graph. If not, errors pass through.

    Raises:
        FieldError: a file that could be decoded when it was checked cannot be decoded any more.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if not stream:
            raise
        reason = error.message.split("ValueError: ", maxsplit=1)[-1].splitlines()[0]
        raise FieldError(
            "stream", f"a file can no longer be decoded: {reason}; rerun the command to check all files and resume"
        ) from error


def decode_in_graph(path: tf.Tensor, file_format: tf.Tensor, rate: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """Decode one file to mono with ops of the graph.

    Args:
        path: path of the file, a string.
        file_format: index into FORMATS, int32.
        rate: sample rate of the file in Hz, int64.
        sample_rate: sample rate of the result, in Hz.

    Returns:
        float32 [samples].
    """
    import tensorflow_io as tfio  # the import loads a large library, so it waits until it is needed

    content = tf.io.read_file(path)
    channels = tf.switch_case(file_format, [_decoder(content, *names) for names in FORMATS])
    mono = tf.reduce_mean(channels, axis=-1, keepdims=True)
    # The resampling filter of tensorflow-io adds a delay of one or two milliseconds, which does not matter for tags.
    resampled = tf.cond(rate == sample_rate, lambda: mono, lambda: tfio.audio.resample(mono, rate, sample_rate))
    return tf.ensure_shape(resampled, [None, 1])[:, 0]


def _decoder(content: tf.Tensor, name: str, subtype: str) -> Callable[[], tf.Tensor]:
    """Return a function that decodes the content of a file to float32 [samples, channels]."""
    import tensorflow_io as tfio

    if name == "MP3":
        return lambda: tfio.audio.decode_mp3(content)
    if name == "OGG":
        return lambda: tfio.audio.decode_vorbis(content)
    decoder = tfio.audio.decode_wav if name == "WAV" else tfio.audio.decode_flac
    dtype, scale = {"PCM_16": (tf.int16, PCM16_SCALE), "PCM_24": (tf.int32, PCM32_SCALE)}.get(subtype, (tf.float32, 1))
    return lambda: tf.cast(decoder(content, dtype=dtype), tf.float32) / scale


def _probe_all(source: Source, sample_rate: int) -> list[Probe | str]:
    probes: list[Probe | str] = []
    probe_clip = partial(_probe, sample_rate=sample_rate, min_seconds=source.min_seconds)
    with progress("checking files") as update, ThreadPoolExecutor() as pool:
        for probe in pool.map(probe_clip, source.clips):
            probes.append(probe)
            update(len(probes), len(source.clips))
    return probes


def _probe(clip: Clip, sample_rate: int, min_seconds: float) -> Probe | str:
    """Return the properties of a file, or the reason why it cannot be used."""
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
