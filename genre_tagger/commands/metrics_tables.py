"""Tables of metrics that several commands print."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from genre_tagger.commands.console import protocol_text, say, show, tags_text, titled_table
from genre_tagger.evaluation.number_format import area_text, number_text

SHOWN_TAGS = 5
WORST_CONDITIONS = 3


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print a table of all tags, then the summary, then robustness if it was measured.

    Args:
        metrics: content of `metrics.json`.
    """
    table = titled_table(f"tags{protocol_text(metrics.get('protocol'))}", "tag")
    for name in ("ROC-AUC", "PR-AUC", "positives", "negatives"):
        table.add_column(name, justify="right")
    for tag, scores in metrics["tags"].items():
        counts = str(scores["positives"]), str(scores["negatives"])
        table.add_row(escape(tag), number_text(scores["roc_auc"]), number_text(scores["pr_auc"]), *counts)
    show(table)
    print_summary(metrics)
    if "robustness" in metrics:
        print_robustness(metrics["robustness"])


def print_summary(metrics: dict[str, Any]) -> None:
    """Print the macro averages of the model, the baseline and the tag families, then the best and the worst tags.

    Args:
        metrics: content of `metrics.json`.
    """
    show(_figure_table(metrics))
    tags = {name: scores for name, scores in metrics["tags"].items() if scores["roc_auc"] is not None}
    ranked = sorted(tags, key=lambda name: -tags[name]["roc_auc"])
    shown = min(SHOWN_TAGS, (len(ranked) + 1) // 2)
    for title, names in (("best tags: ", ranked[:shown]), ("worst tags:", ranked[max(shown, len(ranked) - shown) :])):
        if names:
            say(f"{title} {_listed(names, tags)}")
    if metrics["left_out"]:
        say(f"left out, without positives or without negatives: {', '.join(metrics['left_out'])}")


def print_robustness(rows: list[dict[str, Any]]) -> None:
    """Print the loss from each perturbation, and the tags that lose most under the worst perturbations.

    Args:
        rows: one dict per condition. The first one is that of the unperturbed clips.
    """
    clean, *perturbed = rows
    table = titled_table("perturbed test clips, differences from clean with paired 95 % intervals", "condition")
    for area, name in (("roc_auc", "ROC-AUC"), ("pr_auc", "PR-AUC")):
        table.add_column(f"{name}, clean {number_text(clean[area])}", justify="right")
    for row in perturbed:
        table.add_row(row["condition"], _difference(row, "roc_auc"), _difference(row, "pr_auc"))
    show(table)
    losing = [row for row in perturbed if row["worst_tags"]]
    for row in sorted(losing, key=lambda row: row["roc_auc_difference"])[:WORST_CONDITIONS]:
        say(f"{row['condition']}, worst tags: {row['worst_tags']}")


def _figure_table(metrics: dict[str, Any]) -> Table:
    counts = f"{metrics['clips']} clips of {metrics['groups']} groups"
    table = titled_table(f"{metrics['split']}: {counts}, 95 % intervals{protocol_text(metrics.get('protocol'))}", "")
    for name in ("macro ROC-AUC", "macro PR-AUC"):
        table.add_column(name, justify="right")
    table.add_row("model", area_text(metrics["roc_auc"]), area_text(metrics["pr_auc"]))
    if metrics["baseline"]:
        baseline = metrics["baseline"]
        table.add_row("logistic-regression baseline", area_text(baseline["roc_auc"]), area_text(baseline["pr_auc"]))
    for family, scores in metrics["families"].items():
        table.add_row(
            f"{escape(family)} ({tags_text(len(scores['tags']))})",
            number_text(scores["roc_auc"]),
            number_text(scores["pr_auc"]),
        )
    return table


def _listed(names: list[str], tags: dict[str, Any]) -> str:
    return ", ".join(f"{name} {tags[name]['roc_auc']:.3f}" for name in names)


def _difference(row: dict[str, Any], area: str) -> str:
    value, low, high = (row[f"{area}_difference{end}"] for end in ("", "_low", "_high"))
    return "undefined" if value is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
