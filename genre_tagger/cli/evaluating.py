"""What a model is worth: evaluate, probe."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from genre_tagger.cli.options import (
    Data,
    DataSeed,
    Group,
    Mirror,
    Root,
    Songs,
    Source,
    Split,
    Table,
    Workers,
    cores,
    source_options,
)
from genre_tagger.errors import UserError

Families = Annotated[Path | None, typer.Option(help="TSV of tag and family, instead of the package's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the content of metrics.json instead of tables.")]


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
    mirror: Mirror = None,
    songs: Songs = None,
    data_seed: DataSeed = 0,
    data: Data = Path("data"),
    families: Families = None,
    robustness: Annotated[
        bool,
        typer.Option("--robustness", help="The test clips again through MP3, noise, gain, pitch, stretch and cuts."),
    ] = False,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Exact ROC-AUC and PR-AUC per tag with bootstrap intervals, beside a logistic-regression floor."""
    if (run is None) == (predictions is None):
        raise UserError("evaluate: expected either a run directory or --predictions FILE")
    of_source = {"root": root, "table": table, "group": group, "mirror": mirror, "songs": songs}
    _refuse_misplaced(run, source, split, of_source | {"data-seed": data_seed or None}, robustness)
    from genre_tagger.evaluation.families import read_families

    family_of = read_families(families)
    if predictions is not None:
        report = _evaluate_file(predictions, split or "test", family_of)
    else:
        from genre_tagger import console, workflow

        report = workflow.evaluate(
            run,
            family_of,
            source and source_options(source, root, table, split, group, mirror, songs, data_seed),
            data,
            robustness=robustness,
            workers=workers or cores(),
            say=_say(as_json),
            progress=console.progress_bar,
        )
    _print_report(report, as_json)


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
        say=_say(as_json),
        progress=console.progress_bar,
    )
    _print_report(report, as_json)


def _refuse_misplaced(
    run: Path | None, source: str | None, split: str | None, of_source: dict[str, object], robustness: bool
) -> None:
    if run is not None and source is None and split is not None:
        raise UserError("--split: goes with --predictions; a run is always evaluated on its test clips")
    if source is None and (given := [name for name, value in of_source.items() if value is not None]):
        raise UserError(f"--{given[0]}: goes with a source behind the run, found none")
    if run is None and robustness:
        raise UserError("--robustness: goes with a run; a predictions file has no audio to perturb")


def _evaluate_file(path: Path, split: str, families: dict[str, str]) -> dict:
    from genre_tagger.evaluation.predictions import read_predictions
    from genre_tagger.evaluation.report import evaluate_predictions

    return evaluate_predictions(read_predictions(path), split=split, families=families)


def _say(as_json: bool) -> Callable[[str], None]:
    """Prints a line; beside JSON, on standard error."""
    from genre_tagger import console

    return partial(typer.echo, err=True) if as_json else console.say


def _print_report(report: dict, as_json: bool) -> None:
    from genre_tagger import console

    console.say(json.dumps(report, indent=2)) if as_json else console.print_evaluation(report)
