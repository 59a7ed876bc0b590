"""Helpers of all benchmarks: options, median times, the matrix rate that scales targets, and the printed table."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf
from rich.console import Console
from rich.table import Table

from genre_tagger.config import Config, load_config

REFERENCE_GFLOPS = 103.0  # matrix rate of the machine on which the targets were set
MATRIX_SIZE = 2048
NUM_TAGS = 50
TABLE_WIDTH = 130  # independent of the terminal, because tables are pasted into documents
COLUMNS = ("measurement", "unit", "value", "target", "stretch target", "met", "alternative", "its value", "ratio")
TEXT_COLUMNS = ("measurement", "unit", "met", "alternative")
QUICK_OVERRIDES = (
    "window.seconds=3",
    "training.batch_size=2",
    "model.wavenet.blocks=1",
    "model.wavenet.dilation_depth=2",
)

_output = Console(highlight=False, width=TABLE_WIDTH)
_progress = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Measurement:
    """One row of a table. An attribute that is not given leaves its cells blank.

    Attributes:
        what: description of the measurement.
        unit: unit of all values in the row. Higher is better for values per second; lower is better for all others.
        figure: the value of genre_tagger.
        target: the required value.
        stretch: a better value to aim for, the stretch target.
        rival: name of the alternative, which does the same work.
        rival_figure: the alternative's value, from the same run.
    """

    what: str
    unit: str
    figure: float
    target: float | None = None
    stretch: float | None = None
    rival: str = ""
    rival_figure: float | None = None

    def cells(self) -> list[str]:
        """Return the row as text, one cell for each of COLUMNS."""
        figures = [_number(figure) for figure in (self.figure, self.target, self.stretch)]
        return [self.what, self.unit, *figures, self._met(), self.rival, _number(self.rival_figure), self._advantage()]

    def _met(self) -> str:
        if self.target is None:
            return ""
        if not self._reaches(self.target):
            return "no"
        return "yes, stretch" if self.stretch is not None and self._reaches(self.stretch) else "yes"

    def _reaches(self, bound: float) -> bool:
        return self.figure >= bound if self._higher_is_better else self.figure <= bound

    def _advantage(self) -> str:
        if self.rival_figure is None:
            return ""
        quotient = self.figure / self.rival_figure
        return f"{quotient if self._higher_is_better else 1 / quotient:.2f}"

    @property
    def _higher_is_better(self) -> bool:
        return self.unit.endswith("/s")


def options(doc: str) -> argparse.ArgumentParser:
    """Return the command line parser of a script, with the option that all scripts share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="use tiny sizes to check that the script works; the targets do not apply"
    )
    return parser


def stable_config(quick: bool) -> Config:
    """Return preset `stable`, to which the targets apply. With `quick`, it has tiny sizes."""
    return load_config("stable", overrides=QUICK_OVERRIDES if quick else ())


def say(line: str) -> None:
    """Print a line of progress to standard error."""
    _progress.print(line, markup=False)


def medians(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Return the median seconds of each function.

    Each function gets one warm-up call. Then the functions are called in turn, so that all run under the same
    conditions.
    """
    for function in functions:
        function()
    times = [[seconds(function) for function in functions] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def seconds(function: Callable[[], object]) -> float:
    """Return the wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def matrix_rate() -> float:
    """Return the GFLOP/s of a float32 2048 x 2048 TensorFlow matrix product.

    The rate is also printed. If it changes within a run, the machine was busy.
    """
    matrix = tf.random.stateless_normal((MATRIX_SIZE, MATRIX_SIZE), seed=(0, 0))
    (median,) = medians(9, lambda: tf.matmul(matrix, matrix).numpy())
    rate = 2 * MATRIX_SIZE**3 / median / 1e9
    say(f"matrix rate: {rate:.0f} GFLOP/s")
    return rate


def scaled(figure: float, rate: float) -> float:
    """Scale a time target from the reference machine to a machine with the given matrix rate, in GFLOP/s."""
    return figure * REFERENCE_GFLOPS / rate


def print_table(title: str, rate: float, rows: Sequence[Measurement]) -> None:
    """Print the measurements and a description of the machine. Omit empty columns."""
    machine = f"{os.cpu_count()} cores, {rate:.0f} GFLOP/s, TensorFlow {tf.__version__}"
    columns = zip(*(row.cells() for row in rows), strict=True)
    filled = {name: column for name, column in zip(COLUMNS, columns, strict=True) if any(column)}
    table = Table()
    for name in filled:
        table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right")
    for cells in zip(*filled.values(), strict=True):
        table.add_row(*cells)
    _output.print(f"{title} ({machine})", table, sep="\n")


def _number(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"
