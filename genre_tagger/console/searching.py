"""What a search over configurations and a comparison of presets have to show."""

from typing import TYPE_CHECKING

from rich.markup import escape

from genre_tagger.console.output import protocol_text, say, show, titled_table
from genre_tagger.console.training import print_training

if TYPE_CHECKING:
    from genre_tagger.comparing import Compared
    from genre_tagger.tuning.search import TuningResult

BEST_TRIALS = 5
TRIAL_COLUMNS = {"val_auc": ".4f", "val_pr_auc": ".4f", "parameters": ",.0f", "inference_ms": ".2f", "seconds": ".0f"}
COMPARED_COLUMNS = ("roc_auc", "pr_auc", "parameters", "seconds", "reach_seconds", "published_roc_auc_percent")


def print_tuning(result: "TuningResult") -> None:
    """The best trials, what the winner is made of, what to run next."""
    table = result.table
    done = table[table["status"] == "completed"]
    if result.training:
        print_training(result.training)
    best = done[done["in_space"]].sort_values(result.objective, ascending=False, kind="stable").head(BEST_TRIALS)
    protocol = protocol_text(table["protocol"].iloc[0] if "protocol" in table else None)
    shown = titled_table(f"{len(done)} trials completed, {len(table) - len(done)} failed; the best{protocol}", "trial")
    for name in TRIAL_COLUMNS:
        shown.add_column(name.replace("_", " "), justify="right")
    for row in best.to_dict("records"):
        shown.add_row(row["trial"], *(f"{row[name]:{form}}" for name, form in TRIAL_COLUMNS.items()))
    show(shown)
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
