"""What the commands print about a finished training."""

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from genre_tagger.commands.console import protocol_text, say, show, titled_table
from genre_tagger.commands.metrics_tables import print_summary

if TYPE_CHECKING:
    from genre_tagger.evaluation.predictions import Predictions
    from genre_tagger.training.train import TrainingResult

EXAMPLES = 3


def print_training(result: "TrainingResult") -> None:
    """Print the epochs, the test metrics, the best and worst tags, example clips, and what to run next."""
    show(_epoch_table(result.history, result.metrics.get("protocol")))
    print_summary(result.metrics)
    show(_example_table(result.predictions))
    run = result.run.path
    say(f"run directory: {run}  (plots and tables in {result.run.report})")
    say("next:")
    say(f"  genre-tagger tag {run} FILE...            tags of any audio file")
    say(f"  genre-tagger evaluate {run}               every tag, families, intervals")
    say(f"  tensorboard --logdir {result.run.tensorboard}")
    say("  genre-tagger train folder --root MUSIC   your own music, with MUSIC/tags.csv")


def _epoch_table(history: list[dict[str, Any]], protocol: str | None) -> Table:
    names = ("loss", "roc_auc", "val_loss", "val_roc_auc", "val_pr_auc", "learning_rate")
    table = titled_table(f"epochs (roc auc: running, val: exact){protocol_text(protocol)}", "epoch")
    for name in names:
        table.add_column(name.replace("_", " ").removeprefix("learning "), justify="right")
    for row in history:
        table.add_row(str(row["epoch"]), *(f"{row[name]:.4g}" for name in names))
    return table


def _example_table(predictions: "Predictions") -> Table:
    """Return a table of test clips, one per group. A clip has as many predicted tags as true tags, but at least one."""
    import numpy as np

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
