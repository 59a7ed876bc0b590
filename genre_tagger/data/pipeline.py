"""The input pipeline: prepared shards -> windows of waveform in batches, by tf.data.

Everything random is a function of (seed, epoch, clip), so that a resumed run sees what an unbroken one sees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from genre_tagger.config import Config
from genre_tagger.data.augment import augment_batch
from genre_tagger.data.decode import PCM16_SCALE
from genre_tagger.data.manifest import Manifest

SHARDS_AT_ONCE = 8
SHUFFLED_CLIPS = 64  # clips held for shuffling: 29 s at 12 kHz are 0.7 MB each

_FEATURES = {
    "index": tf.io.FixedLenFeature([], tf.int64),
    "pcm": tf.io.FixedLenFeature([], tf.string),
    "labels": tf.io.FixedLenFeature([], tf.string),
}


class ClipReader(Protocol):
    """Clips of one split: `entries` names them quickly, `load` turns entries into audio, in parallel.

    entries(seed): dataset of entries, in an order given by the seed [2], or in a fixed order for None.
    load(entries): for each entry, in their order, (waveform [samples], int16 or float32, labels float32 [tags] with
        -1 unknown, index int64).
    """

    num_clips: int
    entries: Callable[[tf.Tensor | None], tf.data.Dataset]
    load: Callable[[tf.data.Dataset], tf.data.Dataset]


@dataclass(frozen=True)
class RecordReader:
    """Reads the clips of one split from prepared shards."""

    shards: list[Path]
    num_clips: int

    @classmethod
    def of(cls, manifest: Manifest, split: str) -> "RecordReader":
        """The reader of one split of prepared data."""
        return cls(manifest.shard_paths(split), manifest.splits[split].clips)

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Serialised records; with a seed [2], shards and clips are shuffled by it."""
        names = tf.constant([str(shard) for shard in self.shards])
        if seed is None:
            return tf.data.TFRecordDataset(names)
        names = tf.random.experimental.stateless_shuffle(names, seed)
        records = tf.data.Dataset.from_tensor_slices(names).interleave(
            tf.data.TFRecordDataset, cycle_length=SHARDS_AT_ONCE, num_parallel_calls=2, deterministic=True
        )
        order = tf.random.stateless_uniform([], seed, minval=None, maxval=None, dtype=tf.int64)
        return records.shuffle(SHUFFLED_CLIPS, seed=order, reshuffle_each_iteration=False)  # moves records, no copies

    def load(self, records: tf.data.Dataset) -> tf.data.Dataset:
        """Decodes the records."""
        return records.map(_parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def steps_per_epoch(reader: ClipReader, config: Config) -> int:
    """Batches in one epoch of training: one window a clip, whole batches only."""
    return max(1, reader.num_clips // config.training.batch_size)


def training_windows(reader: ClipReader, config: Config, num_tags: int, first_epoch: int = 0) -> tf.data.Dataset:
    """Endless batches of (waveform [batch, samples], labels [batch, tags]), one epoch after the other.

    Args:
        reader: the training clips.
        config: windows, batch size and seed.
        num_tags: tags of each clip.
        first_epoch: the epoch to start with, when training is resumed.
    """
    batch_size = min(config.training.batch_size, reader.num_clips)
    clips = steps_per_epoch(reader, config) * batch_size

    def epoch_entries(epoch):
        # Of this function's own graph: Dataset.shuffle mixes in whatever the program's is, and fails where that is 0.
        tf.random.set_seed(1)
        seed = tf.stack([tf.constant(config.seed, tf.int64), epoch])
        return reader.entries(seed).take(clips)

    def window(number, clip):
        waveform, labels, index = clip
        waveform = _with_margins(waveform, config)
        start = _training_start(waveform, index, first_epoch + number // clips, config)
        return _cut(waveform, start, config.window_samples), tf.ensure_shape(labels, [num_tags])

    def augmented(number, batch):
        return augment_batch(*batch, tf.stack([tf.constant(config.seed, tf.int64), number]), config.training.augment)

    entries = tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch_entries)
    windows = reader.load(entries).enumerate().map(window)
    batches = windows.batch(batch_size).map(to_float).enumerate(first_epoch * steps_per_epoch(reader, config))
    return batches.map(augmented).prefetch(tf.data.AUTOTUNE)


def evaluation_windows(reader: ClipReader, config: Config) -> tf.data.Dataset:
    """Batches of (waveform [batch, samples], index [batch]): all evaluation windows of all clips, in fixed order."""

    def windows(waveform, _, index):
        waveform = _with_margins(waveform, config)
        starts = tf.data.Dataset.from_tensor_slices(evaluation_starts(tf.size(waveform), config))
        return starts.map(lambda start: (_cut(waveform, start, config.window_samples), index))

    clips = reader.load(reader.entries(None))
    return clips.flat_map(windows).batch(config.training.batch_size).map(to_float).prefetch(tf.data.AUTOTUNE)


def whole_clips(reader: ClipReader, transform: Callable[[tf.Tensor], tf.Tensor]) -> tf.data.Dataset:
    """(transform(waveform [1, samples])[0], index) of every whole clip, in fixed order."""

    def transformed(waveform, _, index):
        waveform, index = to_float(waveform, index)
        return transform(waveform[tf.newaxis])[0], index

    clips = reader.load(reader.entries(None))
    return clips.map(transformed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def evaluation_starts(samples: tf.Tensor | int, config: Config) -> tf.Tensor:
    """First samples of the evaluation windows of a clip, whose margins count as its samples.

    The centre one; or all of them, the last aligned to the end; or the whole ones, without the samples left over.
    """
    last = tf.maximum(tf.cast(samples, tf.int32) - config.window_samples, 0)
    if config.window.evaluate == "center":
        return tf.reshape(last // 2, [1])
    starts = tf.range(0, last + 1, config.hop_samples)
    if config.window.evaluate == "whole":
        return starts
    return tf.cond(starts[-1] < last, lambda: tf.concat([starts, [last]], axis=0), lambda: starts)


def to_float(waveform, other) -> tuple[tf.Tensor, tf.Tensor]:
    """Brings 16-bit samples to full scale 1, late in the pipeline, where one op does a whole batch."""
    if waveform.dtype == tf.int16:
        waveform = tf.cast(waveform, tf.float32) * (1.0 / PCM16_SCALE)  # exact, and quicker than dividing
    return waveform, other


def _parse(record):
    fields = tf.io.parse_single_example(record, _FEATURES)
    labels = tf.cast(tf.io.decode_raw(fields["labels"], tf.int8), tf.float32)
    return tf.io.decode_raw(fields["pcm"], tf.int16), labels, fields["index"]


def _with_margins(waveform, config: Config) -> tf.Tensor:
    margin = config.frontend.clip_margin
    return tf.pad(waveform, [[margin, margin]]) if margin else waveform


def _training_start(waveform, index, epoch, config: Config) -> tf.Tensor:
    last = tf.maximum(tf.size(waveform) - config.window_samples, 0)
    if config.window.train == "center":
        return last // 2
    seed = tf.stack([epoch * 1_000_003 + config.seed, index])
    return tf.random.stateless_uniform([], seed, maxval=last + 1, dtype=tf.int32)


def _cut(waveform, start, samples: int) -> tf.Tensor:
    """One window of a waveform [samples]; what the clip is too short for is filled with zeros at the end."""
    window = waveform[start : start + samples]
    missing = samples - tf.size(window)
    window = tf.cond(missing > 0, lambda: tf.pad(window, [[0, missing]]), lambda: window)
    return tf.ensure_shape(window, [samples])
