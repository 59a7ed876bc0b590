"""What every source of music yields: clips with labels, a group and a split."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from genre_tagger.data.archive import PackedFile
from genre_tagger.errors import UserError

SPLITS = ("train", "valid", "test")
UNKNOWN = -1  # a label nobody gave: masked out of loss, metrics and thresholds


@dataclass(frozen=True)
class Clip:
    """One piece of audio with its labels.

    Attributes:
        id: unique name, stable between runs (the path relative to the source's folder).
        path: the audio file, on its own or in an archive.
        labels: int8 [tags], 1 present, 0 absent, -1 unknown.
        group: song, album or artist; a group never straddles splits.
        split: `train`, `valid` or `test`.
    """

    id: str
    path: Path | PackedFile
    labels: np.ndarray
    group: str
    split: str


class Source(Protocol):
    """Anything that yields clips: the rendered demo, a folder with a table, a published dataset.

    Attributes:
        name: of the source.
        tags: ordered names.
        clips: all of them.
        protocol: the way it was cut into splits, where there are several; it stands beside every figure.
        min_seconds: clips that turn out shorter are rejected.
        clip_seconds: length of nearly every clip, where it is known without looking.
    """

    name: str
    tags: tuple[str, ...]
    clips: Sequence[Clip]
    protocol: str | None
    min_seconds: float
    clip_seconds: float | None

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """Lines that a user has to read about the splits; `ids` are of the clips that turned out usable."""


def write_tags(path: Path, tags: Sequence[str]) -> None:
    """Writes the ordered tag names, one a line."""
    path.write_text("".join(f"{tag}\n" for tag in tags), encoding="utf-8")


def read_tags(path: Path) -> tuple[str, ...]:
    """Reads what `write_tags` wrote; raises UserError where that fails."""
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}), expected tag names, one a line") from None
