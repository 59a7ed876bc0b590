"""Reads clips straight from their audio files, decoded in the graph, where nothing has been prepared."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import tensorflow as tf

from genre_tagger.data.clips import SPLITS, Clip, Source
from genre_tagger.data.dataset import Dataset, LabelledClips
from genre_tagger.data.decode import MIN_SECONDS, PCM16_SCALE, Undecodable, decode
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


@dataclass(frozen=True)
class Probe:
    """What the header of a file says: which of FORMATS, and its rate in Hz."""

    format: int
    rate: int


class StreamReader:
    """A `ClipReader` of audio files: tensorflow-io decodes and resamples in the graph.

    Where tensorflow-io cannot be installed (Python 3.13 and later), soundfile and soxr do the same behind the graph.
    """

    def __init__(self, clips: Sequence[Clip], probes: Sequence[Probe], sample_rate: int):
        self.num_clips = len(clips)
        self._sample_rate = sample_rate
        self._paths = tf.constant([str(clip.path) for clip in clips])
        self._formats = tf.constant([probe.format for probe in probes], tf.int32)
        self._rates = tf.constant([probe.rate for probe in probes], tf.int64)
        self._labels = tf.constant(np.stack([clip.labels for clip in clips]), tf.float32)

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Numbers of clips, shuffled by a seed [2] or in order."""
        numbers = tf.range(self.num_clips, dtype=tf.int64)
        if seed is not None:
            numbers = tf.random.experimental.stateless_shuffle(numbers, seed)
        return tf.data.Dataset.from_tensor_slices(numbers)

    def load(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Decodes one file."""
        path = self._paths[number]
        waveform = decode_in_graph(path, self._formats[number], self._rates[number], self._sample_rate)
        with tf.control_dependencies(
            [tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(waveform)), ["NaN or infinity in", path])]
        ):
            return tf.identity(waveform), self._labels[number], number


def stream_dataset(source: Source, sample_rate: int) -> tuple[Dataset, pd.DataFrame]:
    """The dataset of a source's audio files as they are, and a table of the clips left out: id, path, reason.

    Only headers are read here, as decoding all would take as long as preparing them. A file that is broken, silent or
    not finite further in is not left out: a broken one or one with NaN or infinity ends the run where it is loaded.

    Args:
        source: yields the clips.
        sample_rate: that they are decoded to, in Hz.

    Raises:
        UserError: a split has no clip with a usable header.
    """
    with ThreadPoolExecutor() as pool:
        probes = dict(zip((clip.id for clip in source.clips), pool.map(_probe, source.clips), strict=True))
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
    return Dataset(source.tags, data_hash(source, sample_rate), splits), rejected


def decode_in_graph(path: tf.Tensor, file_format: tf.Tensor, rate: tf.Tensor, sample_rate: int) -> tf.Tensor:
    """One file as mono float32 [samples] at `sample_rate`, as an op of the graph.

    Args:
        path: string.
        file_format: int32, index into FORMATS.
        rate: int64, the file's own, in Hz.
        sample_rate: of the result, in Hz.
    """
    if not HAS_TENSORFLOW_IO:
        waveform = tf.numpy_function(partial(_decode_by_soundfile, sample_rate=sample_rate), [path], tf.float32)
        return tf.ensure_shape(waveform, [None])
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


def _probe(clip: Clip) -> Probe | str:
    """What the header of the file says, or the reason why it cannot be used; the samples are not looked at."""
    try:
        clip.path.stat()  # libsndfile calls whatever is wrong here a system error
        info = soundfile.info(clip.path)
    except OSError as error:
        return error.strerror.lower()
    except (soundfile.LibsndfileError, TypeError):  # TypeError: headerless .raw
        return "cannot be decoded: no header of an audio file in it"
    if info.frames < MIN_SECONDS * info.samplerate:
        return f"shorter than {MIN_SECONDS} s"
    names = ("WAV" if info.format == "WAVEX" else info.format, info.subtype)
    if names not in FORMATS:
        return f"{' '.join(names)} cannot be read with --stream; `genre-tagger prepare` reads it"
    return Probe(FORMATS.index(names), info.samplerate)


def _labelled(clips: list[Clip], probes: list[Probe], sample_rate: int) -> LabelledClips:
    return LabelledClips(
        reader=StreamReader(clips, probes, sample_rate),
        numbers=np.arange(len(clips)),
        ids=[clip.id for clip in clips],
        groups=np.array([clip.group for clip in clips]),
        labels=np.stack([clip.labels for clip in clips]),
    )
