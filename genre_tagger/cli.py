"""The command line: parses, calls one function, prints. Everything heavy is imported inside the commands."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from genre_tagger import __version__
from genre_tagger.errors import UserError

DEFAULT_TRIALS, DEMO_MINUTES = 20, 8.0  # of `tune`

app = typer.Typer(
    name="genre-tagger",
    help="Tag music: train a WaveNet beside a CNN from raw audio, evaluate it, tag files with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Source = Annotated[
    str,
    typer.Argument(
        help="demo (rendered on the spot), folder (audio files and a table of tags), magnatagatune or jamendo."
    ),
]
Root = Annotated[Path | None, typer.Option(help="The folder of audio files; magnatagatune is downloaded into it.")]
Table = Annotated[Path | None, typer.Option(help="Its CSV or TSV; tags.csv or tags.tsv in the folder by default.")]
Split = Annotated[
    str | None,
    typer.Option(
        help="folder: column, group or stratified. magnatagatune: standard, full, seed_random or artist. "
        "jamendo: files, group or stratified."
    ),
]
Group = Annotated[str | None, typer.Option(help="magnatagatune: bootstrap over song (default), album or artist.")]
Mirror = Annotated[str | None, typer.Option(help="magnatagatune: URL of the folder to download from.")]
Songs = Annotated[int | None, typer.Option(min=10, help="Songs that the demo renders (400 by default).")]
DataSeed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the demo's songs and of a folder's split.")]
Data = Annotated[Path, typer.Option(help="Folder for rendered and prepared audio.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that render and decode; all cores by default.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
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

    options = _source_options(source, root, table, split, group, mirror, songs, data_seed)
    manifest = workflow.prepare_source(
        options, data, sample_rate, workers or _cores(), console.progress_bar, console.say
    )
    console.print_manifest(manifest)


@app.command()
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
    preset: Annotated[
        str | None, typer.Option(help="A configuration that comes with the package; default small.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A configuration file instead of a preset.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE over the configuration, e.g. model.wavenet.blocks=4.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="The run directory; runs/SOURCE-PRESET by default.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Short for --set training.epochs=...")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Short for --set seed=...")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32, mixed_bfloat16 or mixed_float16; short for --set training.precision=..."),
    ] = None,
    jit: Annotated[bool | None, typer.Option(help="Compile by XLA; short for --set training.jit=...")] = None,
    stream: Annotated[bool, typer.Option(help="Train straight from the audio files; prepare nothing.")] = False,
    workers: Workers = None,
) -> None:
    """Train a tagger from raw audio and report its ROC-AUC. Killed, the same command goes on from the last epoch."""
    from genre_tagger import console
    from genre_tagger.config import load_config

    short = {"training.epochs": epochs, "seed": seed, "training.precision": precision, "training.jit": jit}
    overrides = [*(set_ or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    preset = preset or (None if config else "small")
    resolved = load_config(preset, config, overrides)
    options = _source_options(source, root, table, split, group, mirror, songs, data_seed)
    run = run or Path("runs") / f"{source}-{preset or config.stem}"
    from genre_tagger import workflow

    result = workflow.train(
        options,
        resolved,
        run,
        data,
        stream=stream,
        workers=workers or _cores(),
        say=console.say,
        progress=console.progress_bar,
    )
    console.print_training(result)


@app.command()
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
    preset: Annotated[str | None, typer.Option(help="What the search varies around; default small.")] = None,
    config: Annotated[Path | None, typer.Option(help="A configuration file instead of a preset.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE over the configuration.")] = None,
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
    stream: Annotated[bool, typer.Option(help="Train straight from the audio files; prepare nothing.")] = False,
    workers: Workers = None,
) -> None:
    """Search depth, widths and more by KerasTuner. Killed, the same command goes on; with more trials, too."""
    if worker is not None and chief is None:
        raise UserError("--worker: needs --chief HOST:PORT, the address of the search's chief")
    from genre_tagger import console
    from genre_tagger.config import load_config

    preset = preset or (None if config else "small")
    resolved = load_config(preset, config, set_ or [])
    options = _source_options(source, root, table, split, group, mirror, songs, data_seed)
    run = run or Path("runs") / f"tune-{source}-{preset or config.stem}"
    if source == "demo" and max_trials is None and minutes is None:
        minutes = DEMO_MINUTES
    if max_trials is None and algorithm in ("random", "bayesian"):
        max_trials = DEFAULT_TRIALS
    from genre_tagger.tuning import search
    from genre_tagger.tuning.cluster import Cluster
    from genre_tagger.tuning.space import load_space
    from genre_tagger.tuning.trial import Limits

    result = search.tune(
        search.TuningOptions(
            algorithm,
            objective,
            max_trials,
            minutes,
            Limits(max_parameters, max_flops),
            executions_per_trial,
            train_best,
        ),
        load_space(space or ("demo" if source == "demo" else "seed")),
        resolved,
        search.DataOptions(options, data, stream, workers or _cores()),
        run,
        say=console.say,
        progress=console.progress_bar,
        cluster=Cluster(chief, worker, give_up_seconds) if chief else None,
    )
    if result:
        console.print_tuning(result)


@app.command()
def evaluate(
    run: Annotated[Path | None, typer.Argument(help="A run directory.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this Parquet file (clip, group, split, label:TAG, score:TAG) instead.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of a predictions file: train, valid or test (default).")] = None,
    families: Annotated[Path | None, typer.Option(help="TSV of tag and family, instead of the package's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of tables.")] = False,
    workers: Workers = None,
) -> None:
    """Exact ROC-AUC and PR-AUC per tag with bootstrap intervals, beside a logistic-regression floor."""
    if (run is None) == (predictions is None):
        raise UserError("evaluate: expected either a run directory or --predictions FILE")
    if run is not None and split is not None:
        raise UserError("--split: goes with --predictions; a run is always evaluated on its test clips")
    from genre_tagger import console
    from genre_tagger.evaluation.families import read_families

    family_of = read_families(families)
    if predictions is not None:
        from genre_tagger.evaluation.predictions import read_predictions
        from genre_tagger.evaluation.report import evaluate_predictions

        report = evaluate_predictions(read_predictions(predictions), split=split or "test", families=family_of)
    else:
        from genre_tagger import workflow

        report = workflow.evaluate(run, family_of, workers or _cores(), console.progress_bar)
    console.say(json.dumps(report, indent=2)) if as_json else console.print_evaluation(report)


@app.command()
def tag(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[RUN] FILE...", help="A run directory, unless there is --server; audio files: MP3, FLAC, Ogg, WAV."
        ),
    ],
    server: Annotated[
        str | None, typer.Option(help="Ask a model server: HOST:PORT or unix:PATH for gRPC, http://HOST:PORT for REST.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name on the server; 'tagger' by default.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, max=86_400, help="Seconds that the server may take for a request (60).")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Tags to show; a server names 5 at most.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a file, one a line.")] = False,
) -> None:
    """Print the top tags of audio files. Files without usable audio are named at the end, and the exit code is 1."""
    run, files = (paths[0], paths[1:]) if server is None else (None, paths)
    if not files:
        raise UserError(
            f"tag: found {run} alone, expected a run directory and audio files, or --server and audio files"
        )
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"{missing[0]}: no such file, expected an audio file")
    if server is None and model:
        raise UserError("--model: goes with --server; a run has one model")
    if server is None and timeout:
        raise UserError("--timeout: goes with --server")
    from genre_tagger import console
    from genre_tagger.data.decode import Undecodable

    broken = []
    for file, outcome in _tagger(run, server, model, timeout, top).tag_files(files):
        if isinstance(outcome, Undecodable):
            broken.append(f"{file}: {outcome}")
        else:
            console.print_tags(file, outcome, top, as_json)
    for line in broken:
        typer.echo(line, err=True)
    raise typer.Exit(1 if broken else 0)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="For NAME/VERSION; what `serve DIR` serves.")],
    name: Annotated[str | None, typer.Option(help="Of the model; 'tagger' by default.")] = None,
    objective: Annotated[
        str, typer.Option(help="Of the thresholds: f1, youden, or precision:P (most recall at that precision).")
    ] = "f1",
    licence: Annotated[str | None, typer.Option(help="Of the training audio, for the model card.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="An older version, DIR/NAME/VERSION, to compare with before publishing.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of decisions that may flip (0.05): beyond, exit code 1.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="savedmodel or onnx.")] = "savedmodel",
    workers: Workers = None,
) -> None:
    """Write a run's best model as the next version of a SavedModel that takes raw audio, for TensorFlow Serving."""
    if format_ not in ("savedmodel", "onnx"):
        raise UserError(f"--format: found {format_!r}, expected savedmodel or onnx")
    if against and format_ == "onnx":
        raise UserError("--against: goes with --format savedmodel; an ONNX export prints its own difference")
    if limit is not None and not against:
        raise UserError("--limit: goes with --against")
    from genre_tagger import console, exporting
    from genre_tagger.export.contract import MODEL_NAME

    common = {"name": name or MODEL_NAME, "objective": objective, "licence": licence}
    common |= {"workers": workers or _cores(), "progress": console.progress_bar}
    try:
        if format_ == "onnx":
            exported = exporting.export_onnx(run, directory, **common)
        else:
            limit = 0.05 if limit is None else limit
            exported = exporting.export_savedmodel(run, directory, **common, against=against, limit=limit)
    except exporting.Drifted as drifted:
        console.print_comparison(drifted.comparison)
        console.say(f"nothing was exported: {drifted.comparison.flips:.1%} of decisions flip, over --limit {limit:g}")
        raise typer.Exit(1) from None
    console.print_export(exported, directory)


