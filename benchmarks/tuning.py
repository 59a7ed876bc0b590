"""Compare Bayesian search and Hyperband with random search and a fixed model, on the demo, with several seeds.

    python -m benchmarks.tuning [--directory DIR] [--data DIR] [--seeds 3] [--trials 20] [--quick]

Every search is a `tune` directory below DIR. If interrupted, rerun the command to resume; finished searches are not
repeated. Random and Bayesian search get the same number of trials, each of four epochs. Hyperband gets the same number
of epochs in total. Its first trials are shorter, so it has more trials. The score of a search is the validation ROC-AUC
of its best trial. The model of that trial is then scored once on the test clips.

The fixed model has the published WaveNet (6x5: dilation depth 6, 5 blocks) and the preset's other values. It is trained
once, for as many epochs as a trial. The fixed model and the best values of every search are also trained for as many
epochs as a whole search, with early stopping.
"""

import logging
import statistics
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks._common import options, say
from genre_tagger.config import Config, load_config
from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.dataset.pipeline import evaluation_windows
from genre_tagger.dataset.request import DataRequest
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.models.tagger import load_tagger
from genre_tagger.runs.directory import open_run
from genre_tagger.sources.registry import SourceOptions
from genre_tagger.tuning.search import TuneRequest, data_opener, tune
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import ModelLimits, TrialRunner, read_outcomes

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
    "model.wavenet.cascade.width=24",
    f"training.epochs={EPOCHS}",
    "training.batch_size=32",
    "inference.batch_size=32",
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
    data = DataRequest(SourceOptions(songs=songs), arguments.data, workers=2)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("genre_tagger").setLevel(logging.INFO)
    rows = []
    for seed in range(seeds):
        config = load_config("small", overrides=[*OVERRIDES, f"seed={seed}"])
        rows.append({"what": "fixed 6x5", "seed": seed, **fixed(arguments.directory, config, trials, data)})
        for algorithm in ALGORITHMS:
            found = search(arguments.directory, algorithm, config, data, trials)
            rows.append({"what": algorithm, "seed": seed, **found})
            say(str(rows[-1]))
            pd.DataFrame(rows).to_csv(arguments.directory / "table.csv", index=False)
    print_rows(pd.DataFrame(rows))


def fixed(directory: Path, config: Config, trials: int, data: DataRequest) -> dict[str, float]:
    """Train the fixed model twice: for as many epochs as a trial, and for as many epochs as a search."""
    short = train_values(directory / f"fixed-{EPOCHS}-{config.seed}", FIXED, config, EPOCHS, data)
    return {"trials": 1, "epochs": EPOCHS, **short, **trained_on(directory, "fixed", FIXED, config, trials, data)}


def search(directory: Path, algorithm: str, config: Config, data: DataRequest, trials: int) -> dict[str, float]:
    """Search with the epochs of `trials` full trials in total, then train the best values for as many epochs."""
    path = directory / f"{algorithm}-{config.seed}"
    space = parse_space(SPACE, "the space of the benchmark")
    max_trials = hyperband_trials(trials * EPOCHS) if algorithm == "hyperband" else trials
    result = tune(TuneRequest(data, config, space, path, algorithm, max_trials=max_trials))
    outcomes = read_outcomes(path / "trials")
    so_far = [outcome.scores.get("val_auc", 0.0) for outcome in outcomes]
    half = next(n for n in range(1, len(outcomes) + 1) if 2 * epochs(outcomes[:n]) >= epochs(outcomes))
    return {
        "trials": len(outcomes),
        "epochs": epochs(outcomes),
        "half": max(so_far[:half]),
        "valid": max(so_far),
        "test": test_auc(path / "trials" / result.best.trial),
        **trained_on(directory, algorithm, result.best.values, config, trials, data),
    }


def trained_on(
    directory: Path, what: str, values: dict, config: Config, trials: int, data: DataRequest
) -> dict[str, float]:
    """Train a model with the given values for as many epochs as a whole search, and return its scores."""
    path = directory / f"{what}-{trials * EPOCHS}-{config.seed}"
    return {f"long {name}": value for name, value in train_values(path, values, config, trials * EPOCHS, data).items()}


def train_values(path: Path, values: dict, config: Config, most_epochs: int, data: DataRequest) -> dict[str, float]:
    """Train a model with the given values, and return its validation and test ROC-AUC."""
    runner = TrialRunner(config, data_opener(data), executions=1, limits=ModelLimits())
    outcome = runner.run(path, {**values, "training.epochs": most_epochs})
    return {"valid": outcome.scores["val_auc"], "test": test_auc(path)}


def epochs(outcomes) -> int:
    """Return the total number of epochs of all trials."""
    return sum(outcome.epochs for outcome in outcomes)


def hyperband_trials(most_epochs: int) -> int:
    """Return how many trials of repeated Hyperband sweeps fit into `most_epochs`.

    A sweep has at most four epochs per trial and a reduction factor of three.
    """
    sweep = [2] * 5 + [4] * 2 + [4] * 3
    trials, spent = 0, 0
    while spent + sweep[trials % len(sweep)] <= most_epochs:
        spent += sweep[trials % len(sweep)]
        trials += 1
    return trials


def test_auc(path: Path) -> float:
    """Return the macro ROC-AUC of a run's best model on the test clips."""
    run, config = open_run(path)
    test = Dataset.of_manifest(read_manifest(run.read_record().prepared)).splits["test"]
    scores = score_clips(load_tagger(run.model), evaluation_windows(test.reader, config), test.numbers, config)
    return compute_metrics(test.labels, scores, range(test.labels.shape[1])).roc_auc


def print_rows(rows: pd.DataFrame) -> None:
    """Print one line per method: the means over the seeds and the value of each seed."""
    table = Table()
    for name in (
        "method",
        "trials",
        "epochs",
        "validation at half the epochs",
        "validation",
        "validation by seed",
        "test",
        "test by seed",
        "long: validation",
        "long: validation by seed",
        "long: test",
        "long: test by seed",
    ):
        table.add_column(name)
    for what, group in rows.groupby("what", sort=False):
        half = "" if "half" not in group or group["half"].isna().any() else f"{group['half'].mean():.4f}"
        cells = [f"{statistics.fmean(group[name]):.0f}" for name in ("trials", "epochs")] + [half]
        for name in ("valid", "test", "long valid", "long test"):
            cells += [f"{group[name].mean():.4f}", ", ".join(f"{value:.4f}" for value in group[name])]
        table.add_row(str(what), *cells)
    Console(width=220).print(table)


if __name__ == "__main__":
    main()
