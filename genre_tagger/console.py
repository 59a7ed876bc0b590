"""Everything that the command line prints: progress bars, tables, what to run next."""

import json
import math
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from genre_tagger.errors import UserError
from genre_tagger.evaluation.words import area_text, number_text

if TYPE_CHECKING:
    from genre_tagger.comparing import Compared
    from genre_tagger.data.manifest import Manifest
    from genre_tagger.evaluation.predictions import Predictions
    from genre_tagger.export.against import Comparison
    from genre_tagger.export.serving import Launch
    from genre_tagger.export.thresholds import Thresholds
    from genre_tagger.exporting import Exported
    from genre_tagger.page.server import PageServer
    from genre_tagger.run import RunDirectory
    from genre_tagger.tagging.results import Choice, Song
    from genre_tagger.tuning.search import TuningResult
    from genre_tagger.workflow import TrainingResult

SHOWN_TAGS = 5
EXAMPLES = 3
BEST_TRIALS = 5
WORST_CONDITIONS = 3
COMPARED_COLUMNS = ("roc_auc", "pr_auc", "parameters", "seconds", "reach_seconds", "published_roc_auc_percent")
TRIAL_COLUMNS = {"val_auc": ".4f", "val_pr_auc": ".4f", "parameters": ",.0f", "inference_ms": ".2f", "seconds": ".0f"}

_output = Console(highlight=False, soft_wrap=True, emoji=False)
_errors = Console(stderr=True)


def say(line: str) -> None:
    """Prints a line at once; raises UserError where standard output does not take it."""
    _print(line, markup=False)


