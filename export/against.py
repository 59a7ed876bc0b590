"""Two exported versions on the same windows: how far scores drift, whether ranks hold, which decisions flip."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import yaml
from scipy.stats import spearmanr

from genre_tagger.config import Config
from genre_tagger.data.clips import read_tags
from genre_tagger.errors import UserError
from genre_tagger.export.contract import CONFIG_NAME, SAVED_MODEL_NAME, TAGS_NAME, THRESHOLDS_NAME

BATCH = 8  # windows at a time


@dataclass(frozen=True)
class TagDrift:
    """What changed for one tag.

    Attributes:
        mean, largest: absolute difference of the probabilities.
        rank_correlation: Spearman's, of the windows by probability; NaN where one version gives all the same.
        flips: share of windows that are given the tag by one version alone, each by its own threshold.
    """

    mean: float
    largest: float
    rank_correlation: float
    flips: float


@dataclass(frozen=True)
class Comparison:
    """Drift of the tags that both versions have, and those that only one has."""

    old: Path
    windows: int
    tags: dict[str, TagDrift]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def flips(self) -> float:
        """Share of all decisions that flip."""
        return float(np.mean([drift.flips for drift in self.tags.values()]))


@dataclass(frozen=True)
class Version:
    """An exported version, loaded.

    Attributes:
        path: of the version.
        tags, thresholds: [tags].
        sample_rate: of its windows, in Hz.
        loaded: the SavedModel.
    """

    path: Path
    tags: tuple[str, ...]
    thresholds: np.ndarray
    sample_rate: int
    loaded: tf.Module

    @classmethod
    def load(cls, path: Path) -> "Version":
        """Loads a version; raises UserError where `path` is none."""
        if not (path / SAVED_MODEL_NAME).is_file():
            raise UserError(f"{path}: no exported version (no {SAVED_MODEL_NAME} in it); expected DIR/NAME/VERSION")
        assets = path / "assets"
        try:
            tags = read_tags(assets / TAGS_NAME)
            thresholds = json.loads((assets / THRESHOLDS_NAME).read_text(encoding="utf-8"))["tags"]
            # One field, not a Config: the others may have changed their names since.
            rate = int(yaml.safe_load((assets / CONFIG_NAME).read_text(encoding="utf-8"))["frontend"]["sample_rate"])
            return cls(path, tags, np.array([thresholds[tag] for tag in tags]), rate, tf.saved_model.load(str(path)))
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError, tf.errors.OpError) as error:
            raise UserError(f"{path}: cannot be loaded as an exported version ({error})") from None

    @property
    def window_samples(self) -> int:
        """Samples that `serving_default` takes."""
        return self._tag.structured_input_signature[1]["waveform"].shape[1]

    def scores(self, windows: np.ndarray) -> np.ndarray:
        """Probabilities [windows, tags]."""
        batches = [windows[first : first + BATCH] for first in range(0, len(windows), BATCH)]
        return np.concatenate([self._tag(waveform=tf.constant(batch))["probabilities"].numpy() for batch in batches])

    @property
    def _tag(self) -> Callable[..., dict[str, tf.Tensor]]:
        return self.loaded.signatures["serving_default"]


def check_comparable(old: Version, config: Config, tags: tuple[str, ...]) -> None:
    """Raises UserError where a version takes other windows than a run, or has none of its tags."""
    found = f"{old.window_samples} samples at {old.sample_rate} Hz"
    expected = f"{config.window_samples} samples at {config.frontend.sample_rate} Hz"
    if found != expected:
        raise UserError(f"--against {old.path}: takes windows of {found}, expected {expected} as the run's")
    if not set(tags) & set(old.tags):
        raise UserError(f"--against {old.path}: has no tag of the run; expected a version of the same tags")


def compare(old: Version, new: Version, windows: np.ndarray) -> Comparison:
    """Compares two versions on windows [windows, samples], tag by tag of the same name."""
    old_scores, new_scores = old.scores(windows), new.scores(windows)
    drifts = {}
    for tag in [tag for tag in new.tags if tag in old.tags]:
        before, after = old.tags.index(tag), new.tags.index(tag)
        limits = old.thresholds[before], new.thresholds[after]
        drifts[tag] = _drift(old_scores[:, before], new_scores[:, after], *limits)
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
