"""Comparison of two exported versions on the same windows: scores, ranking and decisions of each tag."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr

from genre_tagger.config import Config
from genre_tagger.errors import FieldError
from genre_tagger.export.exported_version import ExportedVersion

BATCH = 8  # windows per call of a model


@dataclass(frozen=True)
class TagDrift:
    """The differences between two versions for one tag.

    Attributes:
        mean: mean absolute difference of the probabilities.
        largest: largest absolute difference of the probabilities.
        rank_correlation: Spearman's rank correlation of the probabilities over the windows. It is NaN if a version
            gives the same probability to all windows.
        flips: share of changed decisions, which is the share of windows to which only one of the versions assigns the
            tag. Each version uses its own threshold.
    """

    mean: float
    largest: float
    rank_correlation: float
    flips: float


@dataclass(frozen=True)
class Comparison:
    """The differences between two versions.

    Attributes:
        old: directory of the older version.
        windows: number of windows that were compared.
        tags: differences for each tag that both versions have.
        added: tags that only the newer version has.
        removed: tags that only the older version has.
    """

    old: Path
    windows: int
    tags: dict[str, TagDrift]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def flips(self) -> float:
        """Share of changed decisions over all tags."""
        return float(np.mean([drift.flips for drift in self.tags.values()]))


class LoadedVersion:
    """An exported version that scores windows.

    Args:
        version: the version to load.

    Raises:
        UserError: the version cannot be loaded.
    """

    def __init__(self, version: ExportedVersion):
        self.version = version
        self.tags = version.tags
        self.thresholds = np.array([version.thresholds[tag] for tag in version.tags])
        self._loaded = version.load()  # signatures alone do not keep the variables alive
        self._tag = self._loaded.signatures["serving_default"]

    @property
    def path(self) -> Path:
        """Directory of the version."""
        return self.version.path

    @property
    def window_samples(self) -> int:
        """Number of samples per window that `serving_default` takes."""
        return int(self._tag.structured_input_signature[1]["waveform"].shape[1])

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Score windows float32 [windows, samples] and return their probabilities float32 [windows, tags]."""
        batches = [windows[first : first + BATCH] for first in range(0, len(windows), BATCH)]
        return np.concatenate([self._tag(waveform=tf.constant(batch))["probabilities"].numpy() for batch in batches])


def check_comparable(old: LoadedVersion, config: Config, tags: tuple[str, ...]) -> None:
    """Check that an older version can be compared with a run.

    Args:
        old: older version.
        config: configuration of the run.
        tags: tags of the run.

    Raises:
        FieldError: the version takes other windows than the run, or has none of its tags.
    """
    found = f"{old.window_samples} samples at {old.version.config.frontend.sample_rate} Hz"
    expected = f"{config.window_samples} samples at {config.frontend.sample_rate} Hz"
    if found != expected:
        raise FieldError("against", f"{old.path}: takes windows of {found}, expected those of the run, {expected}")
    if not set(tags) & set(old.tags):
        raise FieldError("against", f"{old.path}: has none of the run's tags; expected a version with the same tags")


def compare(old: LoadedVersion, new: LoadedVersion, windows: np.ndarray) -> Comparison:
    """Compare two versions. Tags are matched by name.

    Args:
        old: older version.
        new: newer version.
        windows: float32 [windows, samples].

    Returns:
        The differences for each tag that both versions have.
    """
    old_scores, new_scores = old.scores(windows), new.scores(windows)
    drifts = {}
    for tag in [tag for tag in new.tags if tag in old.tags]:
        before, after = old.tags.index(tag), new.tags.index(tag)
        thresholds = old.thresholds[before], new.thresholds[after]
        drifts[tag] = _drift(old_scores[:, before], new_scores[:, after], *thresholds)
    added = tuple(tag for tag in new.tags if tag not in old.tags)
    removed = tuple(tag for tag in old.tags if tag not in new.tags)
    return Comparison(old.path, len(windows), drifts, added, removed)


def _drift(old: np.ndarray, new: np.ndarray, old_threshold: float, new_threshold: float) -> TagDrift:
    difference = np.abs(old - new)
    constant = np.ptp(old) == 0 or np.ptp(new) == 0
    return TagDrift(
        mean=float(difference.mean()),
        largest=float(difference.max()),
        rank_correlation=float("nan") if constant else float(spearmanr(old, new).statistic),
        flips=float(((old >= old_threshold) != (new >= new_threshold)).mean()),
    )
