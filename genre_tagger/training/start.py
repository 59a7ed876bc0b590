"""The start of a training: random weights or another run.

This module does not import Keras, because the command line imports it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genre_tagger.errors import FieldError


@dataclass(frozen=True)
class Start:
    """The run that a training starts from, instead of random weights.

    Attributes:
        run: directory of a trained run.
        freeze: names or prefixes of layers that keep the weights and batch statistics of that run.
    """

    run: Path
    freeze: tuple[str, ...] = ()


def start_of(init: Path | None, freeze: Sequence[str] = ()) -> Start | None:
    """Return the start of a training; None for random weights.

    Args:
        init: directory of a trained run to start from.
        freeze: names or prefixes of layers that keep its weights.

    Raises:
        FieldError: there are layers to freeze, but there is no run to take their weights from.
    """
    if "" in freeze:
        raise FieldError("freeze", "found an empty name, expected a layer or the beginning of layer names")
    if init is not None:
        return Start(init.resolve(), tuple(freeze))
    if freeze:
        raise FieldError("freeze", f"found {freeze[0]!r} without the run whose layers are kept; expected it too (init)")
    return None
