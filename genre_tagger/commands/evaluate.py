"""The command `evaluate`."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genre_tagger.commands.console import notes_on_stderr, say
from genre_tagger.commands.metrics_tables import print_metrics
from genre_tagger.commands.options import AsJson, Families, Workers, read_families_option, takes_data
from genre_tagger.errors import FieldError, UserError

if TYPE_CHECKING:
    from genre_tagger.dataset.request import DataRequest


@takes_data(optional=True)
def evaluate(
    run: Annotated[Path | None, typer.Argument(metavar="RUN", help="A run directory.")] = None,
    request: "DataRequest | None" = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Evaluate a Parquet file (clip, group, split, label:TAG, score:TAG) instead.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="With --predictions: train, valid or test (default). With SOURCE: as in `train`."),
    ] = None,
    families: Families = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Also score the test clips with MP3 encoding, noise, gain, pitch shifts and other changes.",
        ),
    ] = False,
    as_json: AsJson = False,
    workers: Workers = None,
) -> None:
    """Compute exact ROC-AUC and PR-AUC per tag with bootstrap intervals, next to a logistic-regression baseline.

    A trained run is evaluated on its own data. An imported run has no data at first, and is evaluated on SOURCE.
    """
    if (run is None) == (predictions is None):
        raise UserError("evaluate: expected either a run directory or --predictions FILE")
    if run is not None and request is None and split is not None:
        raise FieldError("split", "needs --predictions; a run is always evaluated on its test clips")
    if run is None and robustness:
        raise FieldError("robustness", "needs a run; a predictions file has no audio to perturb")
    family_of = read_families_option(families)
    with notes_on_stderr() if as_json else nullcontext():
        if run is not None:
            metrics = _evaluate_run(run, request, family_of, robustness, workers)
        elif predictions is not None:
            metrics = _evaluate_file(predictions, split or "test", family_of)
    say(json.dumps(metrics, indent=2)) if as_json else print_metrics(metrics)


def _evaluate_run(
    run: Path, request: "DataRequest | None", families: dict[str, str], robustness: bool, workers: int | None
) -> dict[str, Any]:
    from genre_tagger.audio.processes import available_cores
    from genre_tagger.evaluation.evaluate import EvaluateRequest, evaluate

    return evaluate(EvaluateRequest(run, request, families, robustness, workers or available_cores()))


def _evaluate_file(path: Path, split: str, families: dict[str, str]) -> dict[str, Any]:
    from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions
    from genre_tagger.evaluation.predictions import read_predictions

    return evaluate_predictions(read_predictions(path), split=split, families=families)
