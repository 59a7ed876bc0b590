"""The section on robustness, where `genre-tagger evaluate --robustness` has measured it."""

import pandas as pd

from genre_tagger.reporting.view import UNDEFINED, Cell, Section, Table, decimals, interval_text, plot_of
from genre_tagger.run import RunDirectory, read_table

TABLE_NAME, PLOT_NAME = "robustness.csv", "robustness.png"
LOW, HIGH = "_low", "_high"


def robustness_section(run: RunDirectory) -> Section:
    """The table and the plot of the measurement, whatever columns it has; a line where there is none of this model."""
    path = run.report / TABLE_NAME
    anchor, title = "robustness", "Robustness"
    if not path.exists():
        return Section(anchor, title, [f"Not measured; `genre-tagger evaluate {run.path} --robustness` does it."])
    if path.stat().st_mtime < run.model.stat().st_mtime:
        again = f"`genre-tagger evaluate {run.path} --robustness` does it again."
        return Section(anchor, title, [f"Measured before the model was last trained; {again}"])
    lines = [
        "The same clips again, changed; differences are to the clips as they are, below 0 where something is lost. In "
        "brackets are 95 % intervals."
    ]
    table = _table(read_table(path, keep_default_na=False, dtype=str))
    alt = "What each condition costs in ROC-AUC and PR-AUC, with intervals"
    return Section(anchor, title, lines, figures=plot_of(run.report / PLOT_NAME, alt), tables=[table])


def _table(measured: pd.DataFrame) -> Table:
    """A column each, but that bounds stand beside their value."""
    bounds = {column + end for column in measured for end in (LOW, HIGH)}
    shown = [column for column in measured if column not in bounds]
    rows = [[_cell(row, column) for column in shown] for row in measured.to_dict("records")]
    return Table(f"{len(rows)} conditions", [_heading(column) for column in shown], rows)


def _cell(row: dict[str, str], column: str) -> Cell:
    value = _number(row[column])
    if value is None:
        return Cell(row[column] or UNDEFINED, row[column] or None)
    detail = interval_text(_number(row.get(column + LOW, "")), _number(row.get(column + HIGH, "")))
    return Cell(decimals(value), value, detail)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _heading(column: str) -> str:
    """`roc_auc_difference` as `ROC-AUC difference`."""
    return " ".join(column.replace("roc_auc", "ROC-AUC").replace("pr_auc", "PR-AUC").split("_"))
