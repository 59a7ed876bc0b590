"""Does the search work: Bayesian and Hyperband beside random search and the fixed 6x5, on the demo, several seeds.

    python -m benchmarks.tuning [--directory DIR] [--data DIR] [--seeds 3] [--trials 20] [--quick]

Every search is a `tune` directory below DIR: killed, the same command goes on, and what is finished is only read.
Random and Bayesian search get as many trials, each of four epochs. Hyperband gets as many epochs in all: its trials
are shorter at first, so it has more of them. A search's figure is its best trial by validation ROC-AUC; that trial's
model is then scored once on the test clips. The fixed 6x5 has the preset's other values and one training as long as a
trial. The fixed one and every winner are also trained for as many epochs as a whole search has, until patience is out.
"""

import statistics
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks._common import options, say
from genre_tagger.config import Config, load_config
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.manifest import read_manifest
from genre_tagger.data.pipeline import evaluation_windows
from genre_tagger.data.sources import SourceOptions
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.models.tagger import load_tagger
from genre_tagger.run import open_run, read_data
from genre_tagger.tuning.search import DataOptions, TuningOptions, data_opener, tune
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import Limits, TrialRunner, read_outcomes

EPOCHS = 4
SPACE = {
    "model.wavenet.dilation_depth": {"min": 2, "max": 6},
    "model.wavenet.blocks": {"min": 1, "max": 5},
    "model.wavenet.residual_channels, model.wavenet.dilation_channels": {
        "min": 8,
        "max": 32,
        "step": 2,
        "sampling": "log",
    },
    "model.wavenet.skip_channels": {"min": 16, "max": 64, "step": 2, "sampling": "log"},
    "model.wavenet.gate": {"values": ["sigmoid", "elu"]},
    "training.learning_rate": {"min": 3e-4, "max": 3e-2, "sampling": "log"},
    "training.alpha": {"min": 1.0, "max": 1.5, "step": 0.1},
}
FIXED = {"model.wavenet.dilation_depth": 6, "model.wavenet.blocks": 5}
OVERRIDES = (
    "window={seconds: 2.0, hop_seconds: 2.0, evaluate: center}",
    "model.cnn={kernels: [8, 16, 16, 16], output_width: 32}",
    "model.cascade.width=24",
    f"training.epochs={EPOCHS}",
    "training.batch_size=32",
)
ALGORITHMS = ("random", "bayesian", "hyperband")
QUICK_SONGS, SONGS = 20, 240


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--directory", type=Path, default=Path("runs/benchmark-tuning"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_args()
    songs, seeds, trials = (QUICK_SONGS, 1, 3) if arguments.quick else (SONGS, arguments.seeds, arguments.trials)
    sources = DataOptions(SourceOptions(songs=songs), arguments.data, stream=False, workers=2)
    rows = []
    for seed in range(seeds):
        config = load_config("small", overrides=[*OVERRIDES, f"seed={seed}"])
        rows.append({"what": "fixed 6x5", "seed": seed, **fixed(arguments.directory, config, trials, sources)})
        for algorithm in ALGORITHMS:
            found = search(arguments.directory, algorithm, config, sources, trials)
            rows.append({"what": algorithm, "seed": seed, **found})
            say(str(rows[-1]))
            pd.DataFrame(rows).to_csv(arguments.directory / "table.csv", index=False)
    print_rows(pd.DataFrame(rows))


def fixed(directory: Path, config: Config, trials: int, sources: DataOptions) -> dict[str, float]:
    """The preset's values with the published depth and blocks, trained as long as a trial, and as a search."""
    short = train_values(directory / f"fixed-{EPOCHS}-{config.seed}", FIXED, config, EPOCHS, sources)
    return {"trials": 1, "epochs": EPOCHS, **short, **trained_on(directory, "fixed", FIXED, config, trials, sources)}


