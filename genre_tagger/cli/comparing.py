"""Presets against each other: compare."""

from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.cli.options import (
    Data,
    DataSeed,
    Group,
    Mirror,
    Overrides,
    Root,
    Songs,
    Source,
    Split,
    Stream,
    Table,
    Workers,
    cores,
    source_options,
)
from genre_tagger.errors import UserError


def compare(
    presets: Annotated[
        str, typer.Option(help="Names of presets or YAML files, with commas; each is claimed better than those behind.")
    ],
    source: Source = "demo",
    root: Root = None,
    table: Table = None,
    split: Split = None,
    group: Group = None,
    mirror: Mirror = None,
    songs: Songs = None,
    data_seed: DataSeed = 0,
    data: Data = Path("data"),
    set_: Overrides = None,
    run: Annotated[
        Path | None, typer.Option(help="The comparison's directory; runs/compare-SOURCE by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each preset, of seeds 0, 1, ...")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="The budget of a run: epochs,")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="or minutes of training.")] = None,
    reach: Annotated[
        float | None, typer.Option(min=0, max=1, help="A validation ROC-AUC whose training time is reported.")
    ] = None,
    stream: Stream = False,
    workers: Workers = None,
) -> None:
    """Train presets on the same clips under one budget, several seeds each: one table with intervals and verdicts.

    Killed, the same command goes on; with more presets or seeds, too.
    """
    if (epochs is None) == (minutes is None):
        raise UserError(f"compare: expected --epochs or --minutes, found {'neither' if epochs is None else 'both'}")
    names = [name.strip() for name in presets.split(",") if name.strip()]
    options = source_options(source, root, table, split, group, mirror, songs, data_seed)
    from genre_tagger import comparing, console
    from genre_tagger.tuning.search import DataOptions

    compared = comparing.compare(
        comparing.ComparisonOptions(names, seeds, epochs, minutes, set_ or (), reach),
        DataOptions(options, data, stream, workers or cores()),
        run or Path("runs") / f"compare-{source}",
        say=console.say,
        progress=console.progress_bar,
    )
    console.print_compared(compared)
