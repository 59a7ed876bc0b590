"""The table of all trials of a search, and the winner among them."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from genre_tagger.tuning.space import Space
from genre_tagger.tuning.trial import COMPLETED, OBJECTIVES, Outcome

FIGURES = (*OBJECTIVES, "parameters", "flops", "inference_ms", "epochs", "seconds")


def trials_table(outcomes: Sequence[Outcome], space: Space, protocol: str | None = None) -> pd.DataFrame:
    """Return one row per trial, in the order given: status, scores and costs, searched values, and reason of failure.

    `in_space` is false for a trial of an earlier, wider space that lies outside the present one. Values other than
    single numbers and strings are written as JSON. The column `protocol` exists if the data has a protocol.

    Args:
        outcomes: outcomes of the trials.
        space: the present space.
        protocol: protocol of the data, if it has one.
    """
    columns = ["trial", "status", "in_space", *FIGURES, *space.entries, "reason"]
    table = pd.DataFrame([_row(outcome, space) for outcome in outcomes], columns=columns)
    return table.assign(protocol=protocol) if protocol else table


def winner(outcomes: Sequence[Outcome], space: Space, objective: str) -> Outcome | None:
    """Return the first completed trial inside the space with the highest objective; None if there is none.

    Args:
        outcomes: outcomes of the trials, in their order.
        space: the present space.
        objective: name of the score.
    """
    candidates = [outcome for outcome in outcomes if outcome.status == COMPLETED and _in_space(outcome, space)]
    return max(candidates, key=lambda outcome: outcome.scores[objective], default=None)


def plain(value: Any) -> Any:
    """Return a number or a string as it is, and any other value as JSON."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def _row(outcome: Outcome, space: Space) -> dict[str, Any]:
    figures = {name: outcome.scores.get(name, getattr(outcome, name, None)) for name in FIGURES}
    values = {name: plain(outcome.values[name]) for name in space.entries}
    return {
        "trial": outcome.trial,
        "status": outcome.status,
        "in_space": _in_space(outcome, space),
        **figures,
        **values,
        "reason": outcome.reason,
    }


def _in_space(outcome: Outcome, space: Space) -> bool:
    return space.contains({name: outcome.values[name] for name in space.entries})
