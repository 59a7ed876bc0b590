"""The section on tags: a table of all of them, their families, the plots of the evaluation."""

from collections.abc import Mapping
from typing import Any

from genre_tagger.evaluation.bootstrap import Interval, tag_intervals
from genre_tagger.export.thresholds import Thresholds
from genre_tagger.reporting.calibration import calibration_error, reliability
from genre_tagger.reporting.evaluated import Evaluated
from genre_tagger.reporting.view import Cell, Range, Section, Table, count, interval_text, name, number, plot_of
from genre_tagger.run import RunDirectory

LEAST_DRAWN = {"roc_auc": 0.5, "pr_auc": 0.0}


def tags_section(run: RunDirectory, evaluated: Evaluated) -> Section:
    """Every tag with its areas, the families, and the plots of the evaluation."""
    metrics = evaluated.metrics
    lines = [
        "95 % intervals are bootstrapped over groups. In the table, the bar is the interval, the dot the value, and "
        "the line the logistic-regression floor's value. Drawings of ROC-AUC begin at 0.5, which is chance; what is "
        "below stands there. A heading sorts the table.",
        _threshold_line(evaluated.thresholds),
    ]
    if metrics["left_out"]:
        lines.append(f"Left out of averages, without positives or without negatives: {', '.join(metrics['left_out'])}.")
    figures = [
        *plot_of(run.report / "tags.png", "Bars of each tag's ROC-AUC and PR-AUC"),
        *plot_of(run.report / "curves.png", "ROC and precision-recall curves of the tags"),
    ]
    return Section("tags", "Tags", lines, figures=figures, tables=[_tag_table(evaluated), _family_table(metrics)])


def best_first(tags: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Tags by their `roc_auc`, the highest first, the undefined (None) last."""
    return sorted(tags, key=lambda tag: (tags[tag]["roc_auc"] is None, -(tags[tag]["roc_auc"] or 0)))


def _threshold_line(thresholds: Thresholds) -> str:
    if not thresholds.are_chosen:
        return f"Every tag has the threshold {thresholds.all_tags:g}, as no validation clips could choose one."
    shared = ", ".join(thresholds.from_all_tags)
    return f"Thresholds are chosen for {thresholds.objective} on the {thresholds.split} clips" + (
        f"; these have too few for one of their own and share that of all tags: {shared}." if shared else "."
    )


def _tag_table(evaluated: Evaluated) -> Table:
    """A row a tag, the best ROC-AUC first, the undefined last."""
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
    areas = ("ROC-AUC", "ROC-AUC floor", "PR-AUC", "PR-AUC floor")
    headings = ("tag", "family", "positives", *areas, "threshold", "calibration error")
    return Table(f"{len(tags)} tags", headings, rows, sorted_by=headings.index("ROC-AUC"))


def _area_cells(evaluated: Evaluated, tag: str, area: str, interval: Interval) -> tuple[Cell, Cell]:
    """The value with its interval, and the floor's."""
    value = evaluated.metrics["tags"][tag][area]
    floor = number(getattr(evaluated.floor.tags[tag], area)) if evaluated.floor else number(None)
    if value is None:
        return number(None), floor
    drawn = Range(value, interval.low, interval.high, LEAST_DRAWN[area], floor.value)
    return Cell(number(value).text, value, interval_text(*interval), drawn), floor


def _family_table(metrics: Mapping[str, Any]) -> Table:
    rows = [
        [name(family), count(len(of["tags"])), number(of["roc_auc"]), number(of["pr_auc"])]
        for family, of in metrics["families"].items()
    ]
    return Table("Families of tags, averages", ("family", "tags", "ROC-AUC", "PR-AUC"), rows)
