"""The clips of each split with their labels in memory and their audio behind a reader."""

from dataclasses import dataclass

import numpy as np

from genre_tagger.data.clips import SPLITS
from genre_tagger.data.manifest import LABEL_PREFIX, Manifest
from genre_tagger.data.pipeline import ClipReader, RecordReader


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

    def clips_shorter_than(self, seconds: float) -> int:
        """How many clips of all splits do not fill a window of that length."""
        return sum(int((clips.seconds < seconds).sum()) for clips in self.splits.values())

    def one_sided_tags(self, split: str) -> list[str]:
        """Tags without positives or without negatives in a split."""
        return [tag for tag, both in zip(self.tags, self.splits[split].two_sided, strict=True) if not both]


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