def search(directory: Path, algorithm: str, config: Config, sources: DataOptions, trials: int) -> dict[str, float]:
    """A search of as many epochs as `trials` trials of full length have, and its winner trained for all of them."""
    path = directory / f"{algorithm}-{config.seed}"
    budget = TuningOptions(algorithm, max_trials=trials)
    space = parse_space(SPACE, "the benchmark's space")
    if algorithm == "hyperband":
        budget = TuningOptions(algorithm, max_trials=hyperband_trials(trials * EPOCHS))
    result = tune(budget, space, config, sources, path, say=say, progress=_no_bar)
    outcomes = read_outcomes(path / "trials")
    so_far = [outcome.scores.get("val_auc", 0.0) for outcome in outcomes]
    half = next(n for n in range(1, len(outcomes) + 1) if 2 * epochs(outcomes[:n]) >= epochs(outcomes))
    return {
        "trials": len(outcomes),
        "epochs": epochs(outcomes),
        "half": max(so_far[:half]),
        "valid": max(so_far),
        "test": test_auc(path / "trials" / result.best.trial),
        **trained_on(directory, algorithm, result.best.values, config, trials, sources),
    }


def trained_on(
    directory: Path, what: str, values: dict, config: Config, trials: int, sources: DataOptions
) -> dict[str, float]:
    """The same values trained for all the epochs of a search."""
    path = directory / f"{what}-{trials * EPOCHS}-{config.seed}"
    return {
        f"long {name}": value for name, value in train_values(path, values, config, trials * EPOCHS, sources).items()
    }


def train_values(path: Path, values: dict, config: Config, most_epochs: int, sources: DataOptions) -> dict[str, float]:
    """One training: its validation and test ROC-AUC."""
    runner = TrialRunner(config, data_opener(sources, say, _no_bar), 1, Limits(), say)
    outcome = runner.run(path, {**values, "training.epochs": most_epochs})
    return {"valid": outcome.scores["val_auc"], "test": test_auc(path)}


def epochs(outcomes) -> int:
    """Epochs of all trials."""
    return sum(outcome.epochs for outcome in outcomes)


def hyperband_trials(most_epochs: int) -> int:
    """Trials that Hyperband runs in at most so many epochs, sweep after sweep, at four epochs and a factor of three."""
    sweep = [2] * 5 + [4] * 2 + [4] * 3
    trials, spent = 0, 0
    while spent + sweep[trials % len(sweep)] <= most_epochs:
        spent += sweep[trials % len(sweep)]
        trials += 1
    return trials


def test_auc(path: Path) -> float:
    """Macro ROC-AUC of a run's best model on the test clips."""
    run, config = open_run(path)
    test = Dataset.of_manifest(read_manifest(Path(read_data(run)["prepared"]))).splits["test"]
    scores = score_clips(load_tagger(run.model), evaluation_windows(test.reader, config), test.numbers, config)
    return compute_metrics(test.labels, scores, range(test.labels.shape[1])).roc_auc


def print_rows(rows: pd.DataFrame) -> None:
    """A line a method: means over the seeds, with the seeds' own figures."""
    table = Table()
    for name in (
        "what",
        "trials",
        "epochs",
        "valid at half the budget",
        "valid",
        "valid by seed",
        "test",
        "test by seed",
        "long valid",
        "long valid by seed",
        "long test",
        "long test by seed",
    ):
        table.add_column(name)
    for what, group in rows.groupby("what", sort=False):
        half = "" if "half" not in group or group["half"].isna().any() else f"{group['half'].mean():.4f}"
        cells = [f"{statistics.fmean(group[name]):.0f}" for name in ("trials", "epochs")] + [half]
        for name in ("valid", "test", "long valid", "long test"):
            cells += [f"{group[name].mean():.4f}", ", ".join(f"{value:.4f}" for value in group[name])]
        table.add_row(str(what), *cells)
    Console(width=220).print(table)


def _no_bar(title: str, in_bytes: bool = False):
    return nullcontext(lambda done, total: None)


if __name__ == "__main__":
    main()
