"""From a collection to a tagger and its figures: prepare, train, evaluate."""

import json
from functools import partial
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

Families = Annotated[Path | None, typer.Option(help="TSV of tag and family, instead of the package's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the content of metrics.json instead of tables.")]


def prepare(
    source: Source = "demo",
    root: Root = None,
    table: Table = None,
    split: Split = None,
    group: Group = None,
    mirror: Mirror = None,
    songs: Songs = None,
    data_seed: DataSeed = 0,
    data: Data = Path("data"),
    sample_rate: Annotated[
        int, typer.Option(min=1000, max=192_000, help="Rate of the prepared audio, in Hz.")
    ] = 12_000,
    workers: Workers = None,
) -> None:
    """Decode a collection once into TFRecord shards; killed, the same command goes on. `train` does it by itself."""
    from genre_tagger import console, workflow

    options = source_options(source, root, table, split, group, mirror, songs, data_seed)
    manifest = workflow.prepare_source(
        options, data, sample_rate, workers or cores(), console.progress_bar, console.say
    )
    console.print_manifest(manifest)


def train(
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
    run: Annotated[Path | None, typer.Option(help="The run directory; runs/SOURCE-PRESET by default.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set training.epochs=...")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Short for --set seed=...")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32, mixed_bfloat16 or mixed_float16; short for --set training.precision=..."),
    ] = None,
    jit: Annotated[bool | None, typer.Option(help="Compile by XLA; short for --set training.jit=...")] = None,
    init: Annotated[
        Path | None, typer.Option(help="A run to start from, on the same or other tags; its configuration by default.")
    ] = None,
    freeze: Annotated[
        int | None, typer.Option(min=0, help="With --init: keep its first layers with weights, so many, as they are.")
    ] = None,
    stream: Stream = False,
    workers: Workers = None,
) -> None:
    """Train a tagger from raw audio and report its ROC-AUC. Killed, the same command goes on from the last epoch."""
    from genre_tagger import console

    short = {
        "training.epochs": epochs,
        "seed": seed,
        "training.precision": precision,
        "training.jit": jit,
        "training.init": init and json.dumps(str(init.resolve())),
        "training.freeze": freeze,
    }
    overrides = [*(set_ or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    resolved, name = configuration(preset, config, overrides, init)
    options = source_options(source, root, table, split, group, mirror, songs, data_seed)
    run = run or Path("runs") / f"{source}-{name}"
    from genre_tagger import workflow

    result = workflow.train(
        options,
        resolved,
        run,
        data,
        stream=stream,
        workers=workers or cores(),
        say=console.say,
        progress=console.progress_bar,
    )
    console.print_training(result)


def probe(
    run: Annotated[Path, typer.Argument(help="A run directory, trained on whatever tags.")],
    source: Source = "demo",
    root: Root = None,
    table: Table = None,
    split: Split = None,
    group: Group = None,
    mirror: Mirror = None,
    songs: Songs = None,
    data_seed: DataSeed = 0,
    data: Data = Path("data"),
    families: Families = None,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Fit a linear head on a run's embeddings of a collection, and report its ROC-AUC: what the run has learned."""
    from genre_tagger import console, workflow
    from genre_tagger.evaluation.families import read_families

    options = source_options(source, root, table, split, group, mirror, songs, data_seed)
    report = workflow.probe(
        run,
        options,
        read_families(families),
        data,
        workers=workers or cores(),
        say=partial(typer.echo, err=True) if as_json else console.say,
        progress=console.progress_bar,
    )
    _print_report(report, as_json)


def evaluate(
    run: Annotated[Path | None, typer.Argument(help="A run directory.")] = None,
    source: Annotated[
        str | None, typer.Argument(help="For an imported run, which has no data of its own: a source as in `train`.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this Parquet file (clip, group, split, label:TAG, score:TAG) instead.")
    ] = None,
    root: Root = None,
    table: Table = None,
    split: Annotated[
        str | None,
        typer.Option(help="Of a predictions file: train, valid or test (default). Of SOURCE: as in `train`."),
    ] = None,
    group: Group = None,
    data: Data = Path("data"),
    families: Families = None,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Exact ROC-AUC and PR-AUC per tag with bootstrap intervals, beside a logistic-regression floor."""
    if (run is None) == (predictions is None):
        raise UserError("evaluate: expected either a run directory or --predictions FILE")
    if run is not None and source is None and split is not None:
        raise UserError("--split: goes with --predictions; a run is always evaluated on its test clips")
    of_source = {"root": root, "table": table, "group": group}
    if source is None and (given := [name for name, value in of_source.items() if value is not None]):
        raise UserError(f"--{given[0]}: goes with a source behind the run, found none")
    from genre_tagger.evaluation.families import read_families

    family_of = read_families(families)
    if predictions is not None:
        from genre_tagger.evaluation.predictions import read_predictions
        from genre_tagger.evaluation.report import evaluate_predictions

        report = evaluate_predictions(read_predictions(predictions), split=split or "test", families=family_of)
    else:
        options = source and source_options(source, root, table, split, group, None, None, 0)
        from genre_tagger import console, workflow

        report = workflow.evaluate(run, family_of, workers or cores(), console.progress_bar, options, data)
    _print_report(report, as_json)


def _print_report(report: dict, as_json: bool) -> None:
    from genre_tagger import console

    console.say(json.dumps(report, indent=2)) if as_json else console.print_evaluation(report)
