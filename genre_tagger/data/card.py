"""The dataset card of prepared data: what is in it, in numbers (`dataset.json`) and at a glance (`dataset.png`)."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from genre_tagger.data.archive import PackedFile
from genre_tagger.data.card_plot import plot_card
from genre_tagger.data.clips import SPLITS, Source
from genre_tagger.data.decode import Undecodable, opened
from genre_tagger.data.manifest import LABEL_PREFIX, Manifest
from genre_tagger.files import replacing

CARD_NAME, PLOT_NAME = "dataset.json", "dataset.png"
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
FILES_LOOKED_AT = 1000  # for their rates: reading the headers of all files of a large collection takes minutes


def write_card(source: Source, manifest: Manifest) -> dict:
    """Writes the card of prepared data beside it.

    Args:
        source: that it was prepared from.
        manifest: of the prepared data.

    Returns:
        The content of `dataset.json`: `splits` (clips, groups, hours), `tags` (known positives and negatives a split
        and the share of positives), `co_occurrence` (clips that have both tags, [tags, tags]), `seconds` (quantiles of
        the clips' lengths), `files` (kinds of the first of them), `rejected` (how many for which reason).
    """
    clips = pd.concat([manifest.clip_index(split) for split in SPLITS])
    card = {
        "source": manifest.source,
        "protocol": manifest.protocol,
        "notes": list(manifest.notes),
        "sample_rate": manifest.sample_rate,
        "splits": _splits(manifest),
        "tags": _tags(manifest),
        "co_occurrence": _co_occurrence(clips, manifest.tags),
        "seconds": {f"{quantile:.0%}": float(clips["seconds"].quantile(quantile)) for quantile in QUANTILES},
        "files": _files(source),
        "rejected": _rejected(manifest.directory / "rejected.csv"),
    }
    with replacing(manifest.directory / CARD_NAME) as path:
        path.write_text(json.dumps(card, indent=1), encoding="utf-8")
    with replacing(manifest.directory / PLOT_NAME) as path:
        plot_card(path, card, clips["seconds"].to_numpy())
    return card


def _splits(manifest: Manifest) -> dict[str, dict]:
    return {
        split: {"clips": summary.clips, "groups": summary.groups, "hours": summary.seconds / 3600}
        for split, summary in manifest.splits.items()
    }


def _tags(manifest: Manifest) -> dict[str, dict]:
    def counts(tag: str, split: str) -> dict:
        positives, negatives = manifest.splits[split].positives[tag], manifest.splits[split].negatives[tag]
        known = positives + negatives
        return {"positives": positives, "negatives": negatives, "share": positives / known if known else None}

    return {tag: {split: counts(tag, split) for split in SPLITS} for tag in manifest.tags}


def _co_occurrence(clips: pd.DataFrame, tags: tuple[str, ...]) -> list[list[int]]:
    """How many clips have both tags; on the diagonal, each tag's own."""
    present = (clips[[LABEL_PREFIX + tag for tag in tags]].to_numpy() == 1).astype(np.float32)  # whole to 2^24
    return (present.T @ present).astype(int).tolist()


def _files(source: Source) -> dict:
    count = min(len(source.clips), FILES_LOOKED_AT)
    chosen = [source.clips[row] for row in np.linspace(0, len(source.clips) - 1, count).astype(int)]
    kinds = Counter(_kind(clip.path) for clip in chosen)
    return {"looked_at": len(chosen), "kinds": dict(kinds.most_common())}


def _kind(path: Path | PackedFile) -> str:
    """Format, rate and channels by the file's header."""
    try:
        with opened(path) as file:
            return f"{file.format}, {file.samplerate} Hz, {file.channels} channel{'s' if file.channels > 1 else ''}"
    except Undecodable:  # rejected.csv has the reason
        return "unreadable"


def _rejected(path: Path) -> dict[str, int]:
    """How many files for which reason, numbers in it left open."""
    reasons = pd.read_csv(path)["reason"]
    return dict(Counter(re.sub(r"\d+([.,]\d+)*", "N", reason) for reason in reasons).most_common())