@app.command()
def serve(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Exported models: NAME/VERSION, by `export RUN DIR`.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port for gRPC.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port for REST and metrics.")] = 8501,
) -> None:
    """Serve exported models: start tensorflow_model_server, or print the Docker command where it is not installed."""
    from genre_tagger import console
    from genre_tagger.export import serving

    launch = serving.prepare_server(directory, serving.Listening.at(host, port, rest_port), _cores())
    console.print_launch(launch, directory)
    if launch.installed:
        serving.start_server(launch)


def main() -> None:
    """Entry point: mistakes of the user end in one line on standard error and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow else greets with a page of device notes
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        sys.exit(app(standalone_mode=False))
    except UserError as error:
        typer.echo(f"genre-tagger: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
    except typer.TyperException as error:
        if message := error.format_message():  # empty where the help was printed for want of a command
            typer.echo(f"genre-tagger: {message.rstrip('.')}. See --help.", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("genre-tagger: interrupted; the same command goes on from here", err=True)
        sys.exit(130)


def _source_options(
    source: str,
    root: Path | None,
    table: Path | None,
    split: str | None,
    group: str | None,
    mirror: str | None,
    songs: int | None,
    seed: int,
):
    from genre_tagger.data.sources import DEMO_SONGS, SOURCES, SourceOptions

    if source not in SOURCES:
        raise UserError(f"SOURCE: unknown source {source!r}; expected one of {', '.join(SOURCES)}")
    named = {"root": root, "table": table, "split": split, "group": group, "mirror": mirror}
    return SourceOptions(source=source, songs=songs or DEMO_SONGS, seed=seed, **named)


def _tagger(run: Path | None, server: str | None, model: str | None, timeout: float | None, top: int):
    from genre_tagger.export.contract import MODEL_NAME, TOP_TAGS

    if server is None:
        from genre_tagger.tagging import Tagger

        return Tagger.of_run(run)
    if top > TOP_TAGS:
        raise UserError(f"--top: found {top}, expected {TOP_TAGS} at most: a server names no more")
    from genre_tagger.export.client import Client

    return Client(server, model or MODEL_NAME, timeout_seconds=timeout or 60)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
