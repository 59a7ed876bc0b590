"""The tables that one command keeps up: songs are found in them, put into them, and written now and then."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genre_tagger.evaluation.predictions import SCORE
from genre_tagger.tagging.results import Choice, Song, ranked, text_of
from genre_tagger.tagging.sheet import CHOSEN, Sheet
from genre_tagger.tagging.tagger import Tagger

SAVE_SECONDS = 5.0  # at least, between two writes
SAVE_SHARE = 0.05  # of the time at most goes into writing, however long the tables grow
EMBEDDING = "embedding"


@dataclass(frozen=True)
class Outputs:
    """Files to be kept up.

    Attributes:
        csv, parquet: tables of all scores.
        embeddings: a Parquet table of embeddings.
        shows_scores: whether scores are needed for the screen too.
    """

    csv: Path | None = None
    parquet: Path | None = None
    embeddings: Path | None = None
    shows_scores: bool = True

    @property
    def paths(self) -> dict[str, Path]:
        """The files that are asked for, by the names that they have here."""
        named = {"csv": self.csv, "parquet": self.parquet, "embeddings": self.embeddings}
        return {name: path for name, path in named.items() if path}


class Tables:
    """A table of scores as CSV, one as Parquet, one of embeddings; each may be missing.

    Within a `with`, at whose end, a Ctrl-C too, all of it is written.

    Raises:
        UserError: a file is no such table, or cannot be written.
    """

    def __init__(self, tagger: Tagger, choice: Choice, outputs: Outputs):
        self._model, self._tags, self._choice = tagger.model_version, tagger.tags, choice
        named = ((outputs.csv, False), (outputs.parquet, True))
        self._scores = [Sheet(path, self._model, is_parquet, choice) for path, is_parquet in named if path]
        self._embeddings = [Sheet(path, self._model, True) for path in (outputs.embeddings,) if path]
        self._needs_scores = bool(self._scores) or outputs.shows_scores
        self._songs: dict[str, Song] = {}  # of this run, by content
        self._next_save = time.monotonic() + SAVE_SECONDS

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def find(self, sha256: str) -> Song | None:
        """What is known of a content, if that is all that is needed; its path is to be replaced."""
        return self._songs.get(sha256) or self._read(sha256)

    def put(self, song: Song) -> None:
        """Adds a song to all tables, or replaces it, and writes them if the last time was long ago."""
        if not song.reason:
            self._songs[song.sha256] = song
        for sheet in self._scores:
            sheet.put(self._score_row(song))
        for sheet in self._embeddings:
            sheet.put(_facts(song, self._model) | {EMBEDDING: song.embedding})
        if time.monotonic() > self._next_save:
            self._save()

    def _read(self, sha256: str) -> Song | None:
        scored = next((row for sheet in self._scores if (row := sheet.find(sha256))), None)
        embedded = next((row for sheet in self._embeddings if (row := sheet.find(sha256))), None)
        row = scored or embedded
        if row is None:
            return None
        facts = {"path": Path(), "sha256": sha256, "seconds": float(row["seconds"]), "flag": row["flag"]}
        if facts["flag"]:
            return Song(**facts)
        scores = scored and self._scores_in(scored)
        if (self._needs_scores and not scores) or (self._embeddings and not embedded):
            return None
        return Song(**facts, scores=scores or {}, embedding=embedded and embedded[EMBEDDING])

    def _score_row(self, song: Song) -> dict:
        scores = {f"{SCORE}{tag}": np.float32(song.scores.get(tag, math.nan)) for tag in self._tags}
        return _facts(song, self._model) | {CHOSEN: self._choice.joined(song.scores)} | scores

    def _scores_in(self, row: dict) -> dict[str, float]:
        """The scores of a row; none where one is missing, so that they are computed anew."""
        scores = np.array([row.get(f"{SCORE}{tag}", math.nan) for tag in self._tags], np.float32)
        return ranked(scores, self._tags) if np.isfinite(scores).all() else {}

    def _save(self) -> None:
        before = time.monotonic()
        for sheet in (*self._scores, *self._embeddings):
            sheet.save()
        took = time.monotonic() - before
        self._next_save = before + took + max(SAVE_SECONDS, took / SAVE_SHARE)


def _facts(song: Song, model: str) -> dict:
    """The columns that all tables have."""
    keys = {"path": text_of(song.path), "sha256": song.sha256, "model": model}
    facts = {"seconds": round(song.seconds, 3), "flag": song.flag, "reason": song.reason}
    return keys | facts | ({} if song.stamp is None else {"stamp": song.stamp})
