"""The HTML report: the results of a run in one self-contained file."""

from datetime import datetime, timezone
from pathlib import Path

from genre_tagger.backend import check_backend
from genre_tagger.config import Config
from genre_tagger.errors import FieldError
from genre_tagger.files import replacing, storage_errors
from genre_tagger.reporting.calibration_section import calibration_error, calibration_section, reliability
from genre_tagger.reporting.content import Headline, ReportPage, ReportSection, interval_text, number
from genre_tagger.reporting.errors_section import errors_section
from genre_tagger.reporting.evaluated_run import AREAS, Evaluated
from genre_tagger.reporting.render import render
from genre_tagger.reporting.robustness_section import robustness_section
from genre_tagger.reporting.run_sections import data_section, model_section, training_section
from genre_tagger.reporting.tags_section import tags_section
from genre_tagger.runs.directory import RunDirectory, open_run
from genre_tagger.runs.record import RunRecord
from genre_tagger.sources.clips import read_tags

ENDINGS = (".html", ".htm")
UNKNOWN_UNTIL_EVALUATED = {
    "tags": "Tags",
    "calibration": "Calibration",
    "errors": "Largest errors",
    "robustness": "Robustness",
}


def write_html_report(run_path: Path, output: Path | None = None) -> Path:
    """Write the HTML report of a run.

    The report covers data, model, training, tags, calibration, the largest errors with audio players, and robustness.
    Anything that does not exist, or no longer exists, is replaced by a note. The file loads no external resources.

    Args:
        run_path: trained and evaluated run, or imported run.
        output: HTML file to write; by default `report.html` in the run directory.

    Returns:
        The path of the HTML report.

    Raises:
        FieldError: the output is a directory, or its name does not end in `.html` or `.htm`.
        UserError: the run does not exist or was not evaluated after its last training, or the file cannot be written.
    """
    check_backend()
    run, config = open_run(run_path)
    output = output or run.html_report
    _check_output(output)
    html = render(gather(run, config))
    with storage_errors(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(output) as unfinished:
            unfinished.write_bytes(html.encode("utf-8", "replace"))  # file names may contain invalid characters
    return output


def gather(run: RunDirectory, config: Config) -> ReportPage:
    """Return the content of the HTML report of a run.

    Args:
        run: trained and evaluated run, or imported run.
        config: configuration of the run.

    Returns:
        The content. An imported run without data has notes in place of its results.

    Raises:
        UserError: the run was not evaluated after its last training, or a file in it cannot be read.
    """
    record = run.read_record()
    about = [data_section(record), model_section(run, config, record), training_section(run, config, record)]
    title, subtitle = run.path.resolve().name, _subtitle(run, record)
    if not record.has_data:
        return ReportPage(title, subtitle, [], [*about, *_not_evaluated(run)])
    evaluated = Evaluated.open(run, config.seed)
    scores = [
        tags_section(run, evaluated),
        calibration_section(evaluated),
        errors_section(evaluated, config, record),
        robustness_section(run),
    ]
    return ReportPage(title, subtitle, _headlines(evaluated), [*about, *scores])


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in ENDINGS or output.is_dir():
        kind = "the directory " if output.is_dir() else ""
        raise FieldError("output", f"found {kind}{output}, expected a file name that ends in .html")


def _subtitle(run: RunDirectory, record: RunRecord) -> str:
    """Return the number of tags, and the origin, protocol and date of the model."""
    day = datetime.fromtimestamp(run.model.stat().st_mtime, timezone.utc)
    source = "imported weights" if record.source is None or record.is_imported else f"trained on {record.source.source}"
    protocol = f", protocol {record.protocol}" if record.protocol else ""
    return f"{len(read_tags(run.tags))} tags, {source}{protocol}, {day:%Y-%m-%d}"


def _headlines(evaluated: Evaluated) -> list[Headline]:
    """Return the macro averages with those of the baseline, the calibration error, and the number of clips."""
    metrics, predictions = evaluated.metrics, evaluated.predictions
    error = calibration_error(reliability(predictions.labels, predictions.scores))
    return [
        *(_area_headline(evaluated, area) for area in AREAS),
        Headline("calibration error", number(error).text, note="0 is perfect"),
        Headline(f"{metrics['split']} clips", f"{metrics['clips']:,}", note=f"of {metrics['groups']:,} groups"),
    ]


def _area_headline(evaluated: Evaluated, area: str) -> Headline:
    value, baseline = evaluated.metrics[area], evaluated.metrics["baseline"]
    note = f"baseline {number(baseline[area]['value'], digits=4).text}" if baseline else ""
    interval = interval_text(value["low"], value["high"])
    return Headline(f"macro {AREAS[area]}", number(value["value"], digits=4).text, interval, note)


def _not_evaluated(run: RunDirectory) -> list[ReportSection]:
    line = f"Not evaluated. Run `genre-tagger evaluate {run.path} SOURCE` to evaluate the model on labelled music."
    return [ReportSection(anchor, title, [line]) for anchor, title in UNKNOWN_UNTIL_EVALUATED.items()]
