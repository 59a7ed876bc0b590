"""What each condition costs: macro areas with their paired differences from the clips as they are, tag by tag too."""

from collections.abc import Mapping

import pandas as pd

from genre_tagger.evaluation.bootstrap import AREAS
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.paired import Replicated, differences, figures, replicate
from genre_tagger.evaluation.predictions import Predictions

CLEAN = "clean"
WORST_TAGS, DECIMALS = 3, 3
DIFFERENCE_COLUMNS = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
ROBUSTNESS_COLUMNS = (
    "condition",
    *(f"{area}{suffix}" for area in AREAS for suffix in ("", "_low", "_high")),
    *(f"{area}_{suffix}" for area in AREAS for suffix in DIFFERENCE_COLUMNS.values()),
    "worst_tags",
)


def robustness_table(
    clean: Predictions,
    conditions: Mapping[str, Predictions],
    tags: pd.DataFrame,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a condition, that of the clips as they are first, with blank differences.

    `roc_auc` and `pr_auc` are macro averages with the 95 % interval `_low` to `_high`. `roc_auc_difference` is the
    condition minus clean, below 0 where something is lost, with its paired interval `roc_auc_difference_low` to
    `_high`: both sides are redrawn with the same groups. `worst_tags` lists those whose ROC-AUC falls most.

    Args:
        clean: the clips as they are.
        conditions: the same clips and tags under each condition.
        tags: their `tag_table`.
        replicates: bootstrap replicates behind each interval.
        seed: of the bootstrap.
    """
    reference = replicate({0: clean}, replicates=replicates, seed=seed)
    rows = [{"condition": CLEAN, **figures(reference)}]
    for name, predictions in conditions.items():
        condition = replicate({0: predictions}, replicates=replicates, seed=seed)
        worst = _worst_tags(tags[tags["condition"] == name])
        rows.append(
            {"condition": name, **figures(condition), **_differences(condition, reference), "worst_tags": worst}
        )
    return pd.DataFrame(rows, columns=list(ROBUSTNESS_COLUMNS))


def tag_table(clean: Predictions, conditions: Mapping[str, Predictions]) -> pd.DataFrame:
    """A row a condition and tag: areas, and their differences from the clips as they are."""
    reference = _tag_areas(clean)
    tables = [_tag_areas(predictions) for predictions in conditions.values()]
    with_differences = [table.join((table - reference).add_suffix("_difference")) for table in tables]
    return pd.concat(with_differences, keys=list(conditions), names=["condition", "tag"]).reset_index()


def _differences(condition: Replicated, reference: Replicated) -> dict[str, float]:
    return {
        f"{row['area']}_{column}": row[name]
        for row in differences(condition, reference)
        for name, column in DIFFERENCE_COLUMNS.items()
    }


def _tag_areas(predictions: Predictions) -> pd.DataFrame:
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    return pd.DataFrame(
        {tag: [getattr(scores, area) for area in AREAS] for tag, scores in metrics.tags.items()}, index=AREAS
    ).T


def _worst_tags(tags: pd.DataFrame) -> str:
    """Such as `flute -0.210, harp -0.120`; no tag that loses nothing in these decimals."""
    falling = tags[tags["roc_auc_difference"].round(DECIMALS) < 0].nsmallest(WORST_TAGS, "roc_auc_difference")
    return ", ".join(f"{row.tag} {row.roc_auc_difference:.{DECIMALS}f}" for row in falling.itertuples())
