"""The ways in which the dataset is cut into tags, clips and splits. Figures of different ones cannot be compared."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from genre_tagger.data.decode import MIN_SECONDS
from genre_tagger.data.magnatagatune.annotations import FOLDERS, Annotations
from genre_tagger.data.magnatagatune.tags import MERGED_TAGS, STANDARD_TAGS, merged_labels, standard_labels
from genre_tagger.data.splitting import TEST_SHARE, VALID_SHARE, stratified_splits

STANDARD_SECONDS = 29.1
NUM_CLIPS = {"standard": 21_105, "full": 25_860, "seed_random": 25_860, "artist": 25_860}  # of the real dataset


@dataclass(frozen=True)
class Cut:
    """What a protocol leaves of the dataset.

    Attributes:
        annotations: the clips that are kept.
        tags: the names of the tags.
        labels: int8 [clips, tags].
        splits: `train`, `valid` or `test` of each clip.
        min_seconds: clips that turn out shorter are dropped.
        warning: what a reader of its figures has to know.
    """

    annotations: Annotations
    tags: tuple[str, ...]
    labels: np.ndarray
    splits: list[str]
    min_seconds: float = MIN_SECONDS
    warning: str | None = None


def standard(annotations: Annotations, seed: int) -> Cut:
    """Whole songs by folder; without clips that have none of the tags or are shorter than 29.1 s."""
    labels = standard_labels(annotations.tags, annotations.labels)
    tagged = (labels == 1).any(axis=1)
    kept = annotations.chosen(tagged)
    return Cut(kept, STANDARD_TAGS, labels[tagged], _splits_by_folder(kept), STANDARD_SECONDS)


def full(annotations: Annotations, seed: int) -> Cut:
    """Tags and folders of `standard`, with no clip dropped."""
    labels = standard_labels(annotations.tags, annotations.labels)
    return Cut(annotations, STANDARD_TAGS, labels, _splits_by_folder(annotations))


def seed_random(annotations: Annotations, seed: int) -> Cut:
    """Merged synonyms, all clips shuffled: 70 % train, 10 % validate, 20 % test."""
    count = len(annotations.clips)
    train, valid = round((1 - VALID_SHARE - TEST_SHARE) * count), round(VALID_SHARE * count)
    splits = np.repeat(["train", "valid", "test"], [train, valid, count - train - valid])
    return Cut(
        annotations,
        MERGED_TAGS,
        merged_labels(annotations.tags, annotations.labels),
        np.random.default_rng(seed).permutation(splits).tolist(),
        warning="clips of one song fall on both sides: figures of this split flatter every model",
    )


def artist(annotations: Annotations, seed: int) -> Cut:
    """Tags and clips of `full`; whole artists, stratified by tag: about 70 % train, 10 % validate, 20 % test."""
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
