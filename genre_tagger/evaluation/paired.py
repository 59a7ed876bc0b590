"""Models compared on the same clips: each one's figures, averaged over its runs, and the difference of every pair.

A replicate draws whole groups, the same ones for all runs of all models (`bootstrap.replicated_areas`): what is hard
in a drawn song is hard for both models of a pair and falls out of their difference, whose interval is therefore much
narrower than those of its two sides.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

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
    """A model's runs, by seed.

    Attributes:
        values: [2], macro ROC-AUC and PR-AUC of each run's test clips.
        replicates: [2, replicates], the same of drawn groups.
    """

    values: dict[int, np.ndarray]
    replicates: dict[int, np.ndarray]

    def average(self, seeds: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Values [2] and replicates [2, replicates], averaged over seeds, by default over all."""
        chosen = self.values.keys() if seeds is None else seeds
        means = [np.mean([figures[seed] for seed in chosen], axis=0) for figures in (self.values, self.replicates)]
        return means[0], means[1]


def replicate(runs: Mapping[int, Predictions], *, replicates: int = 1000, seed: int = 0) -> Replicated:
    """Draws groups for a model's runs, by their seeds, which answered for the same clips."""
    areas = {number: replicated_areas(run, replicates=replicates, seed=seed) for number, run in runs.items()}
    return Replicated(
        {number: values for number, (values, _) in areas.items()},
        {number: drawn for number, (_, drawn) in areas.items()},
    )


def check_same_clips(predictions: Predictions, expected: Predictions, where: str) -> None:
    """Raises UserError where predictions, which `where` names, are for other clips or tags: nothing could be paired."""
    if predictions.tags != expected.tags or set(predictions.clip_ids) != set(expected.clip_ids):
        raise UserError(
            f"{where}: has predictions for other clips or tags than the runs before it, expected the same "
            f"{len(expected.clip_ids)} clips and {len(expected.tags)} tags"
        )


def figures(model: Replicated) -> dict[str, float]:
    """Each area averaged over the runs, its 95 % interval over groups, and its deviation from run to run."""
    values, replicates = model.average()
    row = {}
    for index, area in enumerate(AREAS):
        low, high = central_around(values[index], replicates[index], least=0)
        runs = [figure[index] for figure in model.values.values()]
        deviation = np.std(runs, ddof=1) if len(runs) > 1 else np.nan
        row |= {area: values[index], f"{area}_low": low, f"{area}_high": high, f"{area}_deviation": deviation}
    return row


def pair_table(models: Mapping[str, Replicated]) -> pd.DataFrame:
    """A row a pair and area, of each model against every later one.

    `difference` is the first's area minus the second's, averaged over the seeds that both have, with its paired 95 %
    interval `low` to `high`. `smallest` is half that interval's width: these clips would not show a smaller
    difference, as its interval would hold 0. `least_seed` and `most_seed` are the lowest and highest difference of a
    single seed. The verdict is on the claim that the first is better: `confirmed` where the interval and every seed lie
    above 0, `refuted` where they lie below, else `inconclusive`.
    """
    rows = [
        {"preset": first, "against": second, **row}
        for first, second in combinations(models, 2)
        for row in differences(models[first], models[second])
    ]
    return pd.DataFrame(rows, columns=list(PAIR_COLUMNS)).sort_values(
        "area", key=lambda areas: areas.map(AREAS.index), kind="stable", ignore_index=True
    )


def differences(first: Replicated, second: Replicated) -> Iterator[dict]:
    """For each area the columns of `pair_table` from `area` on; nothing where the two have no seed in common."""
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
            "verdict": verdict(low, high, by_seed[:, index]),
        }


def verdict(low: float, high: float, by_seed: Sequence[float]) -> str:
    """What a difference's interval over groups and its values by seed say of the claim that it is above 0.

    Nothing, where single seeds contradict the interval, which is blind to them, or where no draw made a difference.
    """
    if not low < high:
        return INCONCLUSIVE
    if low > 0 and min(by_seed) > 0:
        return CONFIRMED
    return REFUTED if high < 0 and max(by_seed) < 0 else INCONCLUSIVE
