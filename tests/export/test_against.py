"""Drift between two versions, against hand calculations."""

import re
import shutil

import numpy as np
import pytest
from scipy.stats import spearmanr

from genre_tagger import console
from genre_tagger.config import parse_config
from genre_tagger.errors import UserError
from genre_tagger.export.against import Version, check_comparable, compare

TINY = {"frontend": {"n_mels": 40}, "model": {"cnn": None, "cascade": {"width": 8}}}


class Fixed:
    """A version with given scores."""

    def __init__(self, tags, thresholds, scores):
        self.path, self.tags, self.thresholds = "models/tagger/1", tags, np.array(thresholds)
        self._scores = np.array(scores, np.float32)

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


def test_versions_of_other_windows_or_other_tags_are_refused(exported, config):
    old = Version.load(exported)
    assert (old.window_samples, old.sample_rate) == (6000, 12_000)
    check_comparable(old, config, (*reversed(old.tags), "new"))
    faster = {"frontend": {"sample_rate": 16_000}, "window": {"seconds": 0.375, "hop_seconds": 0.2}}
    others = {
        "6000 samples at 16000 Hz": parse_config({**TINY, **faster}),  # as many samples, another contract
        "7200 samples at 12000 Hz": parse_config({**TINY, "window": {"seconds": 0.6, "hop_seconds": 0.2}}),
    }
    for run, other in others.items():
        expected = f"--against {exported}: takes windows of 6000 samples at 12000 Hz, expected {run} as the run's"
        with pytest.raises(UserError, match=re.escape(expected)):
            check_comparable(old, other, old.tags)
    with pytest.raises(UserError, match="no tag of the run"):
        check_comparable(old, config, ("harp",))


def test_a_changed_tag_set_is_said(capsys):
    console.print_comparison(compare(OLD, NEW, WINDOWS))
    output = capsys.readouterr().out
    assert "new tags, not compared: new\n" in output and "gone tags, not compared: old\n" in output


def test_an_exported_version_is_itself(exported, windows):
    version = Version.load(exported)
    comparison = compare(version, Version.load(exported), np.tile(windows, (3, 1)))
    assert comparison.windows == 15 and comparison.flips == 0
    assert all(drift.largest == 0 and drift.rank_correlation == pytest.approx(1) for drift in comparison.tags.values())


def test_what_is_no_version_is_refused(tmp_path, exported):
    with pytest.raises(UserError, match="no exported version"):
        Version.load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(UserError, match=r"tags\.txt: cannot be read"):
        Version.load(tmp_path)
    bare = shutil.copytree(exported, tmp_path / "1")
    (bare / "assets/config.yaml").write_text("frontend: [12000]")
    with pytest.raises(UserError, match="cannot be loaded"):
        Version.load(bare)
