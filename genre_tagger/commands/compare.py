"""The command `compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from genre_tagger.commands.console import say, show, titled_table
from genre_tagger.commands.options import Overrides, takes_data
from genre_tagger.errors import FieldError, UserError

if TYPE_CHECKING:
    from genre_tagger.comparison.compare import Compared
    from genre_tagger.dataset.request import DataRequest

COLUMNS = ("roc_auc", "pr_auc", "parameters", "seconds", "reach_seconds", "published_roc_auc_percent")


@takes_data(stream=True)
def compare(
    presets: Annotated[
        str,
        typer.Option(
            help="Names of presets or YAML files, separated by commas. The claim: each is better than those after it."
        ),
    ],
    request: "DataRequest",
    set_: Overrides = None,
    run: Annotated[
        Path | None, typer.Option(help="Directory of the comparison; runs/compare-SOURCE by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each preset, with seeds 0, 1, ...")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Budget of each run, in epochs; or give --minutes.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Budget of each run, in minutes of training.")] = None,
    reach: Annotated[
        float | None, typer.Option(min=0, max=1, help="Report the time to reach this validation ROC-AUC.")
    ] = None,
) -> None:
    """Train presets on the same clips with the same budget, over several seeds, and print one table with verdicts.

    If interrupted, rerun the command to resume, optionally with more presets or seeds.
    """
    if (epochs is None) == (minutes is None):
        raise UserError(f"compare: expected --epochs or --minutes, found {'neither' if epochs is None else 'both'}")
    from genre_tagger.comparison.compare import CompareRequest
    from genre_tagger.comparison.compare import compare as run_comparison

    names = [name.strip() for name in presets.split(",") if name.strip()]
    if not names:
        raise FieldError("presets", f"found {presets!r}, expected the names of presets or YAML files")
    path = run or Path("runs") / f"compare-{request.source.source}"
    print_comparison(
        run_comparison(CompareRequest(names, request, path, seeds, epochs, minutes, tuple(set_ or ()), reach))
    )


def print_comparison(compared: "Compared") -> None:
    """Print the main figures of each preset, the verdict on every pair, the failed runs, and the paths of the files."""
    from genre_tagger.comparison.table import RESULT_COLUMNS, shown_rows

    columns = {name: RESULT_COLUMNS[name] for name in ("preset", "runs", *COLUMNS)}
    headings, rows = shown_rows(compared.table, columns)
    table = titled_table(f"averages over seeds, {compared.headline}", headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*map(escape, row))
    show(table)
    for pair in compared.pairs[compared.pairs["area"] == "roc_auc"].to_dict("records"):
        say(
            f"{pair['preset']} above {pair['against']}: {pair['verdict']} (ROC-AUC {pair['difference']:+.4f} "
            f"[{pair['low']:+.4f}, {pair['high']:+.4f}])"
        )
    for run, reason in compared.reasons.items():
        say(f"{run} failed: {reason}")
    directory = compared.directory
    say(f"all figures: {directory.markdown}, {directory.table}, {directory.pairs}  (plots in {directory.report})")
