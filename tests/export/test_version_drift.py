"""Differences between two versions, compared with hand calculations."""

import shutil

import numpy as np
import pytest
from facts import check_facts, expect_error
from scipy.stats import spearmanr

from genre_tagger.commands.export import print_drift
from genre_tagger.config import parse_config
from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.export.version_drift import LoadedVersion, check_comparable, compare


class Fixed:
    """A stand-in for a loaded version, with given scores."""

    def __init__(self, tags, thresholds, scores):
        self.path, self.tags, self.thresholds = "models/tagger/1", tags, np.array(thresholds)
        self._scores = np.array(scores, np.float32)

    def scores(self, windows):
        return self._scores[: len(windows)]


WINDOWS = np.zeros((4, 10), np.float32)
OLD = Fixed(("rock", "jazz", "old"), [0.5, 0.5, 0.5], [[0.1, 0.2, 0], [0.4, 0.2, 0], [0.6, 0.2, 0], [0.9, 0.2, 0]])
NEW = Fixed(("jazz", "new", "rock"), [0.1, 0.5, 0.5], [[0.2, 1, 0.2], [0.2, 1, 0.6], [0.2, 1, 0.5], [0.2, 1, 0.8]])


def test_differences_decisions_and_ranks_of_the_shared_tags():
    comparison = compare(OLD, NEW, WINDOWS)
    rock, jazz = comparison.tags["rock"], comparison.tags["jazz"]
    assert (rock.mean, rock.largest) == pytest.approx(((0.1 + 0.2 + 0.1 + 0.1) / 4, 0.2))
    assert rock.flips == 0.25  # 0.4 -> 0.6
    assert rock.rank_correlation == pytest.approx(spearmanr([1, 2, 3, 4], [1, 3, 2, 4]).statistic)
    assert jazz.flips == 1.0 and jazz.mean == 0  # the same scores with another threshold
    assert np.isnan(jazz.rank_correlation)
    assert comparison.flips == pytest.approx(0.625)
    assert (comparison.added, comparison.removed) == (("new",), ("old",))


def test_version_with_other_windows_or_other_tags_is_refused(loaded_version, exported, config):
    old = loaded_version
    assert (old.window_samples, old.version.config.frontend.sample_rate) == (6000, 12_000)
    check_comparable(old, config, (*reversed(old.tags), "new"))
    tiny = {"frontend": {"n_mels": 40}, "model": {"wavenet": {"cascade": {"width": 8}}}}
    faster = {"frontend": {"sample_rate": 16_000}, "window": {"seconds": 0.375, "hop_seconds": 0.2}}
    others = {
        "6000 samples at 16000 Hz": parse_config({**tiny, **faster}),  # as many samples, but at another sample rate
        "7200 samples at 12000 Hz": parse_config({**tiny, "window": {"seconds": 0.6, "hop_seconds": 0.2}}),
    }
    for windows_of_run, other in others.items():
        with expect_error("against:", exported, "6000 samples at 12000 Hz", windows_of_run):
            check_comparable(old, other, old.tags)
    with expect_error("against:", exported, "tag"):
        check_comparable(old, config, ("harp",))


def test_added_and_removed_tags_are_printed(capsys):
    print_drift(compare(OLD, NEW, WINDOWS))
    lines = capsys.readouterr().out.splitlines()
    (added,) = (line for line in lines if line.endswith(" new"))
    (removed,) = (line for line in lines if line.endswith(" old"))
    assert added.startswith("new ") and removed.startswith("removed ")
    check_facts(lines[-1], "62.5%")


@pytest.fixture(scope="module")
def loaded_version(exported):
    return LoadedVersion(ExportedVersion.open(exported))


def test_exported_version_does_not_differ_from_itself(loaded_version, windows):
    again = LoadedVersion(loaded_version.version)
    comparison = compare(loaded_version, again, np.tile(windows, (3, 1)))
    assert comparison.windows == 15 and comparison.flips == 0
    assert all(drift.largest == 0 and drift.rank_correlation == pytest.approx(1) for drift in comparison.tags.values())


def test_version_that_cannot_be_loaded_is_refused(tmp_path, exported):
    with expect_error(tmp_path, "saved_model.pb"):
        ExportedVersion.open(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with expect_error(tmp_path / "assets/tags.txt"):
        LoadedVersion(ExportedVersion.open(tmp_path))
    shutil.copytree(exported / "assets", tmp_path / "assets")
    with expect_error(tmp_path, "cannot be loaded"):
        LoadedVersion(ExportedVersion.open(tmp_path))
