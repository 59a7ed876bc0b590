"""The run directory: the paths of its files, and functions that read them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genre_tagger.config import Config, read_run_config
from genre_tagger.errors import UserError
from genre_tagger.runs.record import RunRecord, read_record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunDirectory:
    """The paths of everything in a run directory, `runs/NAME/`."""

    path: Path

    def __fspath__(self) -> str:
        """Return the path of the directory, so that every function that takes a path takes a run directory."""
        return str(self.path)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def record(self) -> Path:
        """The record of the run (JSON): its data, and the origin of its weights."""
        return self.path / "data.json"

    @property
    def tags(self) -> Path:
        """The ordered tag names, one per line."""
        return self.path / "tags.txt"

    @property
    def model(self) -> Path:
        """The model with the best validation ROC-AUC."""
        return self.path / "model.keras"

    @property
    def checkpoint(self) -> Path:
        """The complete training state after the last finished epoch."""
        return self.path / "checkpoint" / "state.npz"

    @property
    def history(self) -> Path:
        """One row per epoch (CSV)."""
        return self.path / "history.csv"

    @property
    def tensorboard(self) -> Path:
        """The log directory of TensorBoard."""
        return self.path / "tensorboard"

    def curves(self, protocol: str | None) -> Path:
        """Return the folder of TensorBoard's curves, named after the protocol: TensorBoard shows this name."""
        return self.tensorboard / (protocol or "")

    @property
    def metrics(self) -> Path:
        """The metrics of the last evaluation (JSON)."""
        return self.path / "metrics.json"

    @property
    def predictions(self) -> Path:
        """Labels and scores of every evaluated clip."""
        return self.path / "predictions.parquet"

    @property
    def report(self) -> Path:
        """The folder of plots and tables."""
        return self.path / "report"

    @property
    def html_report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def baseline(self) -> Path:
        """Scores of the logistic-regression baseline for the test clips. Version 0.1.0 called the file `floor`."""
        older = self.report / "floor.parquet"
        return older if older.exists() else self.report / "baseline.parquet"

    @property
    def robustness(self) -> Path:
        """The folder with the scores of the test clips under each condition."""
        return self.path / "robustness"

    @property
    def rejected(self) -> Path:
        """The audio files that a streamed run cannot use, with the reasons (CSV)."""
        return self.path / "rejected.csv"

    @property
    def environment(self) -> Path:
        """Versions, device, commit and seed (JSON)."""
        return self.path / "environment.json"

    def read_config(self) -> Config:
        """Read the configuration. Raise UserError if the file is missing or invalid."""
        return read_run_config(self.config)

    def read_record(self) -> RunRecord:
        """Read the record of the run. Raise UserError if the file is missing or invalid."""
        return read_record(self.record)


def open_run(path: Path) -> tuple[RunDirectory, Config]:
    """Open the directory of a trained or imported run.

    Args:
        path: the run directory.

    Returns:
        The run directory and the configuration of the run.

    Raises:
        UserError: the directory is not a run directory or has no trained model yet.
    """
    run = RunDirectory(path)
    if not run.config.exists():
        raise UserError(
            f"{path}: found no config.yaml, expected a run directory created by `genre-tagger train` or `import`"
        )
    if not run.model.exists():
        raise UserError(
            f"{path}: found no model.keras, expected a run in which `genre-tagger train` has finished an epoch"
        )
    return run, run.read_config()


def read_table(path: Path, **options: Any) -> "pd.DataFrame":
    """Read a CSV table of a run.

    Args:
        path: the file.
        options: arguments of `pandas.read_csv`.

    Raises:
        UserError: the file is missing or is not a table.
    """
    import pandas as pd  # imported here because decoding processes import this module and need no tables

    try:
        table: pd.DataFrame = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    return table


def check_evaluated(run: RunDirectory) -> None:
    """Check that a run has been evaluated since it was last trained.

    Raises:
        UserError: its metrics or predictions are missing or older than its model.
    """
    for needed in (run.predictions, run.metrics):
        if not needed.exists():
            raise UserError(f"{needed}: no such file; `genre-tagger evaluate {run.path}` writes it")
        if needed.stat().st_mtime < run.model.stat().st_mtime:
            raise UserError(f"{needed}: older than {run.model.name}; `genre-tagger evaluate {run.path}` writes it")
