"""Labels and scores of the evaluated clips, kept in one parquet file so that a metric is never a rerun."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from genre_tagger.data.clips import UNKNOWN
from genre_tagger.errors import UserError
from genre_tagger.files import replacing

CLIP_COLUMNS = ("clip", "group", "split")
LABEL, SCORE = "label:", "score:"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model answered for some clips, with the truth beside it.

    Attributes:
        clip_ids: one name a clip.
        groups: str [clips], song, album or artist.
        splits: str [clips], `train`, `valid` or `test`.
        tags: the names of the columns below.
        labels: int8 [clips, tags], 1 present, 0 absent, -1 unknown.
        scores: float32 [clips, tags], from 0 to 1.
        protocol: the way the data was cut into splits, where there are several; it belongs beside every figure.
    """

    clip_ids: list[str]
    groups: np.ndarray
    splits: np.ndarray
    tags: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    protocol: str | None = None

    def of_split(self, split: str) -> "Predictions":
        """The clips of one split, in their order; there may be none."""
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
    """Writes the columns `clip`, `group`, `split`, `label:TAG` (blank when unknown) and `score:TAG` for each tag.

    The protocol, where there is one, is an attribute of the data frame.
    """
    columns = {"clip": predictions.clip_ids, "group": predictions.groups, "split": predictions.splits}
    for index, tag in enumerate(predictions.tags):
        labels = predictions.labels[:, index]
        columns[LABEL + tag] = pd.array(labels, dtype="Int8")
        columns[LABEL + tag][labels == UNKNOWN] = pd.NA
        columns[SCORE + tag] = predictions.scores[:, index].astype(np.float32)
    table = pd.DataFrame(columns)
    table.attrs["protocol"] = predictions.protocol
    with replacing(path) as beside:
        table.to_parquet(beside, index=False)


def read_predictions(path: Path) -> Predictions:
    """Reads what `write_predictions` wrote, or a file of the same columns from elsewhere.

    Raises:
        UserError: no such file, not parquet, columns or rows are missing, a label is not 0, 1 or blank, a score is
            not a number from 0 to 1.
    """
    table = _read_table(path)
    tags = _tags_of(path, table)
    _check_names(path, table)
    return Predictions(
        clip_ids=table["clip"].astype(str).tolist(),
        groups=table["group"].to_numpy(dtype=str),
        splits=table["split"].to_numpy(dtype=str),
        tags=tags,
        labels=np.stack([_labels_of(path, table[LABEL + tag]) for tag in tags], axis=1),
        scores=np.stack([_scores_of(path, table[SCORE + tag]) for tag in tags], axis=1),
        protocol=table.attrs.get("protocol"),
    )


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected predictions in parquet")
    try:
        table = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    if table.empty:
        raise UserError(f"{path}: found no rows, expected one a clip")
    return table


def _tags_of(path: Path, table: pd.DataFrame) -> tuple[str, ...]:
    """The tags in the order of their label columns."""
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
    """A blank group would silently become one large group called `nan`."""
    for column in CLIP_COLUMNS:
        blank = np.flatnonzero(table[column].isna())
        if blank.size:
            raise UserError(f"{path}: column {column} is blank in row {blank[0]}, expected a name")


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
    """float64 [clips], NaN where blank."""
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
