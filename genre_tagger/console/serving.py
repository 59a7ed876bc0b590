"""Exported versions, servers, and the page in the browser."""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from genre_tagger.console.output import say, show, tags_text, titled_table

if TYPE_CHECKING:
    from genre_tagger.export.against import Comparison
    from genre_tagger.export.serving import Launch
    from genre_tagger.export.thresholds import Thresholds
    from genre_tagger.exporting import Exported
    from genre_tagger.page.server import PageServer


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


def print_comparison(comparison: "Comparison") -> None:
    """Drift of each tag, the most flipped first."""
    table = titled_table(f"against {comparison.old}, on {comparison.windows} windows of test clips", "tag")
    for name in ("mean drift", "largest", "rank correlation", "decisions that flip"):
        table.add_column(name, justify="right")
    for tag, drift in sorted(comparison.tags.items(), key=lambda entry: -entry[1].flips):
        correlation = "undefined" if math.isnan(drift.rank_correlation) else f"{drift.rank_correlation:.4f}"
        table.add_row(escape(tag), f"{drift.mean:.4f}", f"{drift.largest:.4f}", correlation, f"{drift.flips:.1%}")
    show(table)
    for what, tags in (("new", comparison.added), ("gone", comparison.removed)):
        if tags:
            say(f"{what} tags, not compared: {', '.join(tags)}")
    say(f"decisions that flip: {comparison.flips:.1%}")


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
    say(f"{model} ({tags_text(len(page.tags))}) at {page.address}  (Ctrl-C ends it)")
    if not only_here:
        say("open to every machine that reaches this one")


def _how_chosen(thresholds: "Thresholds") -> str:
    if thresholds.are_chosen:
        return f"thresholds for {thresholds.objective} on the {thresholds.split} clips"
    return "thresholds chosen on nothing, as the run has not been evaluated (`genre-tagger evaluate RUN SOURCE`)"
