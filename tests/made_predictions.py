"""Fixtures with seeded predictions of a simulated model, for tests in several folders."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes

from genre_tagger.evaluation.predictions import Predictions

TAGS = ("piano", "rock", "slow", "choir")


def make_predictions(clips: int = 200, groups: int = 40, skill: float = 2.0, split: str = "test") -> Predictions:
    """Return predictions with scores rounded to two decimals, so that some are equal, and 10 % unknown labels."""
    rng = np.random.default_rng(clips + groups)
    present = rng.random((clips, len(TAGS))) < 0.3
    scores = 1 / (1 + np.exp(-rng.normal(size=present.shape) - skill * present))
    return Predictions(
        clip_ids=[f"clip{number}" for number in range(clips)],
        groups=rng.integers(0, groups, clips).astype(str),
        splits=np.full(clips, split),
        tags=TAGS,
        labels=np.where(rng.random(present.shape) < 0.1, -1, present).astype(np.int8),
        scores=scores.round(2).astype(np.float32),
    )


@pytest.fixture
def rows_of() -> Callable[[Axes], dict]:
    """Return a function that reads an interval plot from bottom to top: name -> ((value, low, high), colour)."""

    def rows(axes: Axes) -> dict:
        found = {}
        for height, label in enumerate(axes.figure.axes[0].get_yticklabels()):  # adjacent plots share the names
            (value,) = (line for line in axes.lines if list(line.get_ydata()) == [height])
            (ends,) = (line for line in axes.lines if list(line.get_ydata()) == [height, height])
            assert value.get_color() == ends.get_color()
            found[label.get_text()] = (*value.get_xdata(), *ends.get_xdata()), value.get_color()
        return found

    return rows


@pytest.fixture
def predictions() -> Predictions:
    """Return predictions for 200 test clips of 40 groups, with four tags."""
    return make_predictions()


@pytest.fixture
def predictions_of() -> Callable[..., Predictions]:
    """Return `make_predictions`, for tests with other parameters."""
    return make_predictions
