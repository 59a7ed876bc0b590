"""The search over depth, widths and more: tune."""

from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.cli.options import (
    ConfigFile,
    Data,
    DataSeed,
    Group,
    Mirror,
    Overrides,
    Preset,
    Root,
    Songs,
    Source,
    Split,
    Stream,
    Table,
    Workers,
    configuration,
    cores,
    source_options,
)
from genre_tagger.errors import UserError

DEFAULT_TRIALS, DEMO_MINUTES = 20, 8.0


def tune(
    source: Source = "demo",
    root: Root = None,
    table: Table = None,
    split: Split = None,
    group: Group = None,
    mirror: Mirror = None,
    songs: Songs = None,
    data_seed: DataSeed = 0,
    data: Data = Path("data"),
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    run: Annotated[
        Path | None, typer.Option(help="The search's directory; runs/tune-SOURCE-PRESET by default.")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="A YAML file of FIELD: RANGE, or demo (default for the demo) or seed.")
    ] = None,
    algorithm: Annotated[str, typer.Option(help="random, bayesian, hyperband or grid.")] = "random",
    objective: Annotated[str, typer.Option(help="val_auc or val_pr_auc: the best epoch's exact figure.")] = "val_auc",
    max_trials: Annotated[
        int | None, typer.Option(min=1, help="Of the whole search; 20 by default, hyperband and grid as planned.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Begin no trial that would end later; 8 for the demo by default.")
    ] = None,
    max_parameters: Annotated[int | None, typer.Option(min=1, help="Larger models fail.")] = None,
    max_flops: Annotated[
        int | None, typer.Option(min=1, help="So do those of more floating-point operations a window.")
    ] = None,
    executions_per_trial: Annotated[int, typer.Option(min=1, help="Seeds whose figures are averaged.")] = 1,
    train_best: Annotated[bool, typer.Option(help="Train the winner at the end, and evaluate it.")] = False,
    chief: Annotated[
        str | None, typer.Option(help="HOST:PORT: hand trials out there; with --worker, take them from there.")
    ] = None,
    worker: Annotated[str | None, typer.Option(help="This worker's name, its own among all.")] = None,
    give_up_seconds: Annotated[
        float, typer.Option(min=1, help="Silence after which a worker's trial goes to another, or a lone process ends.")
    ] = 300.0,
    stream: Stream = False,
    workers: Workers = None,
) -> None:
    """Search depth, widths and more by KerasTuner. Killed, the same command goes on; with more trials, too."""
    if worker is not None and chief is None:
        raise UserError("--worker: needs --chief HOST:PORT, the address of the search's chief")
    from genre_tagger import console

    resolved, name = configuration(preset, config, set_)
    options = source_options(source, root, table, split, group, mirror, songs, data_seed)
    run = run or Path("runs") / f"tune-{source}-{name}"
    from genre_tagger.tuning import search
    from genre_tagger.tuning.cluster import Cluster
    from genre_tagger.tuning.space_file import load_space
    from genre_tagger.tuning.trial import Limits

    result = search.tune(
        search.TuningOptions(
            algorithm,
            objective,
            *_budget(source, algorithm, max_trials, minutes),
            Limits(max_parameters, max_flops),
            executions_per_trial,
            train_best,
        ),
        load_space(space or ("demo" if source == "demo" else "seed")),
        resolved,
        search.DataOptions(options, data, stream, workers or cores()),
        run,
        say=console.say,
        progress=console.progress_bar,
        cluster=Cluster(chief, worker, give_up_seconds) if chief else None,
    )
    if result:
        console.print_tuning(result)


def _budget(
    source: str, algorithm: str, max_trials: int | None, minutes: float | None
) -> tuple[int | None, float | None]:
    """Trials and minutes of a search; hyperband and grid end by themselves."""
    if source == "demo" and max_trials is None and minutes is None:
        minutes = DEMO_MINUTES
    if max_trials is None and algorithm in ("random", "bayesian"):
        max_trials = DEFAULT_TRIALS
    return max_trials, minutes
