"""The command `compare`: presets trained on the same clips under one budget, over several seeds, in one table."""

import gc
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from genre_tagger.config import Config, load_config, nearest, preset_names
from genre_tagger.data.pipeline import evaluation_starts
from genre_tagger.errors import UserError
from genre_tagger.evaluation.comparison import PresetRuns, comparison_table, tables_in_markdown
from genre_tagger.evaluation.comparison_plots import plot_comparison
from genre_tagger.evaluation.paired import check_same_clips, pair_table, replicate
from genre_tagger.evaluation.predictions import Predictions, read_predictions
from genre_tagger.files import replacing, storage_errors
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import RunDirectory, check_run, create_run, write_text
from genre_tagger.training.callbacks import BudgetError, DivergedError
from genre_tagger.training.fit import device_names
from genre_tagger.tuning.directory import working_in
from genre_tagger.tuning.search import DataOptions, data_opener
from genre_tagger.tuning.size import count_flops, count_parameters, inference_graph, inference_ms
from genre_tagger.tuning.trial import Unfit, counting_kills, memory_faults
from genre_tagger.workflow import OpenedData, ProgressBar, Say, check_model, check_window, train_and_evaluate

FAILED_NAME = "failed.txt"
MANY_EPOCHS = 1_000_000  # where minutes are the budget


@dataclass(frozen=True)
class ComparisonOptions:
    """What is compared, and how.

    Attributes:
        presets: names, or YAML files.
        seeds: runs of each, of seeds 0, 1, ...
        epochs, minutes: of each run; one of the two.
        overrides: KEY=VALUE over every preset.
        reach: validation ROC-AUC whose time is reported.
    """

    presets: Sequence[str]
    seeds: int
    epochs: int | None = None
    minutes: float | None = None
    overrides: Sequence[str] = ()
    reach: float | None = None


@dataclass(frozen=True)
class ComparisonDirectory:
    """Paths of everything that a comparison leaves behind."""

    path: Path

    @property
    def runs(self) -> Path:
        """Run directories, PRESET-SEED."""
        return self.path / "runs"

    @property
    def costs(self) -> Path:
        """What each preset's model costs (JSON), measured once."""
        return self.path / "costs.json"

    @property
    def table(self) -> Path:
        """A row the floor and each preset."""
        return self.path / "table.csv"

    @property
    def pairs(self) -> Path:
        """A row each pair and area."""
        return self.path / "pairs.csv"

    @property
    def markdown(self) -> Path:
        """Both tables, to read."""
        return self.path / "table.md"

    @property
    def report(self) -> Path:
        """Plots."""
        return self.path / "report"


@dataclass(frozen=True)
class Member:
    """One run of a comparison: its preset's name and seed, its place, and all that it depends on beside its data."""

    preset: str
    seed: int
    run: RunDirectory
    config: Config

    @property
    def failed(self) -> Path:
        """Why it failed, if it did; without it, the same command tries again."""
        return self.run.path / FAILED_NAME


@dataclass(frozen=True)
class Compared:
    """What a comparison has to show."""

    directory: ComparisonDirectory
    headline: str
    table: pd.DataFrame
    pairs: pd.DataFrame
    reasons: dict[str, str]


def compare(
    options: ComparisonOptions, sources: DataOptions, path: Path, *, say: Say, progress: ProgressBar
) -> Compared:
    """Trains and evaluates every preset with every seed; goes on from wherever an earlier call was stopped.

    All presets are trained with one seed before the next seed begins. A run that diverges or does not fit into memory
    is listed as failed, and the rest goes on.

    Args:
        options: what is compared.
        sources: what it is trained on.
        path: directory of the comparison, made if missing.
        say: prints a line.
        progress: makes a progress bar.

    Raises:
        UserError: whatever the user can mend; nothing that was finished is lost.
    """
    directory = ComparisonDirectory(path)
    members = _members(options, directory)
    _check_directory(directory, members)
    with working_in(path):
        opener = data_opener(sources, say, progress)
        opened = {member.preset: opener(member.config) for member in members}
        for member in members:
            check_window(opened[member.preset].dataset, member.config)
        costs = _costs(directory, members, opened)
        for member in members:
            _complete(member, members, opened[member.preset], say)
        return _finish(directory, members, costs, options.reach)


