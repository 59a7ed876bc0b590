"""Tables of the score changes under each condition: differences from the clean clips, as macro averages and per tag."""

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
    """Return one row per condition. The first row is that of the clean clips; its differences are blank.

    `roc_auc` and `pr_auc` are macro averages with their 95 % intervals, from `_low` to `_high`. `roc_auc_difference` is
    the value under the condition minus the clean value, so it is below 0 if the condition lowers the score. Its paired
    interval, from `roc_auc_difference_low` to `roc_auc_difference_high`, draws the same groups for both values. The
    columns of `pr_auc` are the same. `worst_tags` lists the tags with the largest drop in ROC-AUC.

    Args:
        clean: predictions for the clean clips.
        conditions: predictions for the same clips and tags under each condition.
        tags: return value of `tag_table` for the same predictions.
        replicates: number of bootstrap replicates for each interval.
        seed: seed of the bootstrap.
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
    """Return one row per condition and tag: ROC-AUC, PR-AUC and their differences from the clean clips.

    Args:
        clean: predictions for the clean clips.
        conditions: predictions for the same clips and tags under each condition.
    """
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
    """Return text like `flute -0.210, harp -0.120`, without tags whose drop rounds to 0."""
    falling = tags[tags["roc_auc_difference"].round(DECIMALS) < 0].nsmallest(WORST_TAGS, "roc_auc_difference")
    return ", ".join(f"{row.tag} {row.roc_auc_difference:.{DECIMALS}f}" for row in falling.itertuples())
