"""A run on one HTML page that can be sent around: the steps of `genre-tagger report`."""

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from genre_tagger.backend import check_backend
from genre_tagger.config import Config
from genre_tagger.data.clips import read_tags
from genre_tagger.errors import UserError
from genre_tagger.files import replacing, storage_errors
from genre_tagger.reporting.about import data_section, model_section, training_section
from genre_tagger.reporting.calibration import calibration_error, calibration_section, reliability
from genre_tagger.reporting.errors import errors_section
from genre_tagger.reporting.evaluated import AREAS, Evaluated
from genre_tagger.reporting.render import render
from genre_tagger.reporting.robustness import robustness_section
from genre_tagger.reporting.tags import tags_section
from genre_tagger.reporting.view import Headline, Page, Section, interval_text, number
from genre_tagger.run import RunDirectory, open_run, read_data

ENDINGS = (".html", ".htm")
UNKNOWN_UNTIL_EVALUATED = {
    "tags": "Tags",
    "calibration": "Calibration",
    "errors": "Largest errors",
    "robustness": "Robustness",
}


def write_page(run_path: Path, output: Path | None = None) -> Path:
    """Writes the page of a run and returns where it lies.

    It has data, model, training, tags, calibration, the largest errors with players, and robustness; what the run does
    not have, or has no more, is said in its place. Nothing on it comes from outside.

    Args:
        run_path: a trained and evaluated run, or an imported one.
        output: an HTML file, `report.html` in the run by default.

    Raises:
        UserError: no such run, not evaluated since its training, or the file is no HTML file or cannot be written.
    """
    check_backend()
    run, config = open_run(run_path)
    output = output or run.page
    _check_output(output)
    html = render(gather(run, config))
    with storage_errors(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as beside:
            beside.write_bytes(html.encode("utf-8", "replace"))  # a file name may be no text
    return output


def gather(run: RunDirectory, config: Config) -> Page:
    """Everything that stands on the page of a run; raises UserError as `write_page`."""
    record = read_data(run)
    about = [data_section(record), model_section(run, config, record), training_section(run, config, record)]
    title, subtitle = run.path.resolve().name, _subtitle(run, record)
    if record["source"] is None:
        return Page(title, subtitle, [], [*about, *_not_evaluated(run)])
    evaluated = Evaluated.open(run, config.seed)
    scores = [
        tags_section(run, evaluated),
        calibration_section(evaluated),
        errors_section(evaluated, config, record),
        robustness_section(run),
    ]
    return Page(title, subtitle, _headlines(evaluated), [*about, *scores])


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in ENDINGS or output.is_dir():
        found = "a directory" if output.is_dir() else f"{output.name!r}"
        raise UserError(f"--output {output}: found {found}, expected a file name that ends in .html")


def _subtitle(run: RunDirectory, record: Mapping[str, Any]) -> str:
    """How many tags, of what origin, under which protocol, of which day."""
    day = datetime.fromtimestamp(run.model.stat().st_mtime, timezone.utc)
    source = "imported weights" if "origin" in record else f"trained on {record['source']['source']}"
    protocol = f", protocol {record['protocol']}" if record.get("protocol") else ""
    return f"{len(read_tags(run.tags))} tags, {source}{protocol}, {day:%Y-%m-%d}"


def _headlines(evaluated: Evaluated) -> list[Headline]:
    """Macro areas beside the floor's, the calibration error, and on how many clips."""
    metrics, predictions = evaluated.metrics, evaluated.predictions
    error = calibration_error(reliability(predictions.labels, predictions.scores))
    return [
        *(_area_headline(evaluated, area) for area in AREAS),
        Headline("calibration error", number(error).text, note="0 is perfect"),
        Headline(f"{metrics['split']} clips", f"{metrics['clips']:,}", note=f"of {metrics['groups']:,} groups"),
    ]


def _area_headline(evaluated: Evaluated, area: str) -> Headline:
    value, floor = evaluated.metrics[area], evaluated.metrics["floor"]
    note = f"floor {number(floor[area]['value'], digits=4).text}" if floor else ""
    interval = interval_text(value["low"], value["high"])
    return Headline(f"macro {AREAS[area]}", number(value["value"], digits=4).text, interval, note)


def _not_evaluated(run: RunDirectory) -> list[Section]:
    line = f"Not evaluated; `genre-tagger evaluate {run.path} SOURCE` does it on labelled music."
    return [Section(anchor, title, [line]) for anchor, title in UNKNOWN_UNTIL_EVALUATED.items()]
