"""One trial: a configuration is trained into an ordinary run directory, and what came of it is written beside it."""

import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from genre_tagger.config import Config
from genre_tagger.errors import UserError
from genre_tagger.files import storage_errors
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import create_run, write_text
from genre_tagger.training.callbacks import BudgetError, DivergedError, best_epoch
from genre_tagger.training.fit import device_names
from genre_tagger.training.transfer import check_start
from genre_tagger.tuning.directory import working_in
from genre_tagger.tuning.size import count_flops, count_parameters, inference_graph, inference_ms
from genre_tagger.tuning.space import config_with
from genre_tagger.workflow import OpenedData, check_window, train_run

OUTCOME_NAME, KILLS_NAME = "trial.json", "kills.json"
OBJECTIVES = {"val_auc": "val_roc_auc", "val_pr_auc": "val_pr_auc"}  # the column of a run's history
COMPLETED, FAILED = "completed", "failed"
MOST_KILLS = 3  # of the process in one trial without an epoch between them; the kernel kills what takes all memory


@dataclass(frozen=True)
class Limits:
    """What a model may have at most; None is no limit."""

    parameters: int | None = None
    flops: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        trial: its name.
        values: what was searched, by the names of the space.
        status: completed or failed.
        reason: why it failed.
        epochs: of its configuration.
        parameters: that are trained.
        flops: floating-point operations of one window.
        inference_ms: milliseconds of one window in a batch of 16.
        scores: by objective, the exact figure of the epoch whose weights are kept, averaged over the executions.
        seconds: it took since it was last taken up.
    """

    trial: str
    values: dict[str, Any]
    status: str
    reason: str | None = None
    epochs: int | None = None
    parameters: int | None = None
    flops: int | None = None
    inference_ms: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


class Unfit(Exception):  # noqa: N818, says that a trial failed, not the search
    """A trial fails without the search being at fault; the message is the reason."""


@dataclass(frozen=True)
class TrialRunner:
    """Trains the trials of a search, by the functions that `train` uses, so that a figure is what `train` would give.

    Attributes:
        base: configuration that a trial's values are laid over.
        open_data: gives what a configuration is trained on.
        executions: runs of a trial, of seeds s, s + 1, ..., whose figures are averaged.
        limits: of the model.
        say: prints a line.
    """

    base: Config
    open_data: Callable[[Config], OpenedData]
    executions: int
    limits: Limits
    say: Callable[[str], None]

    def run(self, path: Path, values: dict[str, Any]) -> Outcome:
        """Trains a trial, from wherever it was stopped, and returns what came of it; once ended, it only reads that.

        No memory left, a loss that is no number, a model over the limits and values that do not go together are an
        outcome. Everything else is raised.

        Args:
            path: of its run directory; further executions lie beside it, with a number behind the name.
            values: by the names of a space.

        Raises:
            UserError: a fault that any trial would meet, such as a full disk; another process still works on the trial;
                or it has ended, with other values.
        """
        with working_in(path):
            return self._read(path, values) if (path / OUTCOME_NAME).exists() else self._run(path, values)

    def _read(self, path: Path, values: dict[str, Any]) -> Outcome:
        outcome = read_outcome(path)
        if outcome.values != values:
            raise UserError(
                f"{path / OUTCOME_NAME}: is of a trial of other values ({outcome.values}, expected {values}); search "
                "into another --run"
            )
        return outcome

    def _run(self, path: Path, values: dict[str, Any]) -> Outcome:
        start = time.monotonic()
        facts: dict[str, Any] = {"trial": path.name, "values": values, "status": COMPLETED}
        try:
            with counting_kills(path):
                self._train(path, facts)
        except Unfit as failure:
            facts.update(status=FAILED, reason=str(failure))
        outcome = Outcome(**facts, seconds=time.monotonic() - start)
        write_outcome(path, outcome)
        return outcome

    def _train(self, path: Path, facts: dict[str, Any]) -> None:
        """Fills the facts in as they become known."""
        with _refusals():
            config = config_with(self.base, facts["values"])
        facts["epochs"] = config.training.epochs
        opened = self.open_data(config)
        with _refusals():
            check_window(opened.dataset, config)
        create_run(path, config, opened.record, opened.dataset.tags, device_names())
        with memory_faults():
            self._measure(config, len(opened.dataset.tags), facts)
            histories = []
            for number in range(self.executions):
                seeded = config_with(config, {"seed": config.seed + number})
                place = path if number == 0 else path.with_name(f"{path.name}-{number + 1}")
                histories.append(self._history(place, seeded, opened))
        facts["scores"] = _scores(histories)

    def _measure(self, config: Config, num_tags: int, facts: dict[str, Any]) -> None:
        keras.backend.clear_session()  # of the trial before
        gc.collect()
        keras.config.set_dtype_policy(config.training.precision)
        with _refusals():
            model = build_tagger(config, num_tags)
            check_start(model, config)
        graph = inference_graph(model)
        facts.update(parameters=count_parameters(model), flops=count_flops(graph))
        for name, limit in asdict(self.limits).items():
            if limit is not None and facts[name] > limit:
                raise Unfit(f"the model has {facts[name]:,} {name}, more than --max-{name} {limit:,}")
        facts["inference_ms"] = inference_ms(graph)

    def _history(self, place: Path, config: Config, opened: OpenedData) -> list[dict[str, Any]]:
        try:
            return train_run(place, config, opened, self.say)[1]
        except (BudgetError, DivergedError) as error:
            raise Unfit(str(error)) from error


def read_outcome(path: Path) -> Outcome:
    """What became of the trial in a directory.

    Raises:
        UserError: its file is damaged.
    """
    file = path / OUTCOME_NAME
    try:
        return Outcome(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{file}: cannot be read ({error}); remove it, and the same command makes it again") from None


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Writes what became of a trial into its directory, made where it is missing."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        write_text(path / OUTCOME_NAME, json.dumps(asdict(outcome), indent=2))


def read_outcomes(trials: Path) -> list[Outcome]:
    """What became of the ended trials below a directory, in their order; raises UserError for a damaged one."""
    return [read_outcome(file.parent) for file in sorted(trials.glob(f"*/{OUTCOME_NAME}"))]


def _scores(histories: list[list[dict[str, Any]]]) -> dict[str, float]:
    """The figures of the epochs whose weights are kept, averaged over the executions."""
    kept = [history[best_epoch(history) - 1] for history in histories]
    return {name: statistics.fmean(row[column] for row in kept) for name, column in OBJECTIVES.items()}


@contextmanager
def _refusals() -> Iterator[None]:
    """Values that do not go together are the trial's fault."""
    try:
        yield
    except UserError as error:
        raise Unfit(str(error)) from error


@contextmanager
def memory_faults() -> Iterator[None]:
    """Raises Unfit for a model too large for the memory; TensorFlow says so by several errors, known by the message."""
    try:
        yield
    except Exception as error:
        is_memory = isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)
        if isinstance(error, UserError) or not (is_memory or "out of memory" in str(error).lower()):
            raise
        raise Unfit(f"out of memory: {' '.join(str(error).split())[:200]}") from error


@contextmanager
def counting_kills(path: Path) -> Iterator[None]:
    """Raises Unfit for a run, or trial, that the process was killed in again and again without an epoch in between.

    The kernel kills a process that takes all memory, and no exception tells of it.
    """
    file = path / KILLS_NAME
    progress = sum(history.stat().st_size for history in path.parent.glob(f"{path.name}*/history.csv"))
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kills = before["kills"] if before.get("progress") == progress else 0
    if kills >= MOST_KILLS:
        raise Unfit(f"the process was killed {kills} times in this trial without an epoch in between; out of memory?")
    with storage_errors(path):
        write_text(file, json.dumps({"progress": progress, "kills": kills + 1}))
    try:
        yield
    finally:  # never reached by a kill
        file.unlink(missing_ok=True)
