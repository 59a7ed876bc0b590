"""What is known of a song, and which of its tags are shown."""

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
    """What is known of one file.

    Attributes:
        path: of the file.
        sha256: of its content; empty where nobody needs it or it cannot be read.
        seconds: its length; NaN where nobody measured it.
        flag: why a sound file is not judged: `silent` or `too short`.
        reason: why there is no usable audio.
        scores: probability of every tag that is known, the highest first; none where there is a flag or a reason.
        embedding: float32 [dim], where it was asked for and there is neither.
        stamp: by which a cluster's run knows the file again without reading it; None where the content does.
        is_new: whether it was scored now, and not found in a table.
    """

    path: Path
    sha256: str = ""
    seconds: float = math.nan
    flag: str = ""
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    embedding: np.ndarray | None = None
    stamp: str | None = None
    is_new: bool = True

    @property
    def outcome(self) -> str:
        """What became of it, in words that can follow a number."""
        return self.flag or ("without usable audio" if self.reason else "tagged" if self.is_new else "known already")

    @classmethod
    def of(cls, path: Path, sha256: str, taggram: "Taggram", tags: Sequence[str]) -> "Song":
        """The song of a taggram."""
        facts = {"path": path, "sha256": sha256, "seconds": taggram.seconds, "flag": taggram.flag}
        if taggram.flag:
            return cls(**facts)
        embedding = None if taggram.embeddings is None else taggram.embedding
        return cls(**facts, scores=ranked(taggram.scores, tags), embedding=embedding)


@dataclass(frozen=True)
class Choice:
    """Which tags a song is given: the `top` highest, and none below the threshold."""

    top: int
    threshold: float = 0.0

    def of(self, scores: Mapping[str, float]) -> dict[str, float]:
        """The chosen of a song's tags with their probabilities, the highest first, as `scores` has them."""
        return {tag: score for tag, score in islice(scores.items(), self.top) if score >= self.threshold}

    def joined(self, scores: Mapping[str, float]) -> str:
        """The names alone, as a table has them."""
        return "|".join(self.of(scores))


def ranked(scores: np.ndarray, tags: Sequence[str]) -> dict[str, float]:
    """Scores [tags] by name, the highest first, without those that are NaN."""
    order = np.argsort(-scores, kind="stable")  # NaN last
    return {tags[number]: float(scores[number]) for number in order[: np.count_nonzero(~np.isnan(scores))]}


def text_of(path: Path) -> str:
    """A path as text for any file or screen: bytes that are no UTF-8 become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
