"""A table in a CSV or Parquet file that a later run goes on with."""

from pathlib import Path
from tempfile import NamedTemporaryFile

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import SCORE
from genre_tagger.files import replacing, storage_errors

COLUMNS = ("path", "sha256", "model", "seconds", "flag", "reason")  # of every sheet; others follow


class Sheet:
    """One row for each path and model; those of other models and of paths that are not put in stay as they are.

    Args:
        path: of the file; there may be none yet.
        model: version of the model whose rows are found and put in.
        is_parquet: or else CSV.

    Raises:
        UserError: the file is no such table, or cannot be written.
    """

    def __init__(self, path: Path, model: str, is_parquet: bool):
        self._path, self._model, self._is_parquet = path, model, is_parquet
        with storage_errors(path.parent), NamedTemporaryFile(dir=path.parent):
            pass
        self._old = self._read() if path.exists() else pd.DataFrame(columns=list(COLUMNS))
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

    def _read(self) -> pd.DataFrame:
        expected = f"a {'Parquet' if self._is_parquet else 'CSV'} file that `genre-tagger tag` wrote, or none yet"
        try:
            table = pd.read_parquet(self._path) if self._is_parquet else _read_csv(self._path)
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{self._path}: cannot be read ({reason}); expected {expected}") from None
        if missing := [name for name in COLUMNS if name not in table]:
            raise UserError(f"{self._path}: found no column {missing[0]!r}, expected {expected}")
        return table


def _read_csv(path: Path) -> pd.DataFrame:
    """Names stay as they are (a song may be called NA); numbers are read where only numbers can be."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    for name in table:
        if name == "seconds" or name.startswith(SCORE):
            numbers = pd.to_numeric(table[name].mask(table[name] == ""))
            table[name] = numbers if name == "seconds" else numbers.astype("float32")
    return table
