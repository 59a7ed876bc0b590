"""Comparison of models on the same clips: the scores of each model, averaged over its runs, and all paired differences.

A bootstrap replicate draws the same groups for all runs of all models (see `bootstrap.replicated_areas`). A difficult
song is difficult for both models of a pair, so it cancels out in their difference. The interval of the difference is
therefore much narrower than the intervals of the two models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from genre_tagger.errors import UserError
from genre_tagger.evaluation.bootstrap import AREAS, central_around, replicated_areas
from genre_tagger.evaluation.predictions import Predictions

CONFIRMED, REFUTED, INCONCLUSIVE = "confirmed", "refuted", "inconclusive"
PAIR_COLUMNS = (
    "preset",
    "against",
    "area",
    "seeds",
    "difference",
    "low",
    "high",
    "smallest",
    "least_seed",
    "most_seed",
    "verdict",
)


@dataclass(frozen=True, eq=False)
class Replicated:
    """The scores of the runs of one model.

    Attributes:
        values: float [2] by seed, macro ROC-AUC and PR-AUC on the test clips.
        replicates: float [2, replicates] by seed, the same for each bootstrap replicate.
    """

    values: dict[int, np.ndarray]
    replicates: dict[int, np.ndarray]

    def average(self, seeds: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the values [2] and the replicates [2, replicates], averaged over the given seeds or over all."""
        chosen = self.values.keys() if seeds is None else seeds
        means = [np.mean([figures[seed] for seed in chosen], axis=0) for figures in (self.values, self.replicates)]
        return means[0], means[1]


def replicate(runs: Mapping[int, Predictions], *, replicates: int = 1000, seed: int = 0) -> Replicated:
    """Compute the scores of the runs of one model and their bootstrap replicates.

    Args:
        runs: predictions of each run for the same clips, by seed.
        replicates: number of bootstrap replicates.
        seed: seed of the bootstrap.

    Returns:
        The scores, by seed of the run.
    """
    areas = {number: replicated_areas(run, replicates=replicates, seed=seed) for number, run in runs.items()}
    return Replicated(
        {number: values for number, (values, _) in areas.items()},
        {number: drawn for number, (_, drawn) in areas.items()},
    )


def check_same_clips(predictions: Predictions, expected: Predictions, where: str) -> None:
    """Check that predictions can be paired with others.

    Args:
        predictions: the predictions to check.
        expected: predictions for the expected clips and tags.
        where: name of the checked predictions in the error message.

    Raises:
        UserError: the predictions are for other clips or tags.
    """
    if predictions.tags != expected.tags or set(predictions.clip_ids) != set(expected.clip_ids):
        raise UserError(
            f"{where}: found predictions for other clips or tags than in the first run, expected the same "
            f"{len(expected.clip_ids)} clips and {len(expected.tags)} tags"
        )


def figures(model: Replicated) -> dict[str, float]:
    """Return each area averaged over the runs, its 95 % interval over groups, and its standard deviation over runs."""
    values, replicates = model.average()
    row: dict[str, float] = {}
    for index, area in enumerate(AREAS):
        low, high = central_around(values[index], replicates[index], least=0)
        runs = [figure[index] for figure in model.values.values()]
        deviation = np.std(runs, ddof=1) if len(runs) > 1 else np.nan
        row |= {area: values[index], f"{area}_low": low, f"{area}_high": high, f"{area}_deviation": deviation}
    return row


def pair_table(models: Mapping[str, Replicated]) -> pd.DataFrame:
    """Compare each model with every later one.

    Args:
        models: scores of each model, by its name.

    Returns:
        One row per pair and area, with these columns:

        - `difference`: area of the first model minus that of the second, averaged over the seeds that both have.
        - `low`, `high`: paired 95 % interval of the difference.
        - `smallest`: half the width of the interval, which is the smallest difference that these clips can show. The
          interval of a smaller difference would contain 0.
        - `least_seed`, `most_seed`: lowest and highest difference of a single seed.
        - `verdict` on the claim that the first model is better: `confirmed` if the interval and all seeds are above 0,
          `refuted` if they are below 0, otherwise `inconclusive`.
    """
    rows = [
        {"preset": first, "against": second, **row}
        for first, second in combinations(models, 2)
        for row in differences(models[first], models[second])
    ]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).sort_values(
        "area", key=lambda areas: areas.map(AREAS.index), kind="stable", ignore_index=True
    )


def differences(first: Replicated, second: Replicated) -> Iterator[dict[str, Any]]:
    """Compare two models on the seeds that both have.

    Args:
        first: scores of the first model.
        second: scores of the second model, from the same bootstrap draws.

    Yields:
        For each area, the columns of `pair_table` from `area` on; nothing if the models have no seed in common.
    """
    seeds = sorted(first.values.keys() & second.values.keys())
    if not seeds:
        return
    (value, drawn), (other_value, other_drawn) = first.average(seeds), second.average(seeds)
    by_seed = np.array([first.values[seed] - second.values[seed] for seed in seeds])
    for index, area in enumerate(AREAS):
        difference = value[index] - other_value[index]
        low, high = central_around(difference, drawn[index] - other_drawn[index], least=-1)
        yield {
            "area": area,
            "seeds": len(seeds),
            "difference": difference,
            "low": low,
            "high": high,
            "smallest": (high - low) / 2,
            "least_seed": by_seed[:, index].min(),
            "most_seed": by_seed[:, index].max(),
            "verdict": verdict(low, high, by_seed[:, index].tolist()),
        }


def verdict(low: float, high: float, by_seed: Sequence[float]) -> str:
    """Judge the claim that a difference is above 0.

    The interval does not cover the variation between seeds. The verdict is therefore inconclusive if a single seed
    contradicts the interval. It is also inconclusive if the interval has no width.

    Args:
        low: lower end of the interval of the difference over groups.
        high: upper end of the interval.
        by_seed: difference of each seed.

    Returns:
        `confirmed`, `refuted` or `inconclusive`.
    """
    if not low < high:
        return INCONCLUSIVE
    if low > 0 and min(by_seed) > 0:
        return CONFIRMED
    return REFUTED if high < 0 and max(by_seed) < 0 else INCONCLUSIVE
