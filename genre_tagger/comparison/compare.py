"""Compare presets: train them on the same clips with the same budget and several seeds, and write tables and plots."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from genre_tagger.comparison.plots import plot_comparison
from genre_tagger.comparison.table import PresetRuns, comparison_table, tables_in_markdown
from genre_tagger.config import Config, load_config, preset_names, unknown_preset
from genre_tagger.dataset.pipeline import evaluation_starts
from genre_tagger.dataset.request import DataRequest
from genre_tagger.errors import FieldError, UserError
from genre_tagger.evaluation.model_cost import count_flops, count_parameters, inference_graph, inference_ms
from genre_tagger.evaluation.paired import check_same_clips, pair_table, replicate
from genre_tagger.evaluation.predictions import Predictions, read_predictions
from genre_tagger.files import replacing, storage_errors, working_in, write_text
from genre_tagger.models.tagger import build_tagger
from genre_tagger.runs.creation import check_run, create_run
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.run_data import OpenedData, check_window, open_data
from genre_tagger.training.callbacks import BudgetError, DivergedError
from genre_tagger.training.failures import TrainingFailed, counting_kills, memory_faults
from genre_tagger.training.fit import device_names
from genre_tagger.training.train import check_model, train_and_evaluate

FAILED_NAME = "failed.txt"
MANY_EPOCHS = 1_000_000  # if the budget is a time

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CompareRequest:
    """One comparison.

    Attributes:
        presets: names of presets, or YAML files.
        data: the data that the presets are trained on.
        run: directory of the comparison. It is created if it is missing, and resumed if it holds the same comparison.
        seeds: number of runs of each preset, with seeds 0, 1, ...
        epochs, minutes: budget of each run; exactly one of the two is set.
        overrides: KEY=VALUE, applied on top of every preset.
        reach: validation ROC-AUC; the training time until it is reached goes into the table. None to leave this out.
    """

    presets: Sequence[str]
    data: DataRequest
    run: Path
    seeds: int
    epochs: int | None = None
    minutes: float | None = None
    overrides: Sequence[str] = ()
    reach: float | None = None


@dataclass(frozen=True)
class ComparisonDirectory:
    """The paths of everything in the directory of a comparison."""

    path: Path

    @property
    def runs(self) -> Path:
        """The folder of run directories, named PRESET-SEED."""
        return self.path / "runs"

    @property
    def costs(self) -> Path:
        """The cost of each preset's model, measured once (JSON)."""
        return self.path / "costs.json"

    @property
    def table(self) -> Path:
        """The table of results: one row for the baseline and one row per preset (CSV)."""
        return self.path / "table.csv"

    @property
    def pairs(self) -> Path:
        """The table of pairs: one row per pair and area (CSV)."""
        return self.path / "pairs.csv"

    @property
    def markdown(self) -> Path:
        """Both tables in Markdown."""
        return self.path / "table.md"

    @property
    def report(self) -> Path:
        """The folder of plots."""
        return self.path / "report"


@dataclass(frozen=True)
class Member:
    """One run of a comparison.

    Attributes:
        preset: name of the preset.
        seed: seed of the run.
        run: its run directory.
        config: its configuration.
    """

    preset: str
    seed: int
    run: RunDirectory
    config: Config

    @property
    def failed(self) -> Path:
        """The reason why the run failed, if it did. If this file is removed, the run is tried again."""
        return self.run.path / FAILED_NAME


@dataclass(frozen=True)
class Compared:
    """The result of a comparison.

    Attributes:
        directory: directory of the comparison.
        headline: one line on the test clips.
        table: one row for the baseline and one row per preset, see `comparison_table`.
        pairs: one row per pair and area, see `pair_table`.
        reasons: error message of each failed run, by the name of its run directory.
    """

    directory: ComparisonDirectory
    headline: str
    table: pd.DataFrame
    pairs: pd.DataFrame
    reasons: dict[str, str]


