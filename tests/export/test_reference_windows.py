"""The windows on which two models are compared are spread over the split and are the same every time."""

import numpy as np
import tensorflow as tf

from genre_tagger.config import parse_config
from genre_tagger.export.reference_windows import reference_windows

CONFIG = parse_config({"window": {"seconds": 0.5, "hop_seconds": 0.5, "evaluate": "all"}})
SIZE = 6000


class Clips:
    """A reader of clips whose windows are constant, with the value clip + window / 1000."""

    def __init__(self, windows_of_clips):
        self._counts, self.num_clips, self.decoded = tf.constant(windows_of_clips), len(windows_of_clips), []

    def entries(self, seed=None):
        return tf.data.Dataset.range(self.num_clips)

    def load(self, entries):
        return entries.map(lambda number: tf.py_function(self._clip, [number], [tf.float32, tf.float32, tf.int64])).map(
            lambda waveform, labels, number: (tf.ensure_shape(waveform, [None]), labels, number)
        )

    def _clip(self, number):
        self.decoded.append(int(number))
        values = float(number) + np.arange(self._counts[number]) / 1000
        return np.repeat(values, SIZE).astype(np.float32), [0.0], number


def clips_and_windows(windows):
    assert windows.shape[1] == SIZE and not np.ptp(windows, axis=1).any()
    return np.floor(windows[:, 0]).astype(int), np.round(windows[:, 0] % 1 * 1000).astype(int)


def test_many_clips_give_one_window_each_evenly_spaced_over_the_split():
    reader = Clips([3] * 100)
    clips, windows = clips_and_windows(reference_windows(reader, CONFIG, 30))
    assert len(clips) == 30
    assert set(np.diff(clips)) == {3, 4} and clips[0] <= 2 and clips[-1] >= 97
    assert set(windows) == {1}  # the middle window of three
    assert reader.decoded == clips.tolist()  # no other clip is decoded


def test_few_long_clips_give_windows_from_start_to_end():
    clips, windows = clips_and_windows(reference_windows(Clips([100, 1, 100]), CONFIG, 30))
    assert np.bincount(clips).tolist() == [10, 1, 10]
    for clip in (0, 2):
        assert windows[clips == clip].tolist() == list(range(5, 100, 10))
