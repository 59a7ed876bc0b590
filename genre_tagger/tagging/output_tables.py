"""The result tables of one command. Songs are looked up in them and added to them. They are saved every few seconds."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genre_tagger.evaluation.predictions import SCORE
from genre_tagger.tagging.result_table import CHOSEN, ResultTable
from genre_tagger.tagging.song import Song, TagChoice, ranked, text_of

SAVE_SECONDS = 5.0  # minimum time between two saves
SAVE_SHARE = 0.05  # maximum share of the time that saving takes, however long the tables grow
EMBEDDING = "embedding"


@dataclass(frozen=True)
class OutputPaths:
    """The result tables that a command keeps up to date.

    Attributes:
        csv, parquet: tables of all scores.
        embeddings: Parquet table of embeddings.
        shows_scores: whether the command also prints scores, so that they are needed even without a table of scores.
    """

    csv: Path | None = None
    parquet: Path | None = None
    embeddings: Path | None = None
    shows_scores: bool = True

    @property
    def paths(self) -> dict[str, Path]:
        """The paths that are given, by the names of the attributes."""
        named = {"csv": self.csv, "parquet": self.parquet, "embeddings": self.embeddings}
        return {name: path for name, path in named.items() if path}


class OutputTables:
    """A context manager for the tables of scores and embeddings. They are saved when it exits, also after Ctrl-C.

    Args:
        model: version of the model.
        tags: ordered tag names of the model.
        choice: choice of the tags in the column `tags`.
        outputs: the tables.

    Raises:
        UserError: a file is not such a table, or cannot be written.
    """

    def __init__(self, model: str, tags: Sequence[str], choice: TagChoice, outputs: OutputPaths):
        self._model, self._tags, self._choice = model, tags, choice
        named = ((outputs.csv, False), (outputs.parquet, True))
        self._scores = [ResultTable(path, model, is_parquet, choice) for path, is_parquet in named if path]
        self._embeddings = [ResultTable(path, model, True) for path in (outputs.embeddings,) if path]
        self._needs_scores = bool(self._scores) or outputs.shows_scores
        self._songs: dict[str, Song] = {}  # songs of this command, by hash
        self._next_save = time.monotonic() + SAVE_SECONDS

    def __enter__(self) -> "OutputTables":
        return self

    def __exit__(self, *_: object) -> None:
        self._save()

    def find(self, sha256: str) -> Song | None:
        """Return the result for the content with this hash, if it is complete, else None. The caller sets its path."""
        return self._songs.get(sha256) or self._read(sha256)

    def put(self, song: Song) -> None:
        """Add a song to all tables, or replace it there. Save the tables if the last save was long enough ago."""
        if not song.reason:
            self._songs[song.sha256] = song
        for table in self._scores:
            table.put(self._score_row(song))
        for table in self._embeddings:
            table.put(_first_columns(song, self._model) | {EMBEDDING: song.embedding})
        if time.monotonic() > self._next_save:
            self._save()

    def _read(self, sha256: str) -> Song | None:
        scored = next((row for table in self._scores if (row := table.find(sha256))), None)
        embedded = next((row for table in self._embeddings if (row := table.find(sha256))), None)
        row = scored or embedded
        if row is None:
            return None
        if row["flag"]:
            return Song(Path(), sha256, float(row["seconds"]), row["flag"])
        scores = self._scores_in(scored) if scored else {}
        if (self._needs_scores and not scores) or (self._embeddings and not embedded):
            return None
        embedding = embedded[EMBEDDING] if embedded else None
        return Song(Path(), sha256, float(row["seconds"]), scores=scores, embedding=embedding)

    def _score_row(self, song: Song) -> dict[str, Any]:
        scores = {f"{SCORE}{tag}": np.float32(song.scores.get(tag, math.nan)) for tag in self._tags}
        return _first_columns(song, self._model) | {CHOSEN: self._choice.joined(song.scores)} | scores

    def _scores_in(self, row: dict[str, Any]) -> dict[str, float]:
        """Return the scores of a row, or an empty dict if one is missing, so that the song is scored again."""
        scores = np.array([row.get(f"{SCORE}{tag}", math.nan) for tag in self._tags], np.float32)
        return ranked(scores, self._tags) if np.isfinite(scores).all() else {}

    def _save(self) -> None:
        before = time.monotonic()
        for table in (*self._scores, *self._embeddings):
            table.save()
        took = time.monotonic() - before
        self._next_save = before + took + max(SAVE_SECONDS, took / SAVE_SHARE)


def _first_columns(song: Song, model: str) -> dict[str, Any]:
    """Return the columns that all tables have."""
    keys = {"path": text_of(song.path), "sha256": song.sha256, "model": model}
    values = {"seconds": round(song.seconds, 3), "flag": song.flag, "reason": song.reason}
    return keys | values | ({} if song.stamp is None else {"stamp": song.stamp})
