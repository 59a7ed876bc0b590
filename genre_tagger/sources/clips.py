"""The common interface of all sources of music: clips with labels, a group and a split."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from genre_tagger.audio.archive import PackedFile
from genre_tagger.errors import UserError
from genre_tagger.files import write_text

SPLITS = ("train", "valid", "test")
UNKNOWN = -1  # missing label; masked out of loss, metrics and thresholds


@dataclass(frozen=True)
class Clip:
    """A labelled piece of audio.

    Attributes:
        id: unique name that is the same in every run: the path relative to the source's folder.
        path: the audio file, on disk or in an archive.
        labels: int8 [tags], 1 present, 0 absent, -1 unknown.
        group: song, album or artist. It is in one split only, unless the source's notes report otherwise.
        split: `train`, `valid` or `test`.
    """

    id: str
    path: Path | PackedFile
    labels: np.ndarray
    group: str
    split: str


class Source(Protocol):
    """A collection of clips: the rendered demo, a folder with a table, or a published dataset.

    Attributes:
        name: name of the source.
        tags: tag names, in the order of the label columns.
        clips: all clips of the source.
        protocol: name of the way the clips were split, or None if the source does not name it. It is reported with
            every score.
        min_seconds: minimum length of a clip in seconds; shorter ones are rejected.
        clip_seconds: length of nearly every clip in seconds, or None if it is not known in advance.
    """

    name: str
    tags: tuple[str, ...]
    clips: Sequence[Clip]
    protocol: str | None
    min_seconds: float
    clip_seconds: float | None

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """Return lines that warn the user about properties of the splits.

        Args:
            ids: ids of the usable clips.
        """


def write_tags(path: Path, tags: Sequence[str]) -> None:
    """Write the tag names in order, one per line."""
    write_text(path, "".join(f"{tag}\n" for tag in tags))


def read_tags(path: Path) -> tuple[str, ...]:
    """Read the tag names that `write_tags` wrote.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}), expected tag names, one per line") from error
