"""Drift between two versions, against hand calculations."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from genre_tagger.errors import UserError
from genre_tagger.export.against import Version, compare


class Fixed:
    """A version with given scores."""

    def __init__(self, tags, thresholds, scores, window_samples=10):
        self.path, self.tags, self.thresholds = "models/tagger/1", tags, np.array(thresholds)
        self.window_samples, self._scores = window_samples, np.array(scores, np.float32)

    def scores(self, windows):
        return self._scores[: len(windows)]


WINDOWS = np.zeros((4, 10), np.float32)
OLD = Fixed(("rock", "jazz", "old"), [0.5, 0.5, 0.5], [[0.1, 0.2, 0], [0.4, 0.2, 0], [0.6, 0.2, 0], [0.9, 0.2, 0]])
NEW = Fixed(("jazz", "new", "rock"), [0.1, 0.5, 0.5], [[0.2, 1, 0.2], [0.2, 1, 0.6], [0.2, 1, 0.5], [0.2, 1, 0.8]])


def test_drift_flips_and_ranks_of_the_shared_tags():
    comparison = compare(OLD, NEW, WINDOWS)
    rock, jazz = comparison.tags["rock"], comparison.tags["jazz"]
    assert (rock.mean, rock.largest) == pytest.approx(((0.1 + 0.2 + 0.1 + 0.1) / 4, 0.2))
    assert rock.flips == 0.25  # 0.4 -> 0.6
    assert rock.rank_correlation == pytest.approx(spearmanr([1, 2, 3, 4], [1, 3, 2, 4]).statistic)
    assert jazz.flips == 1.0 and jazz.mean == 0  # the same scores under another threshold
    assert np.isnan(jazz.rank_correlation)
    assert comparison.flips == pytest.approx(0.625)
    assert (comparison.added, comparison.removed) == (("new",), ("old",))


def test_versions_that_cannot_be_compared_are_refused():
    with pytest.raises(UserError, match="windows of 20 samples, expected 10"):
        compare(Fixed(("rock",), [0.5], [[0.1]], window_samples=20), NEW, WINDOWS)
    with pytest.raises(UserError, match="no tag of the run"):
        compare(Fixed(("piano",), [0.5], [[0.1]]), NEW, WINDOWS)


def test_an_exported_version_is_itself(exported, windows):
    version = Version.load(exported)
    comparison = compare(version, Version.load(exported), np.tile(windows, (3, 1)))
    assert comparison.windows == 15 and comparison.flips == 0
    assert all(drift.largest == 0 and drift.rank_correlation == pytest.approx(1) for drift in comparison.tags.values())


def test_what_is_no_version_is_refused(tmp_path):
    with pytest.raises(UserError, match="no exported version"):
        Version.load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(UserError, match="cannot be loaded"):
        Version.load(tmp_path)
