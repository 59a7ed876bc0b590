"""The dataset card: statistics of prepared data as numbers (`dataset.json`) and as plots (`dataset.png`)."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genre_tagger.audio.archive import PackedFile
from genre_tagger.audio.decode import Undecodable, opened
from genre_tagger.dataset.card_plot import plot_card
from genre_tagger.dataset.manifest import LABEL_PREFIX, Manifest
from genre_tagger.files import replacing, write_text
from genre_tagger.sources.clips import SPLITS, Source

CARD_NAME, PLOT_NAME = "dataset.json", "dataset.png"
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
FILES_LOOKED_AT = 1000  # maximum number of headers read; all headers of a large collection would take minutes


def write_card(source: Source, manifest: Manifest) -> dict[str, Any]:
    """Write the dataset card into the directory of the prepared data.

    Args:
        source: source of the data.
        manifest: manifest of the prepared data.

    Returns:
        The content of `dataset.json`. Among its keys are `splits` (clips, groups and hours), `tags` (positives,
        negatives and the share of positives among known labels, for each split), `co_occurrence` (number of clips that
        have both tags, [tags, tags]), `seconds` (quantiles of the clip length), `files` (formats of up to
        FILES_LOOKED_AT files) and `rejected` (number of files for each reason).
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
    write_text(manifest.directory / CARD_NAME, json.dumps(card, indent=1))
    with replacing(manifest.directory / PLOT_NAME) as path:
        plot_card(path, card, clips["seconds"].to_numpy())
    return card


def _splits(manifest: Manifest) -> dict[str, dict[str, Any]]:
    return {
        split: {"clips": summary.clips, "groups": summary.groups, "hours": summary.seconds / 3600}
        for split, summary in manifest.splits.items()
    }


def _tags(manifest: Manifest) -> dict[str, dict[str, Any]]:
    def counts(tag: str, split: str) -> dict[str, Any]:
        positives, negatives = manifest.splits[split].positives[tag], manifest.splits[split].negatives[tag]
        known = positives + negatives
        return {"positives": positives, "negatives": negatives, "share": positives / known if known else None}

    return {tag: {split: counts(tag, split) for split in SPLITS} for tag in manifest.tags}


def _co_occurrence(clips: pd.DataFrame, tags: tuple[str, ...]) -> list[list[int]]:
    """Return the number of clips that have both tags. The diagonal has the number of clips with each tag."""
    present = (clips[[LABEL_PREFIX + tag for tag in tags]].to_numpy() == 1).astype(np.float32)  # exact up to 2^24
    counts: list[list[int]] = (present.T @ present).astype(int).tolist()
    return counts


def _files(source: Source) -> dict[str, Any]:
    count = min(len(source.clips), FILES_LOOKED_AT)
    chosen = [source.clips[row] for row in np.linspace(0, len(source.clips) - 1, count).astype(int)]
    kinds = Counter(_kind(clip.path) for clip in chosen)
    return {"looked_at": len(chosen), "kinds": dict(kinds.most_common())}


def _kind(path: Path | PackedFile) -> str:
    """Return format, sample rate and channels from the header of the file."""
    try:
        with opened(path) as file:
            return f"{file.format}, {file.samplerate} Hz, {file.channels} channel{'s' if file.channels > 1 else ''}"
    except Undecodable:  # the reason is in rejected.csv
        return "unreadable"


def _rejected(path: Path) -> dict[str, int]:
    """Return the number of files for each reason. Numbers in a reason become `N`, so that equal reasons are counted."""
    reasons = pd.read_csv(path)["reason"]
    return dict(Counter(re.sub(r"\d+([.,]\d+)*", "N", reason) for reason in reasons).most_common())
