"""The files that index prepared shards: tables of clips and rejected files, tag names and the manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genre_tagger.dataset.manifest import (
    CLIPS_NAME,
    FORMAT_VERSION,
    LABEL_PREFIX,
    MANIFEST_NAME,
    Manifest,
    SplitSummary,
)
from genre_tagger.dataset.shards import Shard, read_notes
from genre_tagger.errors import UserError
from genre_tagger.files import replacing, write_text
from genre_tagger.sources.clips import SPLITS, Source, write_tags

REJECTED_NAME = "rejected.csv"
TAGS_NAME = "tags.txt"


def write_index_files(source: Source, sample_rate: int, directory: Path, digest: str, shards: Sequence[Shard]) -> None:
    """Write `rejected.csv`, `clips.parquet`, `tags.txt` and, last, `manifest.json` from the notes of the shards.

    Args:
        source: source of the clips.
        sample_rate: sample rate of the stored audio, in Hz.
        directory: the prepared directory.
        digest: hash of the data.
        shards: all shards, which must be finished.

    Raises:
        UserError: a split has no usable clip.
    """
    clips, rejected = _tables(source, sample_rate, directory, shards)
    with replacing(directory / REJECTED_NAME) as path:
        rejected.to_csv(path, index=False)
    _refuse_empty_splits(clips, rejected, directory)
    with replacing(directory / CLIPS_NAME) as path:
        clips.drop(columns="shard").to_parquet(path, index=False)
    write_tags(directory / TAGS_NAME, source.tags)
    manifest = Manifest(
        directory=directory,
        format_version=FORMAT_VERSION,
        source=source.name,
        sample_rate=sample_rate,
        tags=tuple(source.tags),
        hash=digest,
        splits={split: _summarise(clips[clips["split"] == split], source.tags) for split in SPLITS},
        rejected=len(rejected),
        protocol=source.protocol,
        notes=source.notes(set(clips["id"])),
    )
    write_text(directory / MANIFEST_NAME, manifest.model_dump_json(indent=1))


def _tables(
    source: Source, sample_rate: int, directory: Path, shards: Sequence[Shard]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    held, rejected = [], []
    for shard in shards:
        clips, unusable = read_notes(shard, directory)
        held += [{**clip, "split": shard.split, "shard": shard.records(directory).name} for clip in clips]
        rejected += unusable
    table = pd.DataFrame(held, columns=["index", "id", "group", "split", "samples", "shard"])
    table.insert(5, "seconds", table["samples"] / sample_rate)
    return table.join(_labels(source, table["id"])), pd.DataFrame(rejected, columns=["id", "path", "reason"])


def _labels(source: Source, ids: pd.Series) -> pd.DataFrame:
    by_id = {clip.id: clip.labels for clip in source.clips}
    labels = np.array([by_id[name] for name in ids], dtype=np.int8).reshape(len(ids), len(source.tags))
    return pd.DataFrame(labels, columns=[LABEL_PREFIX + tag for tag in source.tags])


def _refuse_empty_splits(clips: pd.DataFrame, rejected: pd.DataFrame, directory: Path) -> None:
    empty = [split for split in SPLITS if split not in set(clips["split"])]
    if empty:
        raise UserError(
            f"{directory}: found no usable clip in {', '.join(empty)}, {len(rejected)} rejected{_first_of(rejected)} "
            f"(all reasons in {directory / REJECTED_NAME}); fix the files, remove the directory and rerun the command"
        )


def _first_of(rejected: pd.DataFrame) -> str:
    return f", the first {rejected['path'][0]}: {rejected['reason'][0]}" if len(rejected) else ""


def _summarise(clips: pd.DataFrame, tags: Sequence[str]) -> SplitSummary:
    labels = {tag: clips[LABEL_PREFIX + tag] for tag in tags}
    return SplitSummary(
        clips=len(clips),
        groups=clips["group"].nunique(),
        seconds=float(clips["seconds"].sum()),
        shards=tuple(clips["shard"].unique()),
        positives={tag: int((column == 1).sum()) for tag, column in labels.items()},
        negatives={tag: int((column == 0).sum()) for tag, column in labels.items()},
    )
