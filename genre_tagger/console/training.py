"""What preparing, training and importing have to show."""

import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from genre_tagger.console.evaluation import print_report
from genre_tagger.console.output import protocol_text, say, show, titled_table

if TYPE_CHECKING:
    from genre_tagger.data.manifest import Manifest
    from genre_tagger.evaluation.predictions import Predictions
    from genre_tagger.run import RunDirectory
    from genre_tagger.workflow import TrainingResult

EXAMPLES = 3


def print_manifest(manifest: "Manifest") -> None:
    """What was prepared and where, what was rejected and what no metric will count."""
    tags = f"{len(manifest.tags)} tags{protocol_text(manifest.protocol)}"
    table = titled_table(f"prepared {manifest.source} at {manifest.sample_rate} Hz, {tags}", "split")
    for name in ("clips", "groups", "hours"):
        table.add_column(name, justify="right")
    for split, summary in manifest.splits.items():
        table.add_row(split, str(summary.clips), str(summary.groups), f"{summary.seconds / 3600:.2f}")
    show(table)
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
    show(_epoch_table(result.history, result.report.get("protocol")))
    print_report(result.report)
    show(_example_table(result.predictions))
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


def _epoch_table(history: list[dict[str, Any]], protocol: str | None) -> Table:
    names = ("loss", "roc_auc", "val_loss", "val_roc_auc", "val_pr_auc", "learning_rate")
    table = titled_table(f"epochs (roc auc: running, val: exact){protocol_text(protocol)}", "epoch")
    for name in names:
        table.add_column(name.replace("_", " ").removeprefix("learning "), justify="right")
    for row in history:
        table.add_row(str(row["epoch"]), *(f"{row[name]:.4g}" for name in names))
    return table


def _example_table(predictions: "Predictions") -> Table:
    """Clips of different groups of the test split, with as many predicted tags as are true."""
    test = predictions.of_split("test")
    _, firsts = np.unique(test.groups, return_index=True)
    table = titled_table("example clips of the test split", "clip")
    table.add_column("true tags")
    table.add_column("predicted tags")
    for row in firsts[:EXAMPLES]:
        true = np.flatnonzero(test.labels[row] == 1)
        best = np.argsort(-test.scores[row])[: max(len(true), 1)]
        predicted = ", ".join(f"{test.tags[tag]} {test.scores[row, tag]:.2f}" for tag in best)
        true_tags = ", ".join(test.tags[tag] for tag in true)
        table.add_row(escape(test.clip_ids[row]), escape(true_tags), escape(predicted))
    return table
