"""Labels and scores of the evaluated clips in one Parquet file, so that metrics can be computed without the model."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from genre_tagger.errors import UserError
from genre_tagger.files import replacing
from genre_tagger.sources.clips import UNKNOWN

CLIP_COLUMNS = ("clip", "group", "split")
LABEL, SCORE = "label:", "score:"


@dataclass(frozen=True, eq=False)
class Predictions:
    """The scores of a model for some clips, with the labels of the clips.

    Attributes:
        clip_ids: one name per clip.
        groups: str [clips], song, album or artist.
        splits: str [clips], `train`, `valid` or `test`.
        tags: names of the columns of `labels` and `scores`.
        labels: int8 [clips, tags], 1 present, 0 absent, -1 unknown.
        scores: float32 [clips, tags], from 0 to 1.
        protocol: name of the protocol that divided the data into splits, if the source has several. Results must name
            it, because results of different protocols cannot be compared.
    """

    clip_ids: list[str]
    groups: np.ndarray
    splits: np.ndarray
    tags: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    protocol: str | None = None

    def of_split(self, split: str) -> "Predictions":
        """Return the clips of one split, in the same order. The result may be empty."""
        rows = np.flatnonzero(self.splits == split)
        return Predictions(
            clip_ids=[self.clip_ids[row] for row in rows],
            groups=self.groups[rows],
            splits=self.splits[rows],
            tags=self.tags,
            labels=self.labels[rows],
            scores=self.scores[rows],
            protocol=self.protocol,
        )


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the columns `clip`, `group`, `split`, and for each tag `label:TAG` (blank if unknown) and `score:TAG`.

    The protocol, if any, is stored as an attribute of the data frame.

    Args:
        path: Parquet file to write.
        predictions: predictions for the clips.
    """
    columns: dict[str, Any] = {"clip": predictions.clip_ids, "group": predictions.groups, "split": predictions.splits}
    for index, tag in enumerate(predictions.tags):
        labels = predictions.labels[:, index]
        columns[LABEL + tag] = pd.array(labels, dtype="Int8")
        columns[LABEL + tag][labels == UNKNOWN] = pd.NA
        columns[SCORE + tag] = predictions.scores[:, index].astype(np.float32)
    table = pd.DataFrame(columns)
    table.attrs["protocol"] = predictions.protocol
    with replacing(path) as unfinished:
        table.to_parquet(unfinished, index=False)


def read_predictions(path: Path) -> Predictions:
    """Read a file written by `write_predictions`, or any other Parquet file with the same columns.

    Raises:
        UserError: the file does not exist or is not Parquet, columns or rows are missing, a label is not 0, 1 or
            blank, or a score is not a number from 0 to 1.
    """
    table = _read_table(path)
    tags = _tags_of(path, table)
    _check_names(path, table)
    return Predictions(
        clip_ids=[str(name) for name in table["clip"]],
        groups=table["group"].to_numpy(dtype=str),
        splits=table["split"].to_numpy(dtype=str),
        tags=tags,
        labels=np.stack([_labels_of(path, table[LABEL + tag]) for tag in tags], axis=1),
        scores=np.stack([_scores_of(path, table[SCORE + tag]) for tag in tags], axis=1),
        protocol=table.attrs.get("protocol"),
    )


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected a Parquet file with predictions")
    try:
        table = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    if table.empty:
        raise UserError(f"{path}: found no rows, expected one row per clip")
    return table


def _tags_of(path: Path, table: pd.DataFrame) -> tuple[str, ...]:
    """Return the tags in the order of their label columns."""
    missing = [name for name in CLIP_COLUMNS if name not in table]
    if missing:
        raise UserError(f"{path}: found no column {_listed(missing)}, expected {_listed(CLIP_COLUMNS)}")
    labelled = _names_after(LABEL, table)
    unmatched = set(labelled) ^ set(_names_after(SCORE, table))
    if unmatched:
        raise UserError(f"{path}: found only one of label:TAG and score:TAG for {_listed(unmatched)}, expected both")
    if not labelled:
        raise UserError(f"{path}: found no column label:TAG, expected label:TAG and score:TAG for each tag")
    return tuple(labelled)


def _names_after(prefix: str, table: pd.DataFrame) -> list[str]:
    return [name.removeprefix(prefix) for name in table.columns if name.startswith(prefix)]


def _check_names(path: Path, table: pd.DataFrame) -> None:
    """Refuse blank names: clips with a blank group would silently form one large group named `nan`."""
    for column in CLIP_COLUMNS:
        blank = np.flatnonzero(table[column].isna())
        if blank.size:
            raise UserError(f"{path}: column {column}, row {blank[0]}: found a blank, expected a name")


def _labels_of(path: Path, column: pd.Series) -> np.ndarray:
    values = _numbers_of(path, column, "0, 1 or blank")
    blank = np.isnan(values)
    _refuse(path, column, ~(blank | np.isin(values, (0, 1))), "0, 1 or blank")
    return np.where(blank, UNKNOWN, values).astype(np.int8)


def _scores_of(path: Path, column: pd.Series) -> np.ndarray:
    values = _numbers_of(path, column, "a number from 0 to 1")
    _refuse(path, column, ~((values >= 0) & (values <= 1)), "a number from 0 to 1")
    return values.astype(np.float32)


def _numbers_of(path: Path, column: pd.Series, expected: str) -> np.ndarray:
    """Return float64 [clips], NaN where blank."""
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse(path, column, (numbers.isna() & column.notna()).to_numpy(dtype=bool), expected)
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _refuse(path: Path, column: pd.Series, wrong: np.ndarray, expected: str) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        found = column.iloc[rows[0]]
        raise UserError(f"{path}: column {column.name}, row {rows[0]}: found {found}, expected {expected}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
