"""Evaluate a run again, on its own data or, if it was imported, on a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genre_tagger.audio.processes import available_cores
from genre_tagger.backend import check_backend
from genre_tagger.dataset.request import DataRequest
from genre_tagger.dataset.stream import decoding_errors
from genre_tagger.errors import UserError
from genre_tagger.evaluation.evaluate_run import evaluate_run
from genre_tagger.evaluation.robustness.measure import measure_robustness
from genre_tagger.files import storage_errors
from genre_tagger.runs.directory import open_run
from genre_tagger.runs.run_data import attach_data, data_of_run, open_data


@dataclass(frozen=True)
class EvaluateRequest:
    """One evaluation of a run.

    Attributes:
        run: the run directory.
        source: data for an imported run, which has no data of its own until its first evaluation.
        families: family of each tag; by default those of `families.tsv`.
        robustness: whether to score the test clips under perturbations too.
        workers: number of processes that prepare data, if that is necessary.
    """

    run: Path
    source: DataRequest | None = None
    families: Mapping[str, str] | None = None
    robustness: bool = False
    workers: int = field(default_factory=available_cores)


def evaluate(request: EvaluateRequest) -> dict[str, Any]:
    """Evaluate a run and write its `metrics.json`, predictions, plots and tables.

    Args:
        request: the run, and what to evaluate it on.

    Returns:
        The content of `metrics.json`. If `request.robustness` is set, the key `robustness` is added: one dict for the
        clean clips, then one per condition.

    Raises:
        UserError: the run does not exist, it has no data or other data than the source, its data is missing or has
            changed, or a source is given for a run that was not imported.
    """
    check_backend()
    run, config = open_run(request.run)
    if request.source is not None:
        if not run.read_record().is_imported:
            raise UserError(
                f"{run.path}: found a SOURCE, but a trained run is evaluated on the data that it was trained on; "
                "expected no SOURCE"
            )
        attach_data(run, open_data(request.source, config))
    dataset = data_of_run(run, config, request.workers)
    with storage_errors(run.path), decoding_errors(run.read_record().stream):
        metrics, predictions = evaluate_run(run, config, dataset, request.families)
        if not request.robustness:
            return metrics
        table = measure_robustness(run, config, dataset, predictions.of_split("test"))
        return metrics | {"robustness": table.astype(object).where(table.notna(), None).to_dict("records")}
