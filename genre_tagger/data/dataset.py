"""The clips of each split with their labels in memory and their audio behind a reader."""

from dataclasses import dataclass, replace

import numpy as np

from genre_tagger.data.clips import SPLITS, UNKNOWN
from genre_tagger.data.manifest import LABEL_PREFIX, Manifest
from genre_tagger.data.pipeline import ClipReader, RecordReader
from genre_tagger.errors import UserError


@dataclass(frozen=True)
class LabelledClips:
    """The clips of one split.

    Attributes:
        reader: their audio.
        numbers: [clips], the index that the reader calls each clip by.
        ids, groups: [clips].
        seconds: [clips], their lengths.
        labels: int8 [clips, tags], 1, 0 or -1 (unknown).
    """

    reader: ClipReader
    numbers: np.ndarray
    ids: list[str]
    groups: np.ndarray
    seconds: np.ndarray
    labels: np.ndarray

    @property
    def two_sided(self) -> np.ndarray:
        """bool [tags]: the tag has positives and negatives here; without them nothing can be ranked."""
        return (self.labels == 1).any(axis=0) & (self.labels == 0).any(axis=0)


@dataclass(frozen=True)
class Dataset:
    """All splits, what identifies them, the tags their labels stand for, and the protocol that cut them, if named."""

    tags: tuple[str, ...]
    hash: str
    splits: dict[str, LabelledClips]
    protocol: str | None = None

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> "Dataset":
        """The dataset in a prepared directory."""
        splits = {split: _prepared_clips(manifest, split) for split in SPLITS}
        return cls(manifest.tags, manifest.hash, splits, manifest.protocol)

    def with_tags(self, tags: tuple[str, ...]) -> "Dataset":
        """The same clips with labels for other tags, by name, unknown where the data has none; to score, not to train.

        Raises:
            UserError: the data has none of the tags.
        """
        if tags == self.tags:
            return self
        if not set(tags) & set(self.tags):
            raise UserError(
                f"tags: found none of the run's ({', '.join(tags[:3])}, ...) in the data, expected one or more"
            )
        splits = {
            split: replace(clips, labels=_labels_by_name(clips.labels, self.tags, tags))
            for split, clips in self.splits.items()
        }
        return replace(self, tags=tags, splits=splits)

    def clips_shorter_than(self, seconds: float) -> int:
        """How many clips of all splits do not fill a window of that length."""
        return sum(int((clips.seconds < seconds).sum()) for clips in self.splits.values())

    def one_sided_tags(self, split: str) -> list[str]:
        """Tags without positives or without negatives in a split."""
        return [tag for tag, both in zip(self.tags, self.splits[split].two_sided, strict=True) if not both]


def _labels_by_name(labels: np.ndarray, names: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """Columns [clips, names] -> [clips, wanted], unknown where no name fits."""
    unknown = np.full(len(labels), UNKNOWN, np.int8)
    columns = dict(zip(names, labels.T, strict=True))
    return np.stack([columns.get(name, unknown) for name in wanted], axis=1)


def _prepared_clips(manifest: Manifest, split: str) -> LabelledClips:
    clips = manifest.clip_index(split)
    return LabelledClips(
        reader=RecordReader.of(manifest, split),
        numbers=clips.index.to_numpy(),
        ids=clips["id"].tolist(),
        groups=clips["group"].to_numpy(),
        seconds=clips["seconds"].to_numpy(),
        labels=clips[[f"{LABEL_PREFIX}{tag}" for tag in manifest.tags]].to_numpy(np.int8),
    )
