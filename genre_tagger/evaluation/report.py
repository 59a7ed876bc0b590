"""The evaluation of a run: the content of `metrics.json`, and the tables and plots of `report/`."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genre_tagger.errors import UserError
from genre_tagger.evaluation.bootstrap import interval
from genre_tagger.evaluation.families import family_metrics, read_families
from genre_tagger.evaluation.metrics import Metrics, compute_metrics, number_or_none
from genre_tagger.evaluation.plots import plot_curves, plot_history, plot_tags
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.files import replacing


def evaluate_predictions(
    predictions: Predictions,
    *,
    split: str = "test",
    families: Mapping[str, str] | None = None,
    floor: Predictions | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict:
    """Everything that `metrics.json` says of one split, in plain numbers, None for what is undefined.

    Args:
        predictions: of the split, and of others if there are.
        split: `train`, `valid` or `test`.
        families: the family of each tag, by default those of `families.tsv`.
        floor: the scores of the logistic-regression floor for the same clips of that split.
        replicates: bootstrap replicates behind each 95 % interval.
        seed: of the bootstrap.

    Raises:
        UserError: no clip is of the split, or the floor was fitted for other clips or tags.
    """
    chosen, floor_chosen = _of_split(predictions, split), _floor_of_split(floor, predictions, split)
    metrics = _metrics_of(chosen)
    by_family = family_metrics(metrics, read_families() if families is None else families)
    return {
        "protocol": predictions.protocol,
        "split": split,
        "clips": len(chosen.clip_ids),
        "groups": int(np.unique(chosen.groups).size),
        **_areas_with_intervals(chosen, metrics, replicates, seed),
        "floor": floor_chosen and _areas_with_intervals(floor_chosen, _metrics_of(floor_chosen), replicates, seed),
        "families": {family: _family_dict(members) for family, members in by_family.items()},
        "tags": metrics.to_dict()["tags"],
        "left_out": list(metrics.left_out),
    }


def write_report(
    directory: Path,
    report: Mapping,
    predictions: Predictions,
    history: pd.DataFrame | None = None,
    floor: Predictions | None = None,
) -> None:
    """Writes `tags.csv`, `tags.png`, `curves.png` and, with a history, `history.png` into a folder, made if missing.

    Args:
        directory: the run's `report/`.
        report: what `evaluate_predictions` answered for these predictions; it names the split.
        predictions: labels and scores.
        history: a row an epoch, as `plot_history` takes it.
        floor: the scores of the logistic-regression floor for the same clips.

    Raises:
        UserError: as `evaluate_predictions`.
    """
    split = report["split"]
    chosen, floor_chosen = _of_split(predictions, split), _floor_of_split(floor, predictions, split)
    metrics, floor_metrics = _metrics_of(chosen), floor_chosen and _metrics_of(floor_chosen)
    directory.mkdir(parents=True, exist_ok=True)
    with replacing(directory / "tags.csv") as beside:
        _tag_table(report, floor_metrics).to_csv(beside, index=False)
    plot_tags(directory / "tags.png", metrics, floor_metrics, predictions.protocol)
    plot_curves(directory / "curves.png", chosen)
    if history is not None:
        plot_history(directory / "history.png", history, predictions.protocol)


def _of_split(predictions: Predictions, split: str) -> Predictions:
    chosen = predictions.of_split(split)
    if not chosen.clip_ids:
        found = ", ".join(np.unique(predictions.splits)) or "none at all"
        raise UserError(f"split: expected predictions for clips of {split!r}, found those of: {found}")
    return chosen


def _floor_of_split(floor: Predictions | None, predictions: Predictions, split: str) -> Predictions | None:
    """The floor's clips of the split; a floor of other clips or tags would be no comparison."""
    if floor is None:
        return None
    chosen, expected = _of_split(floor, split), predictions.of_split(split)
    if chosen.tags != expected.tags:
        raise UserError(f"floor: found tags other than the {len(expected.tags)} of the predictions, expected the same")
    if chosen.clip_ids != expected.clip_ids:
        raise UserError(f"floor: found clips other than the {len(expected.clip_ids)} of {split!r}, expected the same")
    return chosen


def _metrics_of(predictions: Predictions) -> Metrics:
    return compute_metrics(predictions.labels, predictions.scores, predictions.tags)


def _areas_with_intervals(predictions: Predictions, metrics: Metrics, replicates: int, seed: int) -> dict:
    intervals = interval(predictions, replicates=replicates, seed=seed)
    return {
        area: {
            "value": number_or_none(getattr(metrics, area)),
            "low": number_or_none(bounds.low),
            "high": number_or_none(bounds.high),
        }
        for area, bounds in intervals.items()
    }


def _family_dict(members: Metrics) -> dict:
    return {
        "roc_auc": number_or_none(members.roc_auc),
        "pr_auc": number_or_none(members.pr_auc),
        "tags": list(members.tags),
    }


def _tag_table(report: Mapping, floor_metrics: Metrics | None) -> pd.DataFrame:
    """A row a tag: family, areas, known labels by kind, the protocol, and the floor's areas where it is given."""
    table = pd.DataFrame.from_dict(report["tags"], orient="index").rename_axis("tag").reset_index()
    family_of = {tag: family for family, members in report["families"].items() for tag in members["tags"]}
    table.insert(1, "family", table["tag"].map(family_of))
    if protocol := report.get("protocol"):
        table["protocol"] = protocol
    if floor_metrics:
        table["floor_roc_auc"] = [floor_metrics.tags[tag].roc_auc for tag in table["tag"]]
        table["floor_pr_auc"] = [floor_metrics.tags[tag].pr_auc for tag in table["tag"]]
    return table
