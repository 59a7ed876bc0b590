"""The windows on which two models are compared, spread evenly over the clips of a split."""

from collections.abc import Sequence
from itertools import groupby
from math import ceil
from operator import itemgetter
from typing import TypeVar

import numpy as np
import tensorflow as tf

from genre_tagger.config import Config
from genre_tagger.dataset.pipeline import ClipReader, evaluation_windows

Item = TypeVar("Item")


class SpreadReader:
    """A `ClipReader` that reads at most `count` clips of another reader, spread evenly over its fixed order.

    Args:
        reader: reader of the clips to choose from.
        count: largest number of clips.
    """

    def __init__(self, reader: ClipReader, count: int):
        self._entries = reader.entries
        self._positions = tf.constant(spread(range(reader.num_clips), count), tf.int64)
        self.num_clips, self.load = self._positions.shape[0], reader.load

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """Return the entries of the chosen clips. No audio is decoded."""
        numbered = self._entries(seed).enumerate()
        chosen = numbered.filter(lambda position, _: tf.reduce_any(self._positions == position))
        return chosen.map(lambda _, entry: entry)


def reference_windows(reader: ClipReader, config: Config, count: int) -> np.ndarray:
    """Choose windows of as many clips as possible, evenly spaced within each clip.

    The same clips always give the same windows.

    Args:
        reader: reader of the clips.
        config: configuration of the run, which sets the windows.
        count: largest number of windows.

    Returns:
        float32 [windows, samples].
    """
    clips = SpreadReader(reader, count)
    of_each = ceil(count / clips.num_clips)
    windows = evaluation_windows(clips, config).unbatch().as_numpy_iterator()
    chosen: list[np.ndarray] = []
    for _, of_clip in groupby(windows, key=itemgetter(1)):
        chosen += spread([waveform for waveform, _ in of_clip], of_each)
    return np.stack(spread(chosen, count))


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return at most `count` items, each from the middle of one of `count` equal parts of the sequence."""
    parts = min(count, len(items))
    return [items[(2 * part + 1) * len(items) // (2 * parts)] for part in range(parts)]
