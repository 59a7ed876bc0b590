"""The evaluation of a run: the content of `metrics.json`, and the plots and tables in `report/`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    baseline: Predictions | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the content of `metrics.json` for one split.

    Args:
        predictions: predictions for the clips of the split; clips of other splits are ignored.
        split: `train`, `valid` or `test`.
        families: family of each tag; by default those of `families.tsv`.
        baseline: scores of the logistic-regression baseline for the same clips of the split.
        replicates: number of bootstrap replicates for each 95 % interval.
        seed: seed of the bootstrap.

    Returns:
        The metrics as plain numbers, None where they are undefined.

    Raises:
        UserError: no clip belongs to the split, or the baseline has scores for other clips or tags.
    """
    chosen, baseline_chosen = _of_split(predictions, split), _baseline_of_split(baseline, predictions, split)
    computed = _metrics_of(chosen)
    by_family = family_metrics(computed, read_families() if families is None else families)
    return {
        "protocol": predictions.protocol,
        "split": split,
        "clips": len(chosen.clip_ids),
        "groups": int(np.unique(chosen.groups).size),
        **_areas_with_intervals(chosen, computed, replicates, seed),
        "baseline": _areas_with_intervals(baseline_chosen, _metrics_of(baseline_chosen), replicates, seed)
        if baseline_chosen
        else None,
        "families": {family: _family_dict(members) for family, members in by_family.items()},
        "tags": computed.to_dict()["tags"],
        "left_out": list(computed.left_out),
    }


def write_plots_and_tables(
    directory: Path,
    metrics: Mapping[str, Any],
    predictions: Predictions,
    history: pd.DataFrame | None = None,
    baseline: Predictions | None = None,
) -> None:
    """Write `tags.csv`, `tags.png`, `curves.png` and, if there is a history, `history.png`.

    Args:
        directory: `report/` of the run, created if missing.
        metrics: return value of `evaluate_predictions` for these predictions.
        predictions: labels and scores of the clips.
        history: one row per epoch, see `plot_history`.
        baseline: scores of the logistic-regression baseline for the same clips.

    Raises:
        UserError: see `evaluate_predictions`.
    """
    split = metrics["split"]
    chosen, baseline_chosen = _of_split(predictions, split), _baseline_of_split(baseline, predictions, split)
    computed = _metrics_of(chosen)
    baseline_computed = _metrics_of(baseline_chosen) if baseline_chosen else None
    directory.mkdir(parents=True, exist_ok=True)
    with replacing(directory / "tags.csv") as unfinished:
        _tag_table(metrics, baseline_computed).to_csv(unfinished, index=False)
    plot_tags(directory / "tags.png", computed, baseline_computed, predictions.protocol)
    plot_curves(directory / "curves.png", chosen)
    if history is not None:
        plot_history(directory / "history.png", history, predictions.protocol)


def _of_split(predictions: Predictions, split: str) -> Predictions:
    chosen = predictions.of_split(split)
    if not chosen.clip_ids:
        found = ", ".join(map(repr, np.unique(predictions.splits).tolist())) or "none"
        raise UserError(f"split: found predictions for clips of these splits: {found}; expected {split!r}")
    return chosen


def _baseline_of_split(baseline: Predictions | None, predictions: Predictions, split: str) -> Predictions | None:
    """Return the predictions of the baseline for the split. Raise UserError if its clips or tags differ."""
    if baseline is None:
        return None
    chosen, expected = _of_split(baseline, split), predictions.of_split(split)
    if chosen.tags != expected.tags:
        raise UserError(
            f"baseline: found other tags than in the predictions, expected the same {len(expected.tags)} tags"
        )
    if chosen.clip_ids != expected.clip_ids:
        raise UserError(
            f"baseline: found other clips of split {split!r} than in the predictions, "
            f"expected the same {len(expected.clip_ids)} clips"
        )
    return chosen


def _metrics_of(predictions: Predictions) -> Metrics:
    return compute_metrics(predictions.labels, predictions.scores, predictions.tags)


def _areas_with_intervals(predictions: Predictions, metrics: Metrics, replicates: int, seed: int) -> dict[str, Any]:
    intervals = interval(predictions, replicates=replicates, seed=seed)
    return {
        area: {
            "value": number_or_none(getattr(metrics, area)),
            "low": number_or_none(bounds.low),
            "high": number_or_none(bounds.high),
        }
        for area, bounds in intervals.items()
    }


def _family_dict(members: Metrics) -> dict[str, Any]:
    return {
        "roc_auc": number_or_none(members.roc_auc),
        "pr_auc": number_or_none(members.pr_auc),
        "tags": list(members.tags),
    }


def _tag_table(metrics: Mapping[str, Any], baseline_metrics: Metrics | None) -> pd.DataFrame:
    """Return one row per tag: family, scores, numbers of positives and negatives, protocol, scores of the baseline."""
    table = pd.DataFrame.from_dict(metrics["tags"], orient="index").rename_axis("tag").reset_index()
    family_of = {tag: family for family, members in metrics["families"].items() for tag in members["tags"]}
    table.insert(1, "family", table["tag"].map(family_of))
    if protocol := metrics.get("protocol"):
        table["protocol"] = protocol
    if baseline_metrics:
        table["baseline_roc_auc"] = [baseline_metrics.tags[tag].roc_auc for tag in table["tag"]]
        table["baseline_pr_auc"] = [baseline_metrics.tags[tag].pr_auc for tag in table["tag"]]
    return table
