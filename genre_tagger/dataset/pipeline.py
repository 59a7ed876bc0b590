"""The input pipeline from clips to batches of waveform windows, with tf.data.

All random choices are functions of (seed, epoch, clip), so that a resumed run sees the same batches as an uninterrupted
one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from genre_tagger.audio.decode import PCM16_SCALE
from genre_tagger.config import Config
from genre_tagger.dataset.augmentation import augment_batch
from genre_tagger.dataset.manifest import Manifest

SHARDS_AT_ONCE = 8
SHUFFLED_CLIPS = 64  # size of the shuffle buffer; a clip of 29 s at 12 kHz takes 0.7 MB

_FEATURES = {
    "index": tf.io.FixedLenFeature([], tf.int64),
    "pcm": tf.io.FixedLenFeature([], tf.string),
    "labels": tf.io.FixedLenFeature([], tf.string),
}


class ClipReader(Protocol):
    """Reader of the clips of one split."""

    @property
    def num_clips(self) -> int:
        """Number of clips."""

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Return a dataset of entries, one per clip, which are quick to list.

        Args:
            seed: int64 [2], seed of the order. None keeps a fixed order.
        """

    def load(self, entries: tf.data.Dataset) -> tf.data.Dataset:
        """Read the audio of entries in parallel, in their order.

        Returns:
            A dataset of (waveform int16 or float32 [samples], labels float32 [tags] with -1 for unknown, index int64).
        """


