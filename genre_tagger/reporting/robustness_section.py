"""The section on robustness, as measured by `genre-tagger evaluate --robustness`."""

import pandas as pd

from genre_tagger.reporting.content import UNDEFINED, Cell, ReportSection, ReportTable, decimals, interval_text, plot_of
from genre_tagger.runs.directory import RunDirectory, read_table

TABLE_NAME, PLOT_NAME = "robustness.csv", "robustness.png"
LOW, HIGH = "_low", "_high"


def robustness_section(run: RunDirectory) -> ReportSection:
    """Return the section with the table and the plot of the measurement.

    The table can have any columns. If the robustness of this model was not measured, the section has only a note.
    """
    path = run.report / TABLE_NAME
    anchor, title = "robustness", "Robustness"
    command = f"Run `genre-tagger evaluate {run.path} --robustness` to measure it."
    if not path.exists():
        return ReportSection(anchor, title, [f"Not measured. {command}"])
    if path.stat().st_mtime < run.model.stat().st_mtime:
        return ReportSection(anchor, title, [f"Measured before the model was last trained. {command}"])
    lines = [
        "The model scored the same clips again under each condition. Differences are relative to the clean clips and "
        "are below 0 if the score drops. Brackets contain 95 % intervals."
    ]
    table = _table(read_table(path, keep_default_na=False, dtype=str))
    alt = "Differences in ROC-AUC and PR-AUC under each condition, with intervals"
    return ReportSection(anchor, title, lines, figures=plot_of(run.report / PLOT_NAME, alt), tables=[table])


def _table(measured: pd.DataFrame) -> ReportTable:
    """Return a table with the measured columns. The bounds of an interval are shown next to their value."""
    columns = [str(column) for column in measured]
    bounds = {column + end for column in columns for end in (LOW, HIGH)}
    shown = [column for column in columns if column not in bounds]
    rows = [[_cell(row, column) for column in shown] for _, row in measured.iterrows()]
    return ReportTable(f"{len(rows)} conditions", [_heading(column) for column in shown], rows)


def _cell(row: "pd.Series[str]", column: str) -> Cell:
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
    """Return the heading of a column: `ROC-AUC difference` for `roc_auc_difference`."""
    return " ".join(column.replace("roc_auc", "ROC-AUC").replace("pr_auc", "PR-AUC").split("_"))
