"""A result table: a CSV or Parquet file to which several commands add rows."""

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import SCORE
from genre_tagger.files import replacing, storage_errors
from genre_tagger.tagging.song import TagChoice, ranked

CHOSEN = "tags"  # column with the chosen tags, in tables of scores
COLUMNS = ("path", "sha256", "model", "seconds", "flag", "reason")  # the first columns of every table


class ResultTable:
    """A table with one row per path and model. Rows that are not replaced are kept, but their `tags` may change.

    Args:
        path: the file, which need not exist.
        model: version of the model whose rows are found and added.
        is_parquet: whether the file is Parquet; CSV otherwise.
        choice: choice of the tags in the column `tags`, applied to all rows; None for a table without scores.

    Raises:
        UserError: the file is not such a table, or cannot be read or written.
    """

    def __init__(self, path: Path, model: str, is_parquet: bool, choice: TagChoice | None = None):
        self._path, self._model, self._is_parquet = path, model, is_parquet
        with storage_errors(path.parent), NamedTemporaryFile(dir=path.parent):
            pass
        self._old = self._read(choice) if path.exists() else pd.DataFrame(columns=list(COLUMNS))
        self._new: dict[str, dict[str, Any]] = {}
        done = self._old[(self._old["model"] == model) & (self._old["reason"] == "")]
        self._known = done.drop_duplicates("sha256", keep="last").set_index("sha256", drop=False)

    def find(self, sha256: str) -> dict[str, Any] | None:
        """Return the model's row for this hash, under any path; None if there is no row or it has a reason."""
        if sha256 not in self._known.index:
            return None
        return {str(name): value for name, value in self._known.loc[sha256].to_dict().items()}

    def put(self, row: dict[str, Any]) -> None:
        """Add a row of the model. It replaces the model's row for the same path, if there is one."""
        self._new[row["path"]] = row

    def save(self) -> None:
        """Write all rows to a new file and rename it."""
        replaced = (self._old["model"] == self._model) & self._old["path"].isin(self._new)
        parts = [self._old[~replaced], pd.DataFrame(list(self._new.values()))]
        table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        table = table.astype(dict.fromkeys(_score_columns(table), "float32"))  # as many digits as float32 needs
        with storage_errors(self._path.parent), replacing(self._path) as unfinished:
            if self._is_parquet:
                table.to_parquet(unfinished, index=False)
            else:
                # pandas leaves a lone carriage return unquoted, which ends a line when it is read back.
                with unfinished.open("wb") as file:
                    csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), file)

    def _read(self, choice: TagChoice | None) -> pd.DataFrame:
        kind, reading = ("Parquet", pd.read_parquet) if self._is_parquet else ("CSV", _read_csv)
        expected = f"a {kind} file that `genre-tagger tag` wrote, or a new file"
        if self._path.is_dir():
            raise UserError(f"{self._path}: found a folder, expected {expected}")
        try:
            table = reading(self._path)
            if choice:
                _choose_again(table, choice)
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None)  # from the file system; errors of parsers are not helpful
            found = f"cannot be read ({reason.lower()})" if reason else "found something else"
            raise UserError(f"{self._path}: {found}, expected {expected}") from error
        if missing := [name for name in COLUMNS if name not in table]:
            raise UserError(f"{self._path}: found no column {missing[0]!r}, expected {expected}")
        return table


def _score_columns(table: pd.DataFrame) -> list[str]:
    return [name for name in map(str, table.columns) if name.startswith(SCORE)]


def _choose_again(table: pd.DataFrame, choice: TagChoice) -> None:
    """Choose the tags of every row from its scores, so that rows of other models follow the choice too."""
    columns = _score_columns(table)
    tags = [name.removeprefix(SCORE) for name in columns]
    table[CHOSEN] = [choice.joined(ranked(row, tags)) for row in table[columns].to_numpy("float32")]


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV table. Only columns of numbers are converted, because a song may be called NA."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    for name in ["seconds", *_score_columns(table)]:
        if name in table:
            numbers = pd.to_numeric(table[name].mask(table[name] == ""))
            table[name] = numbers if name == "seconds" else numbers.astype("float32")
    return table
