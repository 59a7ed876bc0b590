"""Protocols: selections of tags, clips and splits of the dataset. Scores of different protocols are not comparable."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genre_tagger.audio.decode import MIN_SECONDS
from genre_tagger.sources.magnatagatune.annotations import FOLDERS, Annotations
from genre_tagger.sources.magnatagatune.tags import MERGED_TAGS, STANDARD_TAGS, merged_labels, standard_labels
from genre_tagger.sources.splitting import TEST_SHARE, VALID_SHARE, stratified_splits

STANDARD_SECONDS = 29.1
NUM_CLIPS = {"standard": 21_105, "full": 25_860, "seed_random": 25_860, "artist": 25_860}  # in the real dataset


@dataclass(frozen=True)
class Cut:
    """The part of the dataset that a protocol selects.

    Attributes:
        annotations: annotations of the selected clips.
        tags: tag names.
        labels: int8 [clips, tags], 1 present, 0 absent, -1 unknown.
        splits: `train`, `valid` or `test` for each clip.
        min_seconds: minimum length of a clip in seconds; shorter ones are dropped.
        warning: what readers of the scores must know, or None.
    """

    annotations: Annotations
    tags: tuple[str, ...]
    labels: np.ndarray
    splits: list[str]
    min_seconds: float = MIN_SECONDS
    warning: str | None = None


def standard(annotations: Annotations, seed: int) -> Cut:
    """Split by folder, which keeps songs whole. Drop clips without any of the tags and clips shorter than 29.1 s."""
    labels = standard_labels(annotations.tags, annotations.labels)
    tagged = (labels == 1).any(axis=1)
    kept = annotations.chosen(tagged)
    return Cut(kept, STANDARD_TAGS, labels[tagged], _splits_by_folder(kept), STANDARD_SECONDS)


def full(annotations: Annotations, seed: int) -> Cut:
    """Use the tags and folders of `standard`, but keep all clips."""
    labels = standard_labels(annotations.tags, annotations.labels)
    return Cut(annotations, STANDARD_TAGS, labels, _splits_by_folder(annotations))


def seed_random(annotations: Annotations, seed: int) -> Cut:
    """Merge synonymous tags and split clips at random: 70 % train, 10 % valid, 20 % test."""
    count = len(annotations.clips)
    train, valid = round((1 - VALID_SHARE - TEST_SHARE) * count), round(VALID_SHARE * count)
    splits = np.repeat(["train", "valid", "test"], [train, valid, count - train - valid])
    return Cut(
        annotations,
        MERGED_TAGS,
        merged_labels(annotations.tags, annotations.labels),
        np.random.default_rng(seed).permutation(splits).tolist(),
        warning="clips of the same song are in several splits, so scores on this split are too high for every model",
    )


def artist(annotations: Annotations, seed: int) -> Cut:
    """Use the tags and clips of `full`. Split whole artists, stratified by tag.

    The shares are about 70 % train, 10 % valid and 20 % test.
    """
    labels = standard_labels(annotations.tags, annotations.labels)
    splits = stratified_splits(labels, annotations.clips["artist"].tolist(), seed)
    return Cut(annotations, STANDARD_TAGS, labels, splits)


PROTOCOLS: dict[str, Callable[[Annotations, int], Cut]] = {
    "standard": standard,
    "full": full,
    "seed_random": seed_random,
    "artist": artist,
}


def _splits_by_folder(annotations: Annotations) -> list[str]:
    split_of = {folder: "train" for folder in FOLDERS} | {"c": "valid", "d": "test", "e": "test", "f": "test"}
    return [split_of[folder] for folder in annotations.clips["folder"]]
