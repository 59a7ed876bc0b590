"""The last step of preparing: from the shards' notes, tables of clips and of rejected ones, and the manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genre_tagger.data.clips import SPLITS, Source, write_tags
from genre_tagger.data.manifest import (
    CLIPS_NAME,
    FORMAT_VERSION,
    LABEL_PREFIX,
    MANIFEST_NAME,
    Manifest,
    SplitSummary,
)
from genre_tagger.data.shards import Shard, read_notes
from genre_tagger.errors import UserError
from genre_tagger.files import replacing

REJECTED_NAME = "rejected.csv"
TAGS_NAME = "tags.txt"


def write_summary(source: Source, sample_rate: int, directory: Path, digest: str, shards: Sequence[Shard]) -> None:
    """Writes `rejected.csv`, `clips.parquet`, `tags.txt` and, last, `manifest.json`.

    Raises:
        UserError: a split has no usable clip.
    """
    clips, rejected = _tables(source, sample_rate, directory, shards)
    with replacing(directory / REJECTED_NAME) as path:
        rejected.to_csv(path, index=False)
    _refuse_empty_splits(clips, rejected, directory)
    with replacing(directory / CLIPS_NAME) as path:
        clips.drop(columns="shard").to_parquet(path, index=False)
    with replacing(directory / TAGS_NAME) as path:
        write_tags(path, source.tags)
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
    with replacing(directory / MANIFEST_NAME) as path:
        path.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


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
            f"{directory}: no usable clip in {', '.join(empty)}, {len(rejected)} rejected{_first_of(rejected)} (all "
            f"reasons in {directory / REJECTED_NAME}); mend the files, remove the directory and prepare again"
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
