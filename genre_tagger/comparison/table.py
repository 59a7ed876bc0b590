"""The table of a comparison: scores, cost and published figures of each preset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pandas as pd

from genre_tagger.evaluation.paired import Replicated, figures

BASELINE, CRNN_BASELINE = "logistic-regression baseline", "crnn_baseline"
PUBLISHED_COLUMNS = ("protocol", "roc_auc_percent", "pr_auc_percent", "seconds")
WHOLE_NUMBERS = ("runs", "failed", "reached", "parameters", "window_flops")
MISSING = "-"
# Columns of the displayed tables: heading and number format.
RESULT_COLUMNS = {
    "preset": ("preset", ""),
    "runs": ("runs", "d"),
    "roc_auc": ("ROC-AUC", ".4f"),
    "roc_auc_low": ("from", ".3f"),
    "roc_auc_high": ("to", ".3f"),
    "pr_auc": ("PR-AUC", ".4f"),
    "pr_auc_low": ("from", ".3f"),
    "pr_auc_high": ("to", ".3f"),
    "val_roc_auc": ("validation ROC-AUC", ".4f"),
    "train_roc_auc": ("training ROC-AUC", ".4f"),
    "parameters": ("parameters", ",d"),
    "window_flops": ("FLOPs per window", ".3g"),
    "clip_flops": ("FLOPs per clip", ".3g"),
    "epochs": ("epochs", ".1f"),
    "seconds": ("training s", ".0f"),
    "reached": ("runs that reach it", "d"),
    "reach_seconds": ("s to reach it", ".0f"),
    "reach_ratio": ("ratio to crnn_baseline", ".2f"),
    "clip_ms": ("inference ms per clip", ".2f"),
    "published_roc_auc_percent": ("published ROC-AUC, %", ".2f"),
    "published_pr_auc_percent": ("PR-AUC, %", ".2f"),
    "published_seconds": ("training s", ".0f"),
    "published_protocol": ("protocol", ""),
    "reason": ("why a run failed", ""),
}
PAIR_COLUMNS = {
    "preset": ("claimed better", ""),
    "against": ("than", ""),
    "area": ("area", ""),
    "difference": ("difference", "+.4f"),
    "low": ("from", "+.4f"),
    "high": ("to", "+.4f"),
    "smallest": ("smallest shown", ".4f"),
    "least_seed": ("lowest seed", "+.4f"),
    "most_seed": ("highest seed", "+.4f"),
    "verdict": ("verdict", ""),
}


@dataclass(frozen=True, eq=False)
class PresetRuns:
    """The runs of a preset.

    Attributes:
        histories: training history of each completed run, by seed; one row per epoch.
        areas: ROC-AUC and PR-AUC of the completed runs on the test clips, or None if no run was completed.
        reasons: error message of each failed run, by seed.
        cost: `parameters`, `window_flops`, `window_ms` and `windows` (average number of windows per clip).
    """

    histories: dict[int, pd.DataFrame]
    areas: Replicated | None
    reasons: dict[int, str]
    cost: dict[str, float]


def comparison_table(
    presets: Mapping[str, PresetRuns], baseline: Replicated, reach: float | None, protocol: str | None = None
) -> pd.DataFrame:
    """Return the results of a comparison: one row for the baseline, then one row per preset, in their order.

    All figures are averages over the completed seeds:

    - `roc_auc` and `pr_auc` on the test clips, with their intervals over groups.
    - `val_roc_auc` and `train_roc_auc` (a running average) at the epoch whose weights are kept.
    - `epochs` and `seconds` of training.
    - `reach_seconds`, the training time until the end of the first epoch whose validation ROC-AUC is at least `reach`.
      It is blank unless every seed has such an epoch; `reached` counts the seeds that do.
    - `reach_ratio`, `reach_seconds` of the preset divided by that of `crnn_baseline`.

    Args:
        presets: the runs of each preset.
        baseline: scores of the logistic-regression baseline.
        reach: validation ROC-AUC; the training time until it is reached is reported. None to leave this out.
        protocol: protocol of the data; published figures on the same protocol are preferred.

    Returns:
        The table. Unknown values are blank.
    """
    published = read_published(protocol)
    rows = [{"preset": BASELINE, **figures(baseline)}]
    for name, runs in presets.items():
        rows.append({"preset": name, **_row(runs, reach), **published.get(name, {})})
    table = pd.DataFrame(rows)
    whole = {name: "Int64" for name in WHOLE_NUMBERS if name in table}
    table = table.astype(whole)  # a plain integer column becomes float if it has a blank
    if reach is not None:
        reference = table.loc[table["preset"] == CRNN_BASELINE, "reach_seconds"]
        table["reach_ratio"] = table["reach_seconds"] / (reference.iloc[0] if len(reference) else float("nan"))
    return table.assign(protocol=protocol) if protocol else table


def read_published(protocol: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the published figures by preset: protocol, ROC-AUC and PR-AUC in percent, training time in seconds.

    Unpublished figures are NaN. If a preset was published on several protocols, the figures on `protocol` are
    returned, or else the first ones in the table.
    """
    file = resources.files("genre_tagger.presets") / "published.tsv"
    with file.open(encoding="utf-8") as text:
        table = pd.read_csv(text, sep="\t")
    table = table.sort_values("protocol", key=lambda names: names != protocol, kind="stable")
    table = table.drop_duplicates("preset").set_index("preset")
    shown = table[list(PUBLISHED_COLUMNS)].add_prefix("published_")
    return {str(name): {str(key): value for key, value in row.items()} for name, row in shown.to_dict("index").items()}


