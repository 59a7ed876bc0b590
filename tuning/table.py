"""All trials of a search in one table, and the winner among them."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from genre_tagger.tuning.space import Space
from genre_tagger.tuning.trial import COMPLETED, OBJECTIVES, Outcome

FIGURES = (*OBJECTIVES, "parameters", "flops", "inference_ms", "epochs", "seconds")


def trials_table(outcomes: Sequence[Outcome], space: Space, protocol: str | None = None) -> pd.DataFrame:
    """A row a trial, in their order: its status, its figures, what was searched, why it failed.

    `in_space` is false for trials of a wider space that the search began with. Values that are no single number or
    word stand as JSON. Where the data has a protocol, its name stands beside the figures.
    """
    columns = ["trial", "status", "in_space", *FIGURES, *space.entries, "reason"]
    table = pd.DataFrame([_row(outcome, space) for outcome in outcomes], columns=columns)
    return table.assign(protocol=protocol) if protocol else table


def winner(outcomes: Sequence[Outcome], space: Space, objective: str) -> Outcome | None:
    """The completed trial of the space with the best objective, the first of equals."""
    candidates = [outcome for outcome in outcomes if outcome.status == COMPLETED and _in_space(outcome, space)]
    return max(candidates, key=lambda outcome: outcome.scores[objective], default=None)


def plain(value: Any) -> Any:
    """A value as one number or word: what is neither stands as JSON."""
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
