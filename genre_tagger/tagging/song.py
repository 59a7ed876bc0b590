"""The result for one song, and the choice of the tags that are shown."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from genre_tagger.tagging.tagger import Taggram


@dataclass(frozen=True, eq=False)
class Song:
    """The result for one audio file.

    Attributes:
        path: the file, or its URI in an object store.
        sha256: hash of its content; empty if it was not computed or the file cannot be read.
        seconds: length of the song; NaN if it was not measured.
        flag: why a decoded file is not tagged: `silent` or `too short`; otherwise empty.
        reason: why a file has no usable audio; otherwise empty.
        scores: probabilities of the tags, the highest first; empty if there is a flag or a reason.
        embedding: float32 [dim] if it was requested and there is neither a flag nor a reason, otherwise None.
        stamp: size and modification time, by which a cluster recognises the file; None if its hash identifies it.
        is_new: whether it was scored now, rather than found in a table.
    """

    path: str | Path
    sha256: str = ""
    seconds: float = math.nan
    flag: str = ""
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    embedding: np.ndarray | None = None
    stamp: str | None = None
    is_new: bool = True

    @property
    def status(self) -> str:
        """The result in words, to follow a number: `tagged`, `known already`, `without usable audio` or the flag."""
        return self.flag or ("without usable audio" if self.reason else "tagged" if self.is_new else "known already")

    @classmethod
    def of(cls, path: str | Path, sha256: str, taggram: "Taggram", tags: Sequence[str]) -> "Song":
        """Return the result of a song from its taggram.

        Args:
            path: the file.
            sha256: hash of its content.
            taggram: its taggram.
            tags: names of the taggram's tags.
        """
        has_embedding = not taggram.flag and taggram.embeddings is not None
        return cls(
            path,
            sha256,
            taggram.seconds,
            taggram.flag,
            scores=ranked(taggram.scores, tags),  # empty if there is a flag, because the scores are NaN
            embedding=taggram.embedding if has_embedding else None,
        )


@dataclass(frozen=True)
class TagChoice:
    """The rule that chooses tags: the highest ones, without those below a threshold.

    Attributes:
        top: maximum number of tags.
        threshold: minimum probability.
    """

    top: int
    threshold: float = 0.0

    def of(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Return the chosen tags with their probabilities, the highest first.

        Args:
            scores: probabilities of the tags, the highest first.
        """
        return {tag: score for tag, score in islice(scores.items(), self.top) if score >= self.threshold}

    def joined(self, scores: Mapping[str, float]) -> str:
        """Return the names of the chosen tags separated by `|`, as in the column `tags` of result tables."""
        return "|".join(self.of(scores))


def ranked(scores: np.ndarray, tags: Sequence[str]) -> dict[str, float]:
    """Return scores [tags] by tag name, the highest first. Scores that are NaN are left out."""
    order = np.argsort(-scores, kind="stable")  # NaN last
    return {tags[number]: float(scores[number]) for number in order[: np.count_nonzero(~np.isnan(scores))]}


def text_of(path: str | Path) -> str:
    """Return a path as text. Bytes that are not valid UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
