"""From a collection to a tagger: prepare, train."""

import json
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
