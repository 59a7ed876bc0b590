"""A table in a CSV or Parquet file that a later run goes on with."""

from pathlib import Path
from tempfile import NamedTemporaryFile

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import SCORE
from genre_tagger.files import replacing, storage_errors
from genre_tagger.tagging.results import Choice, ranked

CHOSEN = "tags"  # column of the chosen ones, where there are scores
COLUMNS = ("path", "sha256", "model", "seconds", "flag", "reason")  # of every sheet; others follow


class Sheet:
    """One row for each path and model; those of other models and of paths that are not put in stay as they are.

    Args:
        path: of the file; there may be none yet.
        model: version of the model whose rows are found and put in.
        is_parquet: or else CSV.
        choice: of the tags that every row names, whoever put it in; None for a sheet without scores.

    Raises:
        UserError: the file is no such table, or cannot be written.
    """

    def __init__(self, path: Path, model: str, is_parquet: bool, choice: Choice | None = None):
        self._path, self._model, self._is_parquet = path, model, is_parquet
        with storage_errors(path.parent), NamedTemporaryFile(dir=path.parent):
            pass
        self._old = self._read(choice) if path.exists() else pd.DataFrame(columns=list(COLUMNS))
        self._new: dict[str, dict] = {}
        done = self._old[(self._old["model"] == model) & (self._old["reason"] == "")]
        self._known = done.drop_duplicates("sha256", keep="last").set_index("sha256", drop=False)

    def find(self, sha256: str) -> dict | None:
        """The row of this content by the model, under whatever path, if there is a result in it."""
        return self._known.loc[sha256].to_dict() if sha256 in self._known.index else None

    def put(self, row: dict) -> None:
        """Adds a row of the model, in place of the one of the same path."""
        self._new[row["path"]] = row

    def save(self) -> None:
        """Writes all rows beside and renames."""
        replaced = (self._old["model"] == self._model) & self._old["path"].isin(self._new)
        parts = [self._old[~replaced], pd.DataFrame(list(self._new.values()))]
        table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
        scores = [name for name in table if name.startswith(SCORE)]
        table = table.astype(dict.fromkeys(scores, "float32"))  # the digits that they have, and no more
        with storage_errors(self._path.parent), replacing(self._path) as beside:
            if self._is_parquet:
                table.to_parquet(beside, index=False)
            else:
                # pandas leaves a lone carriage return unquoted, which ends a line when it is read back.
                with beside.open("wb") as file:
                    csv.write_csv(pa.Table.from_pandas(table, preserve_index=False), file)

    def _read(self, choice: Choice | None) -> pd.DataFrame:
        kind, reading = ("Parquet", pd.read_parquet) if self._is_parquet else ("CSV", _read_csv)
        expected = f"a {kind} file that `genre-tagger tag` wrote, or none yet"
        if self._path.is_dir():
            raise UserError(f"{self._path}: found a folder, expected {expected}")
        try:
            table = reading(self._path)
            if choice:
                _choose_anew(table, choice)
        except (pa.ArrowException, OSError, ValueError) as error:
            why = getattr(error, "strerror", None)  # the disk's; what libraries say of a content helps nobody
            found = f"cannot be read ({why.lower()})" if why else "found something else"
            raise UserError(f"{self._path}: {found}, expected {expected}") from None
        if missing := [name for name in COLUMNS if name not in table]:
            raise UserError(f"{self._path}: found no column {missing[0]!r}, expected {expected}")
        return table


def _choose_anew(table: pd.DataFrame, choice: Choice) -> None:
    """By the scores of each row, so that all name the same choice, those of other models and earlier commands too."""
    scores = table.filter(regex=f"^{SCORE}")
    tags = [name.removeprefix(SCORE) for name in scores]
    table[CHOSEN] = [choice.joined(ranked(row, tags)) for row in scores.to_numpy("float32")]


def _read_csv(path: Path) -> pd.DataFrame:
    """Names stay as they are (a song may be called NA); numbers are read where only numbers can be."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    for name in table:
        if name == "seconds" or name.startswith(SCORE):
            numbers = pd.to_numeric(table[name].mask(table[name] == ""))
            table[name] = numbers if name == "seconds" else numbers.astype("float32")
    return table
