"""Scores of whole clips: the model scores each window, and the window scores of each clip are pooled."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from genre_tagger.config import Config

if TYPE_CHECKING:
    import keras


def score_clips(model: "keras.Model", windows: Iterable[Any], clip_numbers: np.ndarray, config: Config) -> np.ndarray:
    """Score clips by pooling the scores of their windows.

    Args:
        model: model from waveform [batch, samples] to probabilities [batch, tags].
        windows: batches of (waveform [batch, samples], index [batch]), with the windows of all clips.
        clip_numbers: int [clips], index of the clip in each row of the result.
        config: configuration of the run, for its pooling.

    Returns:
        float32 [clips, tags], probabilities.

    Raises:
        KeyError: a window belongs to a clip that is not in `clip_numbers`.
    """
    row_of = {number: row for row, number in enumerate(clip_numbers.tolist())}
    pooled = _Pool(len(row_of), model.output_shape[-1], config.window.pooling)
    for waveform, index in windows:
        rows = np.array([row_of[number] for number in np.asarray(index).tolist()])
        pooled.add(rows, np.asarray(model.predict_on_batch(waveform)))
    return pooled.scores()


def pool_windows(scores: np.ndarray, pooling: str) -> np.ndarray:
    """Pool the window scores [windows, tags] of one clip to [tags], by `mean` or `max`."""
    pooled: np.ndarray = scores.mean(axis=0) if pooling == "mean" else scores.max(axis=0)
    return pooled


class _Pool:
    """Running mean or maximum of the window scores of each clip."""

    def __init__(self, clips: int, tags: int, pooling: str) -> None:
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
