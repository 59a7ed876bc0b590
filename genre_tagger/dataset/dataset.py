"""The clips of each split: labels in memory, audio through a reader."""

from dataclasses import dataclass, replace

import numpy as np

from genre_tagger.dataset.manifest import LABEL_PREFIX, Manifest
from genre_tagger.dataset.pipeline import ClipReader, RecordReader
from genre_tagger.errors import UserError
from genre_tagger.sources.clips import SPLITS, UNKNOWN


@dataclass(frozen=True)
class LabelledClips:
    """The clips of one split.

    Attributes:
        reader: reader of the audio.
        numbers: int [clips], index of each clip in the output of the reader.
        ids: id of each clip.
        groups: str [clips], group of each clip.
        seconds: float [clips], length of each clip in seconds.
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
        """Bool [tags]: whether the tag has both positives and negatives, which ranking metrics need."""
        both: np.ndarray = (self.labels == 1).any(axis=0) & (self.labels == 0).any(axis=0)
        return both


@dataclass(frozen=True)
class Dataset:
    """The labelled clips of all splits.

    Attributes:
        tags: tag names, in the order of the label columns.
        hash: hash of the data, see `genre_tagger.dataset.prepare.data_hash`.
        splits: the clips of `train`, `valid` and `test`.
        protocol: name of the way the clips were split, or None if the source does not name it.
    """

    tags: tuple[str, ...]
    hash: str
    splits: dict[str, LabelledClips]
    protocol: str | None = None

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> "Dataset":
        """Return the dataset in a prepared directory."""
        splits = {split: _prepared_clips(manifest, split) for split in SPLITS}
        return cls(manifest.tags, manifest.hash, splits, manifest.protocol)

    def with_tags(self, tags: tuple[str, ...]) -> "Dataset":
        """Return the same clips with the labels of other tags, matched by name.

        Labels of tags that the data does not have are unknown. The result is for evaluation, not for training.

        Args:
            tags: names of the other tags.

        Raises:
            UserError: the data has none of the tags.
        """
        if tags == self.tags:
            return self
        if not set(tags) & set(self.tags):
            raise UserError(
                f"tags: found none of the run's tags ({', '.join(tags[:3])}, ...) in the data, expected one or more"
            )
        splits = {
            split: replace(clips, labels=_labels_by_name(clips.labels, self.tags, tags))
            for split, clips in self.splits.items()
        }
        return replace(self, tags=tags, splits=splits)

    def clips_shorter_than(self, seconds: float) -> int:
        """Return the number of clips in all splits that are shorter than a window of this length."""
        return sum(int((clips.seconds < seconds).sum()) for clips in self.splits.values())

    def one_sided_tags(self, split: str) -> list[str]:
        """Return the tags without positives or without negatives in a split."""
        return [tag for tag, both in zip(self.tags, self.splits[split].two_sided, strict=True) if not both]


def _labels_by_name(labels: np.ndarray, names: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """Turn labels [clips, names] into labels [clips, wanted]. Labels of other names are unknown."""
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
