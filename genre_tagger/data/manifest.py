"""What a prepared directory says about itself. Light: readers without TensorFlow use it too."""

import json
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from genre_tagger.errors import UserError

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
CLIPS_NAME = "clips.parquet"
PREPARED_NAME = "prepared"  # the folder of prepared directories, below that of all data
LABEL_PREFIX = "label:"

_REMEDY = "remove the directory and prepare again"


class SplitSummary(BaseModel):
    """Counts of one split; `shards` are file names in the prepared directory, `seconds` the length of all clips."""

    model_config = ConfigDict(frozen=True)

    clips: int
    groups: int
    seconds: float
    shards: tuple[str, ...]
    positives: dict[str, int]
    negatives: dict[str, int]


class Manifest(BaseModel):
    """Describes prepared data.

    Attributes:
        directory: where it lies; not stored, so that the data can be moved.
        source: name of the source it was made from.
        sample_rate: of the stored PCM, in Hz.
        tags: ordered names.
        hash: identifies the data, see `genre_tagger.data.records.data_hash`.
        splits: a summary for each of train, valid and test.
        protocol: the way the source was cut into splits, where it has several; it belongs beside every figure.
        notes: what a reader of its figures has to know.
        rejected: number of clips without usable audio, listed in `rejected.csv`.
    """

    model_config = ConfigDict(frozen=True)

    directory: Path = Field(exclude=True)
    format_version: int
    source: str
    sample_rate: int
    tags: tuple[str, ...]
    hash: str
    splits: dict[str, SplitSummary]
    rejected: int
    protocol: str | None = None
    notes: tuple[str, ...] = ()

    def shard_paths(self, split: str) -> list[Path]:
        """The TFRecord files of a split."""
        return [self.directory / name for name in self.splits[split].shards]

    def clip_index(self, split: str) -> pd.DataFrame:
        """Clips of a split: id, group, split, samples, seconds and one `label:TAG` column a tag (-1 unknown).

        Rows are named by `index`, the number stored with each record; numbers of rejected clips are missing.
        """
        clips = pd.read_parquet(self.directory / CLIPS_NAME)
        return clips[clips["split"] == split].set_index("index")

    def one_sided_tags(self, split: str) -> list[str]:
        """Tags without positives or without negatives in a split: no ranking metric exists for them there."""
        summary = self.splits[split]
        return [tag for tag in self.tags if not summary.positives[tag] or not summary.negatives[tag]]


def read_manifest(directory: Path) -> Manifest:
    """Reads the manifest of a prepared directory.

    Raises:
        UserError: there is none, it is broken or of another format version, or shards that it lists are missing.
    """
    path = directory / MANIFEST_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest.model_validate({**fields, "directory": directory})
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; expected a directory made by `genre-tagger prepare`") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: broken ({' '.join(str(error).split())}); {_REMEDY}") from None
    _check(manifest, path)
    return manifest


def _check(manifest: Manifest, path: Path) -> None:
    if manifest.format_version != FORMAT_VERSION:
        raise UserError(f"{path}: format version {manifest.format_version}, expected {FORMAT_VERSION}; {_REMEDY}")
    for shard in (shard for split in manifest.splits for shard in manifest.shard_paths(split)):
        if not shard.exists():
            raise UserError(f"{path}: lists {shard.name}, which is missing; {_REMEDY}")
