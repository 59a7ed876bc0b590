"""Scores of whole clips: windows through the model, pooled clip by clip."""

from collections.abc import Iterable

import keras
import numpy as np

from genre_tagger.config import Config


def score_clips(model: keras.Model, windows: Iterable, clip_numbers: np.ndarray, config: Config) -> np.ndarray:
    """Probabilities [clips, tags] of the clips, their windows' scores pooled as the configuration says.

    Args:
        model: waveform [batch, samples] -> probabilities [batch, tags].
        windows: batches of (waveform [batch, samples], index [batch]), every clip's windows among them.
        clip_numbers: the index of each row of the result.
        config: for the pooling.

    Raises:
        KeyError: a window of a clip that `clip_numbers` does not name.
    """
    row_of = {number: row for row, number in enumerate(clip_numbers.tolist())}
    pooled = _Pool(len(row_of), model.output_shape[-1], config.window.pooling)
    for waveform, index in windows:
        rows = np.array([row_of[number] for number in np.asarray(index).tolist()])
        pooled.add(rows, np.asarray(model.predict_on_batch(waveform)))
    return pooled.scores()


def pool_windows(scores: np.ndarray, pooling: str) -> np.ndarray:
    """Pools one clip's window scores [windows, tags] to [tags], by `mean` or `max`."""
    return scores.mean(axis=0) if pooling == "mean" else scores.max(axis=0)


class _Pool:
    """Running mean or maximum of the window scores of each clip."""

    def __init__(self, clips: int, tags: int, pooling: str):
        self._add_to = np.add if pooling == "mean" else np.maximum
        self._pooling = pooling
        self._totals = np.full((clips, tags), 0.0 if pooling == "mean" else -np.inf)
        self._windows = np.zeros(clips, np.int64)

    def add(self, rows: np.ndarray, scores: np.ndarray) -> None:
        self._add_to.at(self._totals, rows, scores)
        np.add.at(self._windows, rows, 1)

    def scores(self) -> np.ndarray:
        count = np.maximum(self._windows, 1)[:, None] if self._pooling == "mean" else 1
        return (self._totals / count).astype(np.float32)
