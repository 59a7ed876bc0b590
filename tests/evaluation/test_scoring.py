"""Pooling of window scores, compared with values computed by hand."""

import numpy as np
import pytest

from genre_tagger.config import load_config
from genre_tagger.evaluation.scoring import score_clips


class Echo:
    """A model that returns its input."""

    output_shape = (None, 2)

    def predict_on_batch(self, windows):
        return windows


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [[-2.0, -0.75], [4.0, -5.0]]), ("max", [[-1.0, 0.5], [4.0, -5.0]])]
)
def test_windows_are_pooled_per_clip(pooling, expected):
    batches = [
        (np.array([[-1.0, -2.0], [4.0, -5.0]], np.float32), np.array([7, 3])),
        (np.array([[-3.0, 0.5]], np.float32), np.array([7])),
    ]
    config = load_config(overrides=[f"window.pooling={pooling}"])
    scores = score_clips(Echo(), batches, np.array([7, 3]), config)
    np.testing.assert_allclose(scores, expected)