def compare(request: CompareRequest) -> Compared:
    """Train and evaluate every preset with every seed. If an earlier call was interrupted, resume it.

    All presets are trained with one seed before the next seed begins. A run that diverges or does not fit into memory
    is listed as failed, and the others continue.

    Args:
        request: presets, data, seeds, budget and directory of the comparison.

    Returns:
        The tables of results, which are also written into the directory.

    Raises:
        UserError: any error that the user can correct. Nothing that was finished is lost.
    """
    directory = ComparisonDirectory(request.run)
    members = _members(request, directory)
    _check_directory(directory, members)
    with working_in(request.run):
        opened = _open(request.data, members)
        for member in members:
            check_window(opened[member.preset].dataset, member.config)
        costs = _costs(directory, members, opened)
        for member in members:
            _complete(member, members, opened[member.preset])
        return _finish(directory, members, costs, request.reach)


def _open(request: DataRequest, members: Sequence[Member]) -> dict[str, OpenedData]:
    """Open the data of each preset, once for each sample rate and window."""
    by_window: dict[tuple[int, float], OpenedData] = {}
    for member in members:
        key = _window(member.config)
        if key not in by_window:
            by_window[key] = open_data(request, member.config)
    return {member.preset: by_window[_window(member.config)] for member in members}


def _window(config: Config) -> tuple[int, float]:
    return config.frontend.sample_rate, config.window.seconds


def _members(request: CompareRequest, directory: ComparisonDirectory) -> list[Member]:
    """Return the runs, seed by seed; raise UserError for presets that are unknown, named twice or cannot be built."""
    names = [Path(preset).stem if _is_file(preset) else preset for preset in request.presets]
    for preset in request.presets:
        if not _is_file(preset) and preset not in preset_names():
            raise FieldError("presets", unknown_preset(preset))
    if twice := [name for name in names if names.count(name) > 1]:
        raise FieldError("presets", f"found {twice[0]!r} twice, expected presets and files of different names")
    if len(names) < 2:
        raise FieldError("presets", f"found {names[0]!r} alone, expected two or more to compare")
    members = [
        Member(name, seed, RunDirectory(directory.runs / f"{name}-{seed}"), _config(preset, request, seed))
        for seed in range(request.seeds)
        for name, preset in zip(names, request.presets, strict=True)
    ]
    for member in members[: len(names)]:
        check_model(member.config, member.run)
    return members


def _is_file(preset: str) -> bool:
    return preset.endswith((".yaml", ".yml"))


def _config(preset: str, request: CompareRequest, seed: int) -> Config:
    budget = f"training.epochs={request.epochs}" if request.epochs else f"training.minutes={request.minutes}"
    lifted = [] if request.epochs else [f"training.epochs={MANY_EPOCHS}"]  # an override may limit them again
    overrides = [*lifted, *request.overrides, budget, f"seed={seed}"]
    if _is_file(preset):
        return load_config(path=Path(preset), overrides=overrides)
    return load_config(preset, overrides=overrides)


def _check_directory(directory: ComparisonDirectory, members: Sequence[Member]) -> None:
    """Refuse a directory of other files or of another comparison. `create_run` compares the data later."""
    entries = directory.path.iterdir() if directory.path.is_dir() else ()
    there = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    if there and not directory.runs.is_dir():
        raise FieldError(
            "run",
            f"{directory.path}: found a directory with {there[0]!r} in it and no comparison; expected a new or empty "
            "directory, or the directory of a comparison",
        )
    known = {member.run.path for member in members}
    for path in sorted(directory.runs.glob("*")):
        if path not in known and RunDirectory(path).config.exists():
            raise FieldError(
                "run",
                f"{directory.path}: holds another comparison, with the run {path.name}; expected at least the presets "
                "and seeds of that comparison, or another directory",
            )
    for member in members:
        check_run(member.run.path, member.config)


def _costs(
    directory: ComparisonDirectory, members: Sequence[Member], opened: Mapping[str, OpenedData]
) -> dict[str, dict[str, float]]:
    """Return the cost of each preset's model. Costs that were measured before are read."""
    costs = json.loads(directory.costs.read_text(encoding="utf-8")) if directory.costs.exists() else {}
    for member in members:
        if member.preset not in costs:
            costs[member.preset] = _cost(member.config, opened[member.preset])
            with storage_errors(directory.path):
                write_text(directory.costs, json.dumps(costs, indent=2))
    return costs