def seconds_to_reach(history: pd.DataFrame, reach: float) -> float | None:
    """Return the training time at the end of the first epoch whose validation ROC-AUC is at least `reach`, if any."""
    epochs = history[history["val_roc_auc"] >= reach]
    return None if epochs.empty else float(epochs["seconds"].iloc[0])


def tables_in_markdown(headline: str, table: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Return both tables of a comparison as Markdown, below the headline. Unknown values are shown as `-`."""
    return "\n".join([f"{headline}\n", _markdown(table, RESULT_COLUMNS), _markdown(pairs, PAIR_COLUMNS)])


def shown_rows(table: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of cells of a table, as text.

    Args:
        table: the table.
        columns: heading and number format of each displayed column. Columns that the table does not have are ignored.
    """
    shown = {name: how for name, how in columns.items() if name in table}
    cells = [[_cell(row[name], form) for name, (_, form) in shown.items()] for row in table.to_dict("records")]
    return [heading for heading, _ in shown.values()], cells


def _markdown(table: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> str:
    headings, rows = shown_rows(table, columns)
    return "".join(f"| {' | '.join(line)} |\n" for line in (headings, ["---"] * len(headings), *rows))


def _cell(value: Any, form: str) -> str:
    return MISSING if pd.isna(value) else format(value, form)


def _row(runs: PresetRuns, reach: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"runs": len(runs.histories), "failed": len(runs.reasons)}
    if runs.areas is not None:
        row |= figures(runs.areas) | _training(list(runs.histories.values()), reach)
    cost = runs.cost
    return row | {
        "parameters": cost["parameters"],
        "windows": cost["windows"],
        "window_flops": cost["window_flops"],
        "clip_flops": cost["window_flops"] * cost["windows"],
        "window_ms": cost["window_ms"],
        "clip_ms": cost["window_ms"] * cost["windows"],
        "reason": next(iter(runs.reasons.values()), None),
    }


def _training(histories: Sequence[pd.DataFrame], reach: float | None) -> dict[str, Any]:
    """Return the duration and the scores of training, averaged over the completed runs."""
    kept = pd.DataFrame([history.iloc[int(history["val_roc_auc"].to_numpy().argmax())] for history in histories])
    last = pd.DataFrame([history.iloc[-1] for history in histories])
    row = {
        "val_roc_auc": kept["val_roc_auc"].mean(),
        "train_roc_auc": kept["roc_auc"].mean(),
        "epochs": last["epoch"].mean(),
        "seconds": last["seconds"].mean(),
    }
    if reach is None:
        return row
    times = pd.Series([seconds_to_reach(history, reach) for history in histories], dtype=float)
    return row | {"reached": int(times.notna().sum()), "reach_seconds": times.mean(skipna=False)}
