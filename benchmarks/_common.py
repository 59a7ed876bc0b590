"""What the benchmarks share: options, the matrix rate that scales targets, alternating medians, the table."""

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

REFERENCE_GFLOPS = 103.0  # of the machine whose figures the targets were set from
MATRIX_SIZE = 2048
NUM_TAGS = 50
TABLE_WIDTH = 130  # whatever the terminal: tables are pasted into documents
COLUMNS = ("what", "unit", "figure", "target", "proud", "met", "rival", "its figure", "times as good")
TEXT_COLUMNS = ("what", "unit", "met", "rival")
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
    """One row of a table; what is not given is left blank.

    Attributes:
        what: was measured.
        unit: of all its figures; those per second are the better for being higher, all others for being lower.
        figure: ours.
        target, proud: what is required, and what would be something to be proud of.
        rival: what else does the same.
        rival_figure: the rival's, from the same run.
    """

    what: str
    unit: str
    figure: float
    target: float | None = None
    proud: float | None = None
    rival: str = ""
    rival_figure: float | None = None

    def cells(self) -> list[str]:
        """The row as text, one cell for each of COLUMNS."""
        figures = [_number(figure) for figure in (self.figure, self.target, self.proud)]
        return [self.what, self.unit, *figures, self._met(), self.rival, _number(self.rival_figure), self._advantage()]

    def _met(self) -> str:
        if self.target is None:
            return ""
        if not self._reaches(self.target):
            return "no"
        return "yes, proud" if self.proud is not None and self._reaches(self.proud) else "yes"

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
    """The command line of a script, with the one option that all have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works; no target applies")
    return parser


def stable_config(quick: bool) -> Config:
    """The preset that the model's targets are for; a shallow one of short windows and batches for `quick`."""
    return load_config("stable", overrides=QUICK_OVERRIDES if quick else ())


def say(line: str) -> None:
    """Tells what is being measured, on standard error."""
    _progress.print(line, markup=False)


def medians(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Median seconds of each function: called once to warm up, then by turns, so that all meet the same weather."""
    for function in functions:
        function()
    times = [[seconds(function) for function in functions] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def matrix_rate() -> float:
    """GFLOP/s of a float32 matrix product of 2048 x 2048 by TensorFlow; says it, so that a busy machine is noticed."""
    matrix = tf.random.stateless_normal((MATRIX_SIZE, MATRIX_SIZE), seed=(0, 0))
    (median,) = medians(9, lambda: tf.matmul(matrix, matrix).numpy())
    rate = 2 * MATRIX_SIZE**3 / median / 1e9
    say(f"matrix rate: {rate:.0f} GFLOP/s")
    return rate


def scaled(figure: float, rate: float) -> float:
    """A target in time, set on the reference machine, for a machine of the given matrix rate."""
    return figure * REFERENCE_GFLOPS / rate


def print_table(title: str, rate: float, rows: Sequence[Measurement]) -> None:
    """Prints the measurements, with the machine they were made on; columns without content are left out."""
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
