"""The section on tags: a table of all tags, a table of their families, and the plots of the evaluation."""

from collections.abc import Mapping
from typing import Any

from genre_tagger.evaluation.bootstrap import Interval, tag_intervals
from genre_tagger.evaluation.thresholds import Thresholds
from genre_tagger.reporting.calibration_section import calibration_error, reliability
from genre_tagger.reporting.content import (
    Cell,
    ReportSection,
    ReportTable,
    ValueRange,
    count,
    interval_text,
    name,
    number,
    plot_of,
)
from genre_tagger.reporting.evaluated_run import Evaluated
from genre_tagger.runs.directory import RunDirectory

LEAST_DRAWN = {"roc_auc": 0.5, "pr_auc": 0.0}


def tags_section(run: RunDirectory, evaluated: Evaluated) -> ReportSection:
    """Return the section with the scores of each tag and family, and the plots of the evaluation."""
    metrics = evaluated.metrics
    lines = [
        "The 95 % intervals are bootstrapped over groups. In the table, the bar shows the interval, the dot the value, "
        "and the vertical line the value of the logistic-regression baseline. The bars of ROC-AUC start at 0.5, which "
        "is chance level; lower values are drawn at 0.5. Click on a heading to sort the table.",
        _threshold_line(evaluated.thresholds),
    ]
    if metrics["left_out"]:
        left_out = ", ".join(metrics["left_out"])
        lines.append(f"Tags without positives or without negatives are left out of the averages: {left_out}.")
    figures = [
        *plot_of(run.report / "tags.png", "Bars of the ROC-AUC and PR-AUC of each tag"),
        *plot_of(run.report / "curves.png", "ROC and precision-recall curves of the tags"),
    ]
    return ReportSection("tags", "Tags", lines, figures=figures, tables=[_tag_table(evaluated), _family_table(metrics)])


def best_first(tags: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sort tags by `roc_auc`, highest first; undefined values (None) are last."""
    return sorted(tags, key=lambda tag: (tags[tag]["roc_auc"] is None, -(tags[tag]["roc_auc"] or 0)))


def _threshold_line(thresholds: Thresholds) -> str:
    if not thresholds.are_chosen:
        return (
            f"All tags have the threshold {thresholds.all_tags:g}, because the validation clips have no positive or no "
            "negative labels to choose thresholds on."
        )
    shared = ", ".join(thresholds.from_all_tags)
    chosen = f"Thresholds were chosen for {thresholds.objective} on the {thresholds.split} clips."
    if not shared:
        return chosen
    return f"{chosen} These tags have too few positives or negatives and use the threshold of all tags: {shared}."


def _tag_table(evaluated: Evaluated) -> ReportTable:
    """Return one row per tag, highest ROC-AUC first, undefined values last."""
    predictions, tags = evaluated.predictions, evaluated.metrics["tags"]
    intervals = tag_intervals(predictions, seed=evaluated.seed)
    families = {tag: family for family, of in evaluated.metrics["families"].items() for tag in of["tags"]}
    columns = dict(zip(predictions.tags, zip(predictions.labels.T, predictions.scores.T, strict=True), strict=True))
    rows = [
        [
            name(tag),
            name(families[tag]),
            count(tags[tag]["positives"]),
            *_area_cells(evaluated, tag, "roc_auc", intervals[tag]["roc_auc"]),
            *_area_cells(evaluated, tag, "pr_auc", intervals[tag]["pr_auc"]),
            number(evaluated.thresholds.tags[tag]),
            number(calibration_error(reliability(*columns[tag]))),
        ]
        for tag in best_first(tags)
    ]
    areas = ("ROC-AUC", "ROC-AUC baseline", "PR-AUC", "PR-AUC baseline")
    headings = ("tag", "family", "positives", *areas, "threshold", "calibration error")
    return ReportTable(f"{len(tags)} tags", headings, rows, sorted_by=headings.index("ROC-AUC"))


def _area_cells(evaluated: Evaluated, tag: str, area: str, interval: Interval) -> tuple[Cell, Cell]:
    """Return the value with its interval, and the value of the baseline."""
    value = evaluated.metrics["tags"][tag][area]
    baseline = getattr(evaluated.baseline.tags[tag], area) if evaluated.baseline else None
    if value is None:
        return number(None), number(baseline)
    drawn = ValueRange(value, interval.low, interval.high, LEAST_DRAWN[area], baseline)
    return Cell(number(value).text, value, interval_text(*interval), drawn), number(baseline)


def _family_table(metrics: Mapping[str, Any]) -> ReportTable:
    rows = [
        [name(family), count(len(of["tags"])), number(of["roc_auc"]), number(of["pr_auc"])]
        for family, of in metrics["families"].items()
    ]
    return ReportTable("Averages over the tags of each family", ("family", "tags", "ROC-AUC", "PR-AUC"), rows)
