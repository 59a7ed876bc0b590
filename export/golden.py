"""The windows on which two models are compared: a split's, spread evenly over its clips."""

from collections.abc import Sequence
from itertools import groupby
from math import ceil
from operator import itemgetter
from typing import TypeVar

import numpy as np
import tensorflow as tf

from genre_tagger.config import Config
from genre_tagger.data.pipeline import ClipReader, evaluation_windows

Item = TypeVar("Item")


class SpreadReader:
    """A `ClipReader` of at most `count` clips of another, spread evenly over its fixed order."""

    def __init__(self, reader: ClipReader, count: int):
        self._entries = reader.entries
        self._positions = tf.constant(spread(range(reader.num_clips), count), tf.int64)
        self.num_clips, self.load = self._positions.shape[0], reader.load

    def entries(self, seed: tf.Tensor | None = None) -> tf.data.Dataset:
        """The chosen entries, before anything of them is decoded."""
        numbered = self._entries(seed).enumerate()
        chosen = numbered.filter(lambda position, _: tf.reduce_any(self._positions == position))
        return chosen.map(lambda _, entry: entry)


def golden_windows(reader: ClipReader, config: Config, count: int) -> np.ndarray:
    """Float32 [windows, samples], `count` at most: of as many clips as can be, evenly spaced within each.

    The same clips always give the same windows.
    """
    clips = SpreadReader(reader, count)
    of_each = ceil(count / clips.num_clips)
    windows = evaluation_windows(clips, config).unbatch().as_numpy_iterator()
    chosen = []
    for _, of_clip in groupby(windows, key=itemgetter(1)):
        chosen += spread([waveform for waveform, _ in of_clip], of_each)
    return np.stack(spread(chosen, count))


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` items at most, each from the middle of an equal part of them all."""
    parts = min(count, len(items))
    return [items[(2 * part + 1) * len(items) // (2 * parts)] for part in range(parts)]