def _members(options: ComparisonOptions, directory: ComparisonDirectory) -> list[Member]:
    """The runs, seed by seed; raises UserError for presets that are unknown, named twice or cannot be built."""
    names = [Path(preset).stem if _is_file(preset) else preset for preset in options.presets]
    for preset in options.presets:
        if not _is_file(preset) and preset not in preset_names():
            raise UserError(f"--presets: unknown preset {preset!r}{nearest(preset, preset_names())}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"--presets: found {twice[0]!r} twice; expected names, and names of files, that differ")
    if len(names) < 2:
        raise UserError(f"--presets: found {names[0]!r} alone, expected two or more to compare")
    members = [
        Member(name, seed, RunDirectory(directory.runs / f"{name}-{seed}"), _config(preset, options, seed))
        for seed in range(options.seeds)
        for name, preset in zip(names, options.presets, strict=True)
    ]
    for member in members[: len(names)]:
        check_model(member.config, member.run)
    return members


def _is_file(preset: str) -> bool:
    return preset.endswith((".yaml", ".yml"))


def _config(preset: str, options: ComparisonOptions, seed: int) -> Config:
    budget = f"training.epochs={options.epochs}" if options.epochs else f"training.minutes={options.minutes}"
    lifted = [] if options.epochs else [f"training.epochs={MANY_EPOCHS}"]  # --set may limit them again
    overrides = [*lifted, *options.overrides, budget, f"seed={seed}"]
    if _is_file(preset):
        return load_config(path=Path(preset), overrides=overrides)
    return load_config(preset, overrides=overrides)


def _check_directory(directory: ComparisonDirectory, members: Sequence[Member]) -> None:
    """Refuses a directory of something else, or of another comparison, but for its data."""
    entries = directory.path.iterdir() if directory.path.is_dir() else ()
    there = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    if there and not directory.runs.is_dir():
        raise UserError(
            f"--run {directory.path}: found a directory with {there[0]!r} in it and no comparison; expected a new or "
            "empty one, or that of a comparison"
        )
    known = {member.run.path for member in members}
    for path in sorted(directory.runs.glob("*")):
        if path not in known and RunDirectory(path).config.exists():
            raise UserError(
                f"--run {directory.path}: holds another comparison, with the run {path.name}; expected its presets and "
                "seeds, or more of them, or another --run"
            )
    for member in members:
        check_run(member.run.path, member.config)


def _costs(
    directory: ComparisonDirectory, members: Sequence[Member], opened: Mapping[str, OpenedData]
) -> dict[str, dict[str, float]]:
    """Parameters, operations and time of inference of each preset's model; measured ones are read."""
    costs = json.loads(directory.costs.read_text(encoding="utf-8")) if directory.costs.exists() else {}
    for member in members:
        if member.preset not in costs:
            costs[member.preset] = _cost(member.config, opened[member.preset])
            with storage_errors(directory.path):
                write_text(directory.costs, json.dumps(costs, indent=2))
    return costs


def _cost(config: Config, opened: OpenedData) -> dict[str, float]:
    _forget_models()
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


def _forget_models() -> None:
    keras.backend.clear_session()
    gc.collect()


def _complete(member: Member, members: Sequence[Member], opened: OpenedData, say: Say) -> None:
    """Trains and evaluates a run, unless that is done or has failed."""
    create_run(member.run.path, member.config, opened.record, opened.dataset.tags, device_names())
    if member.run.metrics.exists() or member.failed.exists():
        return
    say(f"{member.preset}, seed {member.seed}")
    _forget_models()
    _lend_floor(member, members)
    try:
        with counting_kills(member.run.path), memory_faults():
            train_and_evaluate(member.run.path, member.config, opened, say)
    except (DivergedError, Unfit) as failure:
        with storage_errors(member.run.path):
            write_text(member.failed, str(failure))
        say(f"{member.preset}, seed {member.seed} failed: {failure}")
    except BudgetError as error:
        raise UserError(f"--minutes: too few for one epoch of {member.preset!r}: {error}") from error


def _lend_floor(member: Member, members: Sequence[Member]) -> None:
    """The floor depends on the front-end and the data alone: fitted once, it serves all runs."""
    lenders = (other for other in members if other.config.frontend == member.config.frontend)
    lender = next((other for other in lenders if other.run.floor.exists()), None)
    if lender and not member.run.floor.exists():
        with storage_errors(member.run.path):
            member.run.report.mkdir(exist_ok=True)
            with replacing(member.run.floor) as unfinished:
                shutil.copy(lender.run.floor, unfinished)


def _finish(
    directory: ComparisonDirectory,
    members: Sequence[Member],
    costs: Mapping[str, dict[str, float]],
    reach: float | None,
) -> Compared:
    """Reads all runs and writes tables and plots."""
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
    floor = replicate({0: read_predictions(done[0].run.floor)})
    table = comparison_table(presets, floor, reach, first.protocol)
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
    """What the figures are of."""
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