@dataclass(frozen=True)
class RecordReader:
    """Reader of the clips of one split from prepared shards.

    Args:
        shards: paths of the TFRecord files.
        num_clips: number of clips in them.
    """

    shards: list[Path]
    num_clips: int

    @classmethod
    def of(cls, manifest: Manifest, split: str) -> "RecordReader":
        """Return the reader of one split of prepared data."""
        return cls(manifest.shard_paths(split), manifest.splits[split].clips)

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Return a dataset of serialised records. A seed [2] shuffles shards and clips."""
        names = tf.constant([str(shard) for shard in self.shards])
        if seed is None:
            return tf.data.TFRecordDataset(names)
        names = tf.random.experimental.stateless_shuffle(names, seed)
        records = tf.data.Dataset.from_tensor_slices(names).interleave(
            tf.data.TFRecordDataset, cycle_length=SHARDS_AT_ONCE, num_parallel_calls=2, deterministic=True
        )
        order = tf.random.stateless_uniform([], seed, minval=None, maxval=None, dtype=tf.int64)
        return records.shuffle(SHUFFLED_CLIPS, seed=order, reshuffle_each_iteration=False)  # does not copy records

    def load(self, entries: tf.data.Dataset) -> tf.data.Dataset:
        """Parse serialised records."""
        return entries.map(_parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def steps_per_epoch(reader: ClipReader, config: Config) -> int:
    """Return the number of training batches per epoch, with one window per clip and only full batches.

    If there are fewer clips than a full batch has, all of them are one smaller batch.
    """
    return max(1, reader.num_clips // config.training.batch_size)


def training_windows(reader: ClipReader, config: Config, num_tags: int, first_epoch: int = 0) -> tf.data.Dataset:
    """Return endless training batches, epoch after epoch.

    Args:
        reader: reader of the training clips.
        config: configuration of the run, for its windows, batch size, seed and augmentation.
        num_tags: number of tags.
        first_epoch: first epoch, for resumed training.

    Returns:
        A dataset of (waveform float32 [batch, samples], labels float32 [batch, tags]).
    """
    batch_size = min(config.training.batch_size, reader.num_clips)
    clips = steps_per_epoch(reader, config) * batch_size

    def epoch_entries(epoch: tf.Tensor) -> tf.data.Dataset:
        # Seeds this function's own graph. Otherwise Dataset.shuffle uses the global seed too, and fails if it is 0.
        tf.random.set_seed(1)
        seed = tf.stack([tf.constant(config.seed, tf.int64), epoch])
        return reader.entries(seed).take(clips)

    def window(number: tf.Tensor, clip: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        waveform, labels, index = clip
        waveform = _with_margins(waveform, config)
        start = _training_start(waveform, index, first_epoch + number // clips, config)
        return _cut(waveform, start, config.window_samples), tf.ensure_shape(labels, [num_tags])

    def augmented(number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return augment_batch(*batch, tf.stack([tf.constant(config.seed, tf.int64), number]), config.training.augment)

    entries = tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch_entries)
    windows = reader.load(entries).enumerate().map(window)
    batches = windows.batch(batch_size).map(to_float).enumerate(first_epoch * steps_per_epoch(reader, config))
    return batches.map(augmented).prefetch(tf.data.AUTOTUNE)


def evaluation_windows(reader: ClipReader, config: Config) -> tf.data.Dataset:
    """Return all evaluation windows of all clips, in a fixed order.

    Args:
        reader: reader of the clips.
        config: configuration of the run, for its windows and batch size.

    Returns:
        A dataset of (waveform float32 [batch, samples], index int64 [batch]).
    """

    def windows(waveform: tf.Tensor, _: tf.Tensor, index: tf.Tensor) -> tf.data.Dataset:
        waveform = _with_margins(waveform, config)
        starts = tf.data.Dataset.from_tensor_slices(evaluation_starts(tf.size(waveform), config))
        return starts.map(lambda start: (_cut(waveform, start, config.window_samples), index))

    clips = reader.load(reader.entries(None))
    return clips.flat_map(windows).batch(config.inference.batch_size).map(to_float).prefetch(tf.data.AUTOTUNE)


def whole_clips(reader: ClipReader, transform: Callable[[tf.Tensor], tf.Tensor]) -> tf.data.Dataset:
    """Apply a function to every whole clip, in a fixed order.

    Args:
        reader: reader of the clips.
        transform: function of a waveform float32 [1, samples] to a tensor [1, ...].

    Returns:
        A dataset of (transformed [...], index int64).
    """

    def transformed(waveform: tf.Tensor, _: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        waveform, index = to_float(waveform, index)
        return transform(waveform[tf.newaxis])[0], index

    clips = reader.load(reader.entries(None))
    return clips.map(transformed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def evaluation_starts(samples: tf.Tensor | int, config: Config) -> tf.Tensor:
    """Return the first sample of each evaluation window of a clip.

    `window.evaluate` selects the centre window (`center`), all windows with the last one aligned to the end (`all`), or
    only windows at multiples of the hop that lie inside the clip (`whole`).

    Args:
        samples: number of samples of the clip, margins included.
        config: configuration of the run.

    Returns:
        int32 [windows].
    """
    last = tf.maximum(tf.cast(samples, tf.int32) - config.window_samples, 0)
    if config.window.evaluate == "center":
        return tf.reshape(last // 2, [1])
    starts = tf.range(0, last + 1, config.hop_samples)
    if config.window.evaluate == "whole":
        return starts
    return tf.cond(starts[-1] < last, lambda: tf.concat([starts, [last]], axis=0), lambda: starts)


def to_float(waveform: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scale 16-bit samples to [-1, 1). Float samples stay as they are.

    Use this function late in the pipeline, where one op converts a whole batch.

    Args:
        waveform: int16 or float32 tensor of any shape.
        other: tensor that is returned unchanged, so that the function can be mapped over pairs.

    Returns:
        The waveform as float32, and `other`.
    """
    if waveform.dtype == tf.int16:
        waveform = tf.cast(waveform, tf.float32) * (1.0 / PCM16_SCALE)  # exact, and faster than a division
    return waveform, other


def _parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    fields = tf.io.parse_single_example(record, _FEATURES)
    labels = tf.cast(tf.io.decode_raw(fields["labels"], tf.int8), tf.float32)
    return tf.io.decode_raw(fields["pcm"], tf.int16), labels, fields["index"]


def _with_margins(waveform: tf.Tensor, config: Config) -> tf.Tensor:
    margin = config.frontend.clip_margin
    return tf.pad(waveform, [[margin, margin]]) if margin else waveform


def _training_start(waveform: tf.Tensor, index: tf.Tensor, epoch: tf.Tensor, config: Config) -> tf.Tensor:
    last = tf.maximum(tf.size(waveform) - config.window_samples, 0)
    if config.window.train == "center":
        return last // 2
    seed = tf.stack([epoch * 1_000_003 + config.seed, index])
    return tf.random.stateless_uniform([], seed, maxval=last + 1, dtype=tf.int32)


def _cut(waveform: tf.Tensor, start: tf.Tensor, samples: int) -> tf.Tensor:
    """Return one window of a waveform [samples]. If the clip is too short, zeros are added at the end."""
    window = waveform[start : start + samples]
    missing = samples - tf.size(window)
    window = tf.cond(missing > 0, lambda: tf.pad(window, [[0, missing]]), lambda: window)
    return tf.ensure_shape(window, [samples])
