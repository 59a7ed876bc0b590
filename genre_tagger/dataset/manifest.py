"""The manifest of a prepared directory. This module does not import TensorFlow, so that it loads quickly."""

import json
from pathlib import Path

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from genre_tagger.errors import UserError

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
CLIPS_NAME = "clips.parquet"
PREPARED_NAME = "prepared"  # folder of all prepared directories, inside the data folder
LABEL_PREFIX = "label:"

_REMEDY = "remove the directory and rerun `genre-tagger prepare`"


class SplitSummary(BaseModel):
    """Counts of one split.

    Attributes:
        clips: number of clips.
        groups: number of groups.
        seconds: total length of all clips.
        shards: file names in the prepared directory.
        positives: number of positive labels of each tag.
        negatives: number of negative labels of each tag.
    """

    model_config = ConfigDict(frozen=True)

    clips: int
    groups: int
    seconds: float
    shards: tuple[str, ...]
    positives: dict[str, int]
    negatives: dict[str, int]


class Manifest(BaseModel):
    """Description of prepared data.

    Attributes:
        directory: the prepared directory. It is not stored, so that the data can be moved.
        format_version: version of the format of the directory.
        source: name of the source.
        sample_rate: sample rate of the stored PCM, in Hz.
        tags: tag names in order.
        hash: hash of the data, see `genre_tagger.dataset.prepare.data_hash`.
        splits: counts of `train`, `valid` and `test`.
        rejected: number of clips without usable audio. They are listed in `rejected.csv`.
        protocol: name of the way the clips were split, or None if the source does not name it. It is reported with
            every score.
        notes: lines that warn the user about properties of the splits.
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
        """Return the paths of the TFRecord files of a split."""
        return [self.directory / name for name in self.splits[split].shards]

    def clip_index(self, split: str) -> pd.DataFrame:
        """Return the clips of a split.

        Returns:
            A table with the columns `id`, `group`, `split`, `samples`, `seconds` and one column `label:TAG` per tag (1
            present, 0 absent, -1 unknown). The row index is the number that is stored with each record. Numbers of
            rejected clips are missing.
        """
        clips = pd.read_parquet(self.directory / CLIPS_NAME)
        return clips[clips["split"] == split].set_index("index")

    def one_sided_tags(self, split: str) -> list[str]:
        """Return the tags without positives or without negatives in a split, which have no ranking metric."""
        summary = self.splits[split]
        return [tag for tag in self.tags if not summary.positives[tag] or not summary.negatives[tag]]


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest of a prepared directory.

    Raises:
        UserError: the manifest is missing, invalid or of another format version, or a shard that it lists is missing.
    """
    path = directory / MANIFEST_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest.model_validate({**fields, "directory": directory})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file, expected a directory made by `genre-tagger prepare`") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())}); {_REMEDY}") from error
    _check(manifest, path)
    return manifest


def _check(manifest: Manifest, path: Path) -> None:
    if manifest.format_version != FORMAT_VERSION:
        raise UserError(f"{path}: found format version {manifest.format_version}, expected {FORMAT_VERSION}; {_REMEDY}")
    for shard in (shard for split in manifest.splits for shard in manifest.shard_paths(split)):
        if not shard.exists():
            raise UserError(f"{path}: lists {shard.name}, which does not exist; {_REMEDY}")
