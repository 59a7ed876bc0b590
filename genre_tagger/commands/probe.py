"""The command `probe`."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.commands.console import notes_on_stderr, say
from genre_tagger.commands.metrics_tables import print_metrics
from genre_tagger.commands.options import AsJson, Families, read_families_option, takes_data

if TYPE_CHECKING:
    from genre_tagger.dataset.request import DataRequest


@takes_data()
def probe(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, trained on any tags.")],
    request: "DataRequest",
    families: Families = None,
    as_json: AsJson = False,
) -> None:
    """Fit one logistic regression per tag on a run's embeddings of a collection; report their ROC-AUC and PR-AUC."""
    family_of = read_families_option(families)
    from genre_tagger.evaluation.probe import ProbeRequest
    from genre_tagger.evaluation.probe import probe as run_probe

    with notes_on_stderr() if as_json else nullcontext():
        metrics = run_probe(ProbeRequest(run, request, family_of))
    say(json.dumps(metrics, indent=2)) if as_json else print_metrics(metrics)