@contextmanager
def progress_bar(title: str, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yields a function to call with how many are done, and of how many; the bar appears with the first call.

    In bytes it shows their rate too. It goes to standard error; where that is no terminal, its end alone is printed.
    """
    counts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, TimeElapsedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=_errors)

    def update(done: int, total: int) -> None:
        if not bar.task_ids:
            bar.add_task(title)
            bar.start()
        bar.update(bar.task_ids[0], completed=done, total=total)

    try:
        yield update
    finally:
        if bar.task_ids:
            bar.stop()


def print_manifest(manifest: "Manifest") -> None:
    """What was prepared and where, what was rejected and what no metric will count."""
    tags = f"{len(manifest.tags)} tags{_protocol(manifest.protocol)}"
    table = _table(f"prepared {manifest.source} at {manifest.sample_rate} Hz, {tags}", "split")
    for name in ("clips", "groups", "hours"):
        table.add_column(name, justify="right")
    for split, summary in manifest.splits.items():
        table.add_row(split, str(summary.clips), str(summary.groups), f"{summary.seconds / 3600:.2f}")
    _print(table)
    if manifest.rejected:
        say(f"{manifest.rejected} clips rejected, each with its reason in {manifest.directory / 'rejected.csv'}")
    for split in manifest.splits:
        if one_sided := manifest.one_sided_tags(split):
            say(f"without positives or without negatives in {split}: {', '.join(one_sided)}")
    for note in manifest.notes:
        say(note)
    say(f"data in {manifest.directory}  (at a glance: dataset.png, dataset.json)")


def print_training(result: "TrainingResult") -> None:
    """Epochs, test figures, best and worst tags, examples, what to run next."""
    _print(_epoch_table(result.history, result.report.get("protocol")))
    print_report(result.report)
    _print(_example_table(result.predictions))
    run = result.run.path
    say(f"run directory: {run}  (plots and tables in {result.run.report})")
    say("next:")
    say(f"  genre-tagger tag {run} FILE...            tags of any audio file")
    say(f"  genre-tagger evaluate {run}               every tag, families, intervals")
    say(f"  tensorboard --logdir {result.run.tensorboard}")
    say("  genre-tagger train folder --root MUSIC   your own music, with MUSIC/tags.csv")


def print_import(run: "RunDirectory") -> None:
    """Where the run lies, what to run next."""
    path = shlex.quote(str(run.path))
    say(f"run directory: {run.path}  (where its weights come from, and their licence: {run.data.name})")
    say("next:")
    say(f"  genre-tagger tag {path} FILE...            tags of any audio file")
    say(f"  genre-tagger export {path} DIR             a SavedModel that takes raw audio")
    say(f"  genre-tagger evaluate {path} SOURCE        on labelled music: folder --root MUSIC, say")


def print_tuning(result: "TuningResult") -> None:
    """The best trials, what the winner is made of, what to run next."""
    table = result.table
    done = table[table["status"] == "completed"]
    if result.training:
        print_training(result.training)
    best = done[done["in_space"]].sort_values(result.objective, ascending=False, kind="stable").head(BEST_TRIALS)
    protocol = _protocol(table["protocol"].iloc[0] if "protocol" in table else None)
    shown = _table(f"{len(done)} trials completed, {len(table) - len(done)} failed; the best{protocol}", "trial")
    for name in TRIAL_COLUMNS:
        shown.add_column(name.replace("_", " "), justify="right")
    for row in best.to_dict("records"):
        shown.add_row(row["trial"], *(f"{row[name]:{form}}" for name, form in TRIAL_COLUMNS.items()))
    _print(shown)
    say(f"winner: trial {result.best.trial}, {result.objective} {result.best.scores[result.objective]:.4f}")
    for name, value in result.best.values.items():
        say(f"  {name}: {value}")
    say(f"all trials: {result.directory.table}  (plots in {result.directory.report})")
    say("next:")
    say(f"  genre-tagger train --config {result.directory.best}")
    say(f"  tensorboard --logdir {result.directory.trials}")


def print_compared(compared: "Compared") -> None:
    """The main figures of each preset, the verdict on every pair, what failed, where the rest lies."""
    from genre_tagger.evaluation.comparison import RESULT_COLUMNS, shown_rows

    columns = {name: RESULT_COLUMNS[name] for name in ("preset", "runs", *COMPARED_COLUMNS)}
    headings, rows = shown_rows(compared.table, columns)
    table = _table(f"averages over seeds, {compared.headline}", headings[0])
    for heading in headings[1:]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*map(escape, row))
    _output.print(table)
    for pair in compared.pairs[compared.pairs["area"] == "roc_auc"].to_dict("records"):
        say(
            f"{pair['preset']} above {pair['against']}: {pair['verdict']} (ROC-AUC {pair['difference']:+.4f} "
            f"[{pair['low']:+.4f}, {pair['high']:+.4f}])"
        )
    for run, reason in compared.reasons.items():
        say(f"{run} failed: {reason}")
    directory = compared.directory
    say(f"all figures: {directory.markdown}, {directory.table}, {directory.pairs}  (plots in {directory.report})")


def print_evaluation(report: dict[str, Any]) -> None:
    """Every tag, then the report."""
    table = _table(f"tags{_protocol(report.get('protocol'))}", "tag")
    for name in ("ROC-AUC", "PR-AUC", "positives", "negatives"):
        table.add_column(name, justify="right")
    for tag, scores in report["tags"].items():
        counts = str(scores["positives"]), str(scores["negatives"])
        table.add_row(escape(tag), number_text(scores["roc_auc"]), number_text(scores["pr_auc"]), *counts)
    _print(table)
    print_report(report)
    if "robustness" in report:
        print_robustness(report["robustness"])


def print_report(report: dict[str, Any]) -> None:
    """The macro figures with the floor, the families, the best and the worst tags."""
    _print(_figure_table(report))
    tags = {name: scores for name, scores in report["tags"].items() if scores["roc_auc"] is not None}
    ranked = sorted(tags, key=lambda name: -tags[name]["roc_auc"])
    shown = min(SHOWN_TAGS, (len(ranked) + 1) // 2)
    for title, names in (("best tags: ", ranked[:shown]), ("worst tags:", ranked[max(shown, len(ranked) - shown) :])):
        if names:
            say(f"{title} {_listed(names, tags)}")
    if report["left_out"]:
        say(f"left out, without positives or without negatives: {', '.join(report['left_out'])}")


def print_robustness(rows: list[dict[str, Any]]) -> None:
    """What each condition costs, and the tags that lose most under the worst."""
    clean, *perturbed = rows
    table = _table("perturbed test clips, differences from clean with paired 95 % intervals", "condition")
    for area, name in (("roc_auc", "ROC-AUC"), ("pr_auc", "PR-AUC")):
        table.add_column(f"{name}, clean {number_text(clean[area])}", justify="right")
    for row in perturbed:
        table.add_row(row["condition"], _difference(row, "roc_auc"), _difference(row, "pr_auc"))
    _print(table)
    losing = [row for row in perturbed if row["worst_tags"]]
    for row in sorted(losing, key=lambda row: row["roc_auc_difference"])[:WORST_CONDITIONS]:
        say(f"{row['condition']}, worst tags: {row['worst_tags']}")


def print_songs(
    songs: "Iterable[Song]", count: int, choice: "Choice", as_json: bool, tables: Sequence[Path]
) -> list[str]:
    """The chosen tags of each song as it comes, unless there are tables for them; then the broken files, on stderr.

    Args:
        songs: as they are tagged.
        count: how many there will be.
        choice: of their tags.
        as_json: a line of JSON each, of the broken too, with tables too.
        tables: where all scores are written; how many songs became what is then printed at the end.

    Returns:
        The lines on broken files.
    """
    counts, broken = Counter(), []
    with without_library_notes():
        for song in _with_files_bar(songs, count):
            counts[song.outcome] += 1
            if song.reason:
                broken.append(f"{_one_line(song.path)}: {song.reason}")
            if as_json:
                say(json.dumps(_facts(song) | {"tags": choice.of(song.scores)}))
            elif not tables and not song.reason:
                _print_song(song, choice.of(song.scores))
    if tables and not as_json:
        ordered = sorted(counts.items(), key=lambda count: (-count[1], count[0]))  # whichever song came first
        parts = ", ".join(f"{number} {outcome}" for outcome, number in ordered)
        say(f"{parts}: {', '.join(map(str, tables))}")
    for line in broken:
        _errors.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
    return broken


def print_launch(launch: "Launch", directory: Path) -> None:
    """What was written, how the server is started and asked; all of it at once, before a server takes over."""
    say(f"written into {directory}: {', '.join(launch.files)}")
    say("starting:" if launch.installed else "tensorflow_model_server is not installed here; with Docker, run")
    say(f"  {shlex.join(launch.command)}")
    if not launch.installed:
        say(f"or: docker compose -f {shlex.quote(str(directory / 'compose.yaml'))} up")
    say(launch.note)
    say("then, for each of its models:")
    for model in launch.models:
        for server in launch.servers:
            say(f"  genre-tagger tag --server {shlex.quote(server)} --model {shlex.quote(model)} FILE...")


def print_page(page: "PageServer", model: Path, only_here: bool) -> None:
    """Where the page is, and for whom."""
    say(f"{model} ({_tags(len(page.tags))}) at {page.address}  (Ctrl-C ends it)")
    if not only_here:
        say("open to every machine that reaches this one")


def print_export(exported: "Exported", directory: Path) -> None:
    """Where the version lies, what was measured, which tags share a threshold, what to run next."""
    thresholds = exported.thresholds
    if exported.comparison:
        print_comparison(exported.comparison)
    say(f"{_how_chosen(thresholds)}; all tags: {thresholds.all_tags:.3f}")
    if thresholds.are_chosen and thresholds.from_all_tags:
        say(
            f"with fewer than {thresholds.min_positives} positives or negatives, so with the threshold of all tags: "
            f"{', '.join(thresholds.from_all_tags)}"
        )
    if exported.onnx_difference is not None:
        say(f"largest difference of a probability, ONNX Runtime to TensorFlow: {exported.onnx_difference:.1e}")
        say(f"exported {exported.path}  (model.onnx, tags, thresholds, difference.json, model_card.md)")
        return
    say(f"exported {exported.path}  (signatures, tags, thresholds, warm-up requests, model_card.md)")
    say(f"next: genre-tagger serve {shlex.quote(str(directory))}")


def _how_chosen(thresholds: "Thresholds") -> str:
    if thresholds.are_chosen:
        return f"thresholds for {thresholds.objective} on the {thresholds.split} clips"
    return "thresholds chosen on nothing, as the run has not been evaluated (`genre-tagger evaluate RUN SOURCE`)"


def print_comparison(comparison: "Comparison") -> None:
    """Drift of each tag, the most flipped first."""
    table = _table(f"against {comparison.old}, on {comparison.windows} windows of test clips", "tag")
    for name in ("mean drift", "largest", "rank correlation", "decisions that flip"):
        table.add_column(name, justify="right")
    for tag, drift in sorted(comparison.tags.items(), key=lambda entry: -entry[1].flips):
        correlation = "undefined" if math.isnan(drift.rank_correlation) else f"{drift.rank_correlation:.4f}"
        table.add_row(escape(tag), f"{drift.mean:.4f}", f"{drift.largest:.4f}", correlation, f"{drift.flips:.1%}")
    _print(table)
    for what, tags in (("new", comparison.added), ("gone", comparison.removed)):
        if tags:
            say(f"{what} tags, not compared: {', '.join(tags)}")
    say(f"decisions that flip: {comparison.flips:.1%}")


def _with_files_bar(songs: "Iterable[Song]", count: int) -> "Iterator[Song]":
    """Yields the songs; a bar on standard error shows how many there were and their rate, where that is a terminal.

    It is away whenever the caller has a song, so that what is printed then stays whole.
    """
    if not _errors.is_terminal:
        yield from songs
        return
    rate = TextColumn("{task.fields[rate]:.1f} files/s")
    columns = (TextColumn("tagging"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    bar = Progress(*columns, console=_errors, transient=True)
    task, begun = bar.add_task("", total=count, rate=0.0), time.monotonic()
    with bar:
        for done, song in enumerate(songs, start=1):  # to their very end, where tables are saved
            bar.stop()
            bar.update(task, completed=done, rate=done / (time.monotonic() - begun))
            yield song
            bar.start()


@contextmanager
def without_library_notes() -> Iterator[None]:
    """Keeps off standard error what C libraries print there, not what Python does.

    libmpg123 comments on harmless oddities of MP3 files, through bars and tables.
    """
    stderr, kept = sys.stderr, os.dup(2)
    if stderr is sys.__stderr__:
        sys.stderr = open(os.dup(2), "w", 1, stderr.encoding, stderr.errors)  # noqa: PTH123, SIM115
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        if sys.stderr is not stderr:
            sys.stderr.close()
            sys.stderr = stderr


def _print_song(song: "Song", chosen: Mapping[str, float]) -> None:
    """The chosen tags of a file as a table, or why it has none."""
    name = _one_line(song.path)
    if not chosen:
        say(f"{name}: {song.flag or 'no tag reaches the threshold'}")
        return
    table = _table(name, "tag")
    table.add_column("probability", justify="right")
    for tag, score in chosen.items():
        table.add_row(escape(tag), f"{score:.3f}")
    _print(table)


def _facts(song: "Song") -> dict[str, Any]:
    """What is known of a file beside its tags, by the names of tables; without a model here or audio it is less."""
    from genre_tagger.tagging.results import text_of

    digest = {"sha256": song.sha256} if song.sha256 else {}
    length = {} if math.isnan(song.seconds) else {"seconds": round(song.seconds, 3)}
    return {"path": text_of(song.path)} | digest | length | {"flag": song.flag, "reason": song.reason}


def _one_line(path: Path) -> str:
    """A path for the screen: line breaks and other unprintable characters as backslash escapes."""
    from genre_tagger.tagging.results import text_of

    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text_of(path))


def _print(what: Table | str, **options: bool) -> None:
    """All that goes to standard output goes through here, and is flushed."""
    try:
        _output.print(what, **options)
    except UnicodeEncodeError as error:
        raise UserError(
            f"standard output: {error.object[error.start]!a} cannot be written in {error.encoding}; set "
            "PYTHONIOENCODING=utf-8:surrogateescape"
        ) from None
    except OSError as error:
        # What is still in its buffer would fail once more when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(f"standard output: cannot be written ({error.strerror})") from None


def _table(title: str, first_column: str) -> Table:
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column(first_column)
    return table


def _epoch_table(history: list[dict[str, Any]], protocol: str | None) -> Table:
    names = ("loss", "roc_auc", "val_loss", "val_roc_auc", "val_pr_auc", "learning_rate")
    table = _table(f"epochs (roc auc: running, val: exact){_protocol(protocol)}", "epoch")
    for name in names:
        table.add_column(name.replace("_", " ").removeprefix("learning "), justify="right")
    for row in history:
        table.add_row(str(row["epoch"]), *(f"{row[name]:.4g}" for name in names))
    return table


def _figure_table(report: dict[str, Any]) -> Table:
    counts = f"{report['clips']} clips of {report['groups']} groups"
    table = _table(f"{report['split']}: {counts}, 95 % intervals{_protocol(report.get('protocol'))}", "")
    for name in ("macro ROC-AUC", "macro PR-AUC"):
        table.add_column(name, justify="right")
    table.add_row("model", area_text(report["roc_auc"]), area_text(report["pr_auc"]))
    if report["floor"]:
        floor = report["floor"]
        table.add_row("logistic-regression floor", area_text(floor["roc_auc"]), area_text(floor["pr_auc"]))
    for family, scores in report["families"].items():
        table.add_row(
            f"{escape(family)} ({_tags(len(scores['tags']))})",
            number_text(scores["roc_auc"]),
            number_text(scores["pr_auc"]),
        )
    return table


def _example_table(predictions: "Predictions") -> Table:
    """Clips of different groups of the test split, with as many predicted tags as are true."""
    test = predictions.of_split("test")
    _, firsts = np.unique(test.groups, return_index=True)
    table = _table("example clips of the test split", "clip")
    table.add_column("true tags")
    table.add_column("predicted tags")
    for row in firsts[:EXAMPLES]:
        true = np.flatnonzero(test.labels[row] == 1)
        best = np.argsort(-test.scores[row])[: max(len(true), 1)]
        predicted = ", ".join(f"{test.tags[tag]} {test.scores[row, tag]:.2f}" for tag in best)
        true_tags = ", ".join(test.tags[tag] for tag in true)
        table.add_row(escape(test.clip_ids[row]), escape(true_tags), escape(predicted))
    return table


def _listed(names: list[str], tags: dict[str, Any]) -> str:
    return ", ".join(f"{name} {tags[name]['roc_auc']:.3f}" for name in names)


def _difference(row: dict[str, Any], area: str) -> str:
    value, low, high = (row[f"{area}_difference{end}"] for end in ("", "_low", "_high"))
    return "undefined" if value is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def _protocol(name: str | None) -> str:
    return f", protocol {name}" if name else ""


def _tags(count: int) -> str:
    return f"{count} tag" if count == 1 else f"{count} tags"