def _cost(config: Config, opened: OpenedData) -> dict[str, float]:
    keras.backend.clear_session()  # frees the previous models
    keras.config.set_dtype_policy(config.training.precision)
    model = build_tagger(config, len(opened.dataset.tags))
    graph = inference_graph(model)
    samples = np.round(opened.dataset.splits["test"].seconds * config.frontend.sample_rate).astype(int)
    lengths, counts = np.unique(samples + 2 * config.frontend.clip_margin, return_counts=True)
    windows = np.average([len(evaluation_starts(int(length), config)) for length in lengths], weights=counts)
    return {
        "parameters": count_parameters(model),
        "windows": float(windows),
        "window_flops": count_flops(graph),
        "window_ms": inference_ms(graph),
    }


def _complete(member: Member, members: Sequence[Member], opened: OpenedData) -> None:
    """Train and evaluate a run, unless it is done or has failed."""
    create_run(member.run.path, member.config, opened.record, opened.dataset.tags, device_names())
    if member.run.metrics.exists() or member.failed.exists():
        return
    _logger.info("%s, seed %d", member.preset, member.seed)
    keras.backend.clear_session()  # frees the previous models
    _lend_baseline(member, members)
    try:
        with counting_kills(member.run.path), memory_faults():
            train_and_evaluate(member.run.path, member.config, opened)
    except (DivergedError, TrainingFailed) as failure:
        with storage_errors(member.run.path):
            write_text(member.failed, str(failure))
        _logger.info("%s, seed %d failed: %s", member.preset, member.seed, failure)
    except BudgetError as error:
        raise FieldError("minutes", f"expected enough for one epoch of {member.preset!r}: {error}") from error


def _lend_baseline(member: Member, members: Sequence[Member]) -> None:
    """Copy the baseline of another run with the same front-end, if any. It depends only on front-end and data."""
    lenders = (other for other in members if other.config.frontend == member.config.frontend)
    lender = next((other for other in lenders if other.run.baseline.exists()), None)
    if lender and not member.run.baseline.exists():
        with storage_errors(member.run.path):
            member.run.report.mkdir(exist_ok=True)
            with replacing(member.run.baseline) as unfinished:
                shutil.copy(lender.run.baseline, unfinished)


def _finish(
    directory: ComparisonDirectory,
    members: Sequence[Member],
    costs: Mapping[str, dict[str, float]],
    reach: float | None,
) -> Compared:
    """Read all runs, and write tables and plots."""
    reasons = {
        member.run.path.name: member.failed.read_text(encoding="utf-8") for member in members if member.failed.exists()
    }
    done = [member for member in members if member.run.metrics.exists()]
    if not done:
        example = next(iter(reasons.values()))
        raise UserError(f"{directory.path}: none of {len(members)} runs was completed, for example: {example}")
    tested = {member.run.path: read_predictions(member.run.predictions).of_split("test") for member in done}
    first = tested[done[0].run.path]
    for path, predictions in tested.items():
        check_same_clips(predictions, first, str(path))
    names = dict.fromkeys(member.preset for member in members)
    presets = {name: _runs(name, members, tested, costs[name]) for name in names}
    baseline = replicate({0: read_predictions(done[0].run.baseline)})
    table = comparison_table(presets, baseline, reach, first.protocol)
    headline = _headline(first)
    pairs = pair_table({name: runs.areas for name, runs in presets.items() if runs.areas})
    with storage_errors(directory.path):
        for path, content in ((directory.table, table), (directory.pairs, pairs)):
            with replacing(path) as unfinished:
                content.to_csv(unfinished, index=False)
        write_text(directory.markdown, tables_in_markdown(headline, table, pairs))
        plot_comparison(directory.report, presets, table, pairs, reach, headline)
    return Compared(directory, headline, table, pairs, reasons)


def _headline(tested: Predictions) -> str:
    """Return one line on the test clips."""
    protocol = f", protocol {tested.protocol}" if tested.protocol else ""
    return f"{len(tested.clip_ids)} test clips of {np.unique(tested.groups).size} groups{protocol}"


def _runs(
    name: str, members: Sequence[Member], tested: Mapping[Path, Predictions], cost: dict[str, float]
) -> PresetRuns:
    own = [member for member in members if member.preset == name]
    done = {member.seed: member for member in own if member.run.path in tested}
    return PresetRuns(
        {seed: pd.read_csv(member.run.history) for seed, member in done.items()},
        replicate({seed: tested[member.run.path] for seed, member in done.items()}) if done else None,
        {member.seed: member.failed.read_text(encoding="utf-8") for member in own if member.failed.exists()},
        cost,
    )
