"""The command `tune`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.commands.console import protocol_text, say, show, titled_table
from genre_tagger.commands.options import (
    ConfigFile,
    Freeze,
    Init,
    Overrides,
    Preset,
    configuration,
    takes_data,
)
from genre_tagger.commands.training_tables import print_training
from genre_tagger.errors import FieldError
from genre_tagger.training.start import start_of

if TYPE_CHECKING:
    from genre_tagger.dataset.request import DataRequest
    from genre_tagger.training.start import Start
    from genre_tagger.tuning.search import TuningResult

DEFAULT_TRIALS, DEMO_MINUTES = 20, 8.0
BEST_TRIALS = 5
TRIAL_COLUMNS = {"val_auc": ".4f", "val_pr_auc": ".4f", "parameters": ",.0f", "inference_ms": ".2f", "seconds": ".0f"}


@takes_data(stream=True)
def tune(
    request: "DataRequest",
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    run: Annotated[
        Path | None, typer.Option(help="Directory of the search; runs/tune-SOURCE-PRESET by default.")
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(help="demo (default for the demo), seed (default otherwise) or a YAML file of FIELD: VALUES."),
    ] = None,
    algorithm: Annotated[str, typer.Option(help="random, bayesian, hyperband or grid.")] = "random",
    objective: Annotated[
        str, typer.Option(help="val_auc or val_pr_auc, both at the epoch with the best val_auc.")
    ] = "val_auc",
    max_trials: Annotated[
        int | None,
        typer.Option(min=1, help="Limit for the whole search; by default 20, or as many as hyperband or grid plans."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start no trial that would exceed this time; 8 by default for the demo.")
    ] = None,
    max_parameters: Annotated[int | None, typer.Option(min=1, help="Trials with larger models fail.")] = None,
    max_flops: Annotated[
        int | None, typer.Option(min=1, help="Trials with more floating-point operations per window fail.")
    ] = None,
    executions_per_trial: Annotated[
        int, typer.Option(min=1, help="Runs per trial, with different seeds; their scores are averaged.")
    ] = 1,
    train_best: Annotated[bool, typer.Option(help="Train and evaluate the best configuration at the end.")] = False,
    init: Init = None,
    freeze: Freeze = None,
    chief: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the chief, which assigns trials. Without --worker, this process is the chief."),
    ] = None,
    worker: Annotated[
        str | None, typer.Option(help="Unique name of this worker, which trains trials that --chief assigns.")
    ] = None,
    give_up_seconds: Annotated[
        float,
        typer.Option(
            min=1,
            help="A worker that sends no message for this time loses its trial. A worker that cannot reach the chief "
            "for this time exits, and so does a chief without workers.",
        ),
    ] = 300.0,
) -> None:
    """Search depth, widths and other fields of the configuration with KerasTuner.

    If interrupted, rerun the command to resume, optionally with more trials.
    """
    if worker is not None and chief is None:
        raise FieldError("worker", "needs --chief HOST:PORT, the address of the chief")
    resolved, name = configuration(preset, config, set_ or [], init)
    start = start_of(init, freeze or ())
    source = request.source.source
    from genre_tagger.tuning import search
    from genre_tagger.tuning.cluster import Cluster
    from genre_tagger.tuning.space_file import load_space
    from genre_tagger.tuning.trial import ModelLimits

    max_trials, minutes = _budget(source, algorithm, max_trials, minutes)
    result = search.tune(
        search.TuneRequest(
            data=request,
            config=resolved,
            space=load_space(space or ("demo" if source == "demo" else "seed")),
            run=run or Path("runs") / f"tune-{source}-{name}",
            algorithm=algorithm,
            objective=objective,
            max_trials=max_trials,
            minutes=minutes,
            limits=ModelLimits(max_parameters, max_flops),
            executions=executions_per_trial,
            train_best=train_best,
            start=start,
            cluster=Cluster(chief, worker, give_up_seconds) if chief else None,
        )
    )
    if result:
        print_tuning(result)


def print_tuning(result: "TuningResult") -> None:
    """Print the best trials, the values of the winner, and what to run next."""
    table = result.table
    done = table[table["status"] == "completed"]
    if result.training:
        print_training(result.training)
    best = done[done["in_space"]].sort_values(result.objective, ascending=False, kind="stable").head(BEST_TRIALS)
    protocol = protocol_text(table["protocol"].iloc[0] if "protocol" in table else None)
    shown = titled_table(f"{len(done)} trials completed, {len(table) - len(done)} failed; the best{protocol}", "trial")
    for name in TRIAL_COLUMNS:
        shown.add_column(name.replace("_", " "), justify="right")
    for row in best.to_dict("records"):
        shown.add_row(row["trial"], *(f"{row[name]:{form}}" for name, form in TRIAL_COLUMNS.items()))
    show(shown)
    say(f"winner: trial {result.best.trial}, {result.objective} {result.best.scores[result.objective]:.4f}")
    for name, value in result.best.values.items():
        say(f"  {name}: {value}")
    say(f"all trials: {result.directory.table}  (plots in {result.directory.report})")
    say("next:")
    say(f"  genre-tagger train --config {result.directory.best}{_start_flags(result.start)}")
    say(f"  tensorboard --logdir {result.directory.trials}")


def _start_flags(start: "Start | None") -> str:
    """Return the options that make a training start from the same run as the trials."""
    if start is None:
        return ""
    return f" {shlex.join(['--init', str(start.run), *(part for name in start.freeze for part in ('--freeze', name))])}"


def _budget(
    source: str, algorithm: str, max_trials: int | None, minutes: float | None
) -> tuple[int | None, float | None]:
    """Return the trials and minutes of a search. Hyperband and grid end on their own."""
    if source == "demo" and max_trials is None and minutes is None:
        minutes = DEMO_MINUTES
    if max_trials is None and algorithm in ("random", "bayesian"):
        max_trials = DEFAULT_TRIALS
    return max_trials, minutes
