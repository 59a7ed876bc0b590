"""The table of a comparison: what each preset reached, what it cost, what was published of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pandas as pd

from genre_tagger.evaluation.paired import Replicated, figures

FLOOR, BASELINE = "logistic-regression floor", "crnn_baseline"
PUBLISHED_COLUMNS = ("protocol", "roc_auc_percent", "pr_auc_percent", "seconds")
WHOLE_NUMBERS = ("runs", "failed", "reached", "parameters", "window_flops")
MISSING = "-"
# What is shown of the tables, with its heading and format.
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
    "window_flops": ("FLOPs a window", ".3g"),
    "clip_flops": ("FLOPs a clip", ".3g"),
    "epochs": ("epochs", ".1f"),
    "seconds": ("training s", ".0f"),
    "reached": ("runs that reach it", "d"),
    "reach_seconds": ("s to reach it", ".0f"),
    "reach_ratio": ("to crnn_baseline's", ".2f"),
    "clip_ms": ("inference ms a clip", ".2f"),
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
    """A preset's runs, by seed.

    Attributes:
        histories: a row an epoch each, of the completed runs.
        areas: of their test clips; None where no run was completed.
        reasons: why the others failed.
        cost: `parameters`, `window_flops`, `window_ms` and `windows` (a clip, on average).
    """

    histories: dict[int, pd.DataFrame]
    areas: Replicated | None
    reasons: dict[int, str]
    cost: dict[str, float]


def comparison_table(
    presets: Mapping[str, PresetRuns], floor: Replicated, reach: float | None, protocol: str | None = None
) -> pd.DataFrame:
    """A row the floor, then a row a preset, in their order; blank what is not known.

    Figures are averaged over the completed seeds: test areas with their intervals over groups; `val_roc_auc` and
    `train_roc_auc` (running) of the epochs whose weights are kept; epochs and seconds of training. `reach_seconds` is
    the training time until the first epoch with a validation ROC-AUC of `reach`, where every seed has one (`reached`
    counts them), and `reach_ratio` that of the preset over that of `crnn_baseline`.
    """
    published = read_published(protocol)
    rows = [{"preset": FLOOR, **figures(floor)}]
    for name, runs in presets.items():
        rows.append({"preset": name, **_row(runs, reach), **published.get(name, {})})
    table = pd.DataFrame(rows)
    whole = {name: "Int64" for name in WHOLE_NUMBERS if name in table}
    table = table.astype(whole)  # a blank would make fractions of them
    if reach is not None:
        baseline = table.loc[table["preset"] == BASELINE, "reach_seconds"]
        table["reach_ratio"] = table["reach_seconds"] / (baseline.iloc[0] if len(baseline) else float("nan"))
    return table.assign(protocol=protocol) if protocol else table


def read_published(protocol: str | None = None) -> dict[str, dict[str, Any]]:
    """The published protocol, areas in percent and training seconds, by preset; what nobody published is NaN.

    Of a preset that was published on several protocols, the figures on the given one, else those that come first.
    """
    file = resources.files("genre_tagger.presets") / "published.tsv"
    with file.open(encoding="utf-8") as text:
        table = pd.read_csv(text, sep="\t")
    table = table.sort_values("protocol", key=lambda names: names != protocol, kind="stable")
    table = table.drop_duplicates("preset").set_index("preset")
    return table[list(PUBLISHED_COLUMNS)].add_prefix("published_").to_dict("index")


def seconds_to_reach(history: pd.DataFrame, reach: float) -> float | None:
    """Training seconds at the end of the first epoch whose validation ROC-AUC is `reach` or more."""
    epochs = history[history["val_roc_auc"] >= reach]
    return None if epochs.empty else float(epochs["seconds"].iloc[0])


def tables_in_markdown(headline: str, table: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Both tables of a comparison, to read, below a line that says of what; `-` for what is not known."""
    return "\n".join([f"{headline}\n", _markdown(table, RESULT_COLUMNS), _markdown(pairs, PAIR_COLUMNS)])


def shown_rows(table: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of those of the columns that the table has."""
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
    """What the training of the completed runs took and came to, averaged."""
    kept = pd.DataFrame([history.loc[history["val_roc_auc"].idxmax()] for history in histories])
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
