"""The run directory: the names of its files, and what makes two runs the same."""

import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from genre_tagger.config import Config, load_config
from genre_tagger.data.clips import write_tags
from genre_tagger.errors import UserError
from genre_tagger.files import replacing, storage_errors

if TYPE_CHECKING:
    import pandas as pd

PACKAGES = ("genre-tagger", "keras", "tensorflow", "numpy", "scikit-learn", "librosa", "soundfile", "soxr")


@dataclass(frozen=True)
class RunDirectory:
    """Paths of everything that a training run leaves behind, `runs/NAME/`."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def data(self) -> Path:
        """Where the data came from (JSON): the source's options, its hash; imported weights too."""
        return self.path / "data.json"

    @property
    def tags(self) -> Path:
        """Ordered tag names, one a line."""
        return self.path / "tags.txt"

    @property
    def model(self) -> Path:
        """The model of the best validation ROC-AUC."""
        return self.path / "model.keras"

    @property
    def checkpoint(self) -> Path:
        """The whole state of training after the last finished epoch."""
        return self.path / "checkpoint" / "state.npz"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's log directory."""
        return self.path / "tensorboard"

    def curves(self, protocol: str | None) -> Path:
        """Where its curves go: it names them after their folder, so that the data's protocol stands beside each."""
        return self.tensorboard / (protocol or "")

    @property
    def metrics(self) -> Path:
        """What `genre-tagger evaluate` found (JSON)."""
        return self.path / "metrics.json"

    @property
    def predictions(self) -> Path:
        """Labels and scores of every evaluated clip."""
        return self.path / "predictions.parquet"

    @property
    def report(self) -> Path:
        """Tables and plots."""
        return self.path / "report"

    @property
    def page(self) -> Path:
        """All of it on one HTML page."""
        return self.path / "report.html"

    @property
    def floor(self) -> Path:
        """Scores of the logistic-regression floor for the test clips."""
        return self.report / "floor.parquet"

    @property
    def robustness(self) -> Path:
        """Scores of the test clips under each condition that perturbs them."""
        return self.path / "robustness"

    @property
    def rejected(self) -> Path:
        """Files that a stream cannot use, with their reasons (CSV)."""
        return self.path / "rejected.csv"

    @property
    def environment(self) -> Path:
        """Versions, device, commit and seed (JSON)."""
        return self.path / "environment.json"


def open_run(path: Path) -> tuple[RunDirectory, Config]:
    """Opens the directory of a trained run.

    Raises:
        UserError: it is no run directory, or has no trained model yet.
    """
    run = RunDirectory(path)
    if not run.config.exists():
        raise UserError(
            f"{path}: not a run directory (no config.yaml in it); expected one made by `genre-tagger train` or `import`"
        )
    if not run.model.exists():
        raise UserError(f"{path}: has no trained model yet (no model.keras); let `genre-tagger train` finish an epoch")
    return run, read_config(run)


def read_config(run: RunDirectory) -> Config:
    """The configuration that the run was made with; raises UserError where it cannot be read."""
    return load_config(path=run.config)


def read_data(run: RunDirectory) -> dict[str, Any]:
    """Where the run's data came from; raises UserError where that cannot be read."""
    try:
        return json.loads(run.data.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{run.data}: cannot be read ({error}); train again into another --run") from None


def read_table(path: Path, **options: Any) -> "pd.DataFrame":
    """A table of the run (CSV), by pandas' options; raises UserError where it cannot be read."""
    import pandas as pd  # decoding processes import this module, and need no tables

    try:
        return pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file of the run; raises UserError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None


def check_evaluated(run: RunDirectory) -> None:
    """Raises UserError where a run has not been evaluated, or not since it was trained last."""
    for needed in (run.predictions, run.metrics):
        if not needed.exists():
            raise UserError(f"{needed}: no such file; `genre-tagger evaluate {run.path}` writes it")
        if needed.stat().st_mtime < run.model.stat().st_mtime:
            raise UserError(f"{needed}: older than {run.model.name}; `genre-tagger evaluate {run.path}` writes it")


def check_run(path: Path, config: Config) -> None:
    """Refuses what `create_run` would refuse, before hours of preparing, but for the data.

    Raises:
        UserError: the directory holds imported weights, a run of another configuration or something else, or cannot be
            written.
    """
    run = RunDirectory(path)
    if run.config.exists():
        _check_goes_on(run, config)
    else:
        _check_no_foreign_files(run)
    is_new = not path.exists()
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path):
            pass
        if is_new:
            with suppress(OSError):  # another command has begun there
                path.rmdir()  # until there is something to put into it


def create_run(
    path: Path, config: Config, data: dict[str, Any], tags: tuple[str, ...], devices: Sequence[str] = ()
) -> RunDirectory:
    """Makes a run directory, or opens the one that was made for the same configuration and data.

    Args:
        path: the directory.
        config: of the run.
        data: where the data came from, with its `hash`.
        tags: ordered names.
        devices: that it is trained on, for `environment.json`.

    Raises:
        UserError: the directory holds a run of another configuration or of other data, or cannot be written.
    """
    run = RunDirectory(path)
    if run.config.exists():
        _check_goes_on(run, config)
        _check_same_data(run, data)
        return run
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with replacing(run.tags) as unfinished:
            write_tags(unfinished, tags)
        write_text(run.data, json.dumps(data, indent=2))
        write_text(run.environment, json.dumps(_environment(config, devices), indent=2))
        write_text(run.config, config.to_yaml())  # last: its presence says that the rest is there
    return run


def discard_run(run: RunDirectory) -> None:
    """Removes what a run begins with, where it has no model yet; other things in its directory stay."""
    if run.model.exists():
        return
    for folder in filter(Path.exists, (run.tensorboard, run.report)):
        shutil.rmtree(folder)
    for file in (run.rejected, run.config, run.environment, run.data, run.tags):
        file.unlink(missing_ok=True)
    with suppress(OSError):  # it is not empty
        run.path.rmdir()


def write_text(path: Path, text: str) -> None:
    """Writes a text file beside and renames it."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _check_no_foreign_files(run: RunDirectory) -> None:
    """Nobody wants a model among their songs; what a killed `create_run` has left is no hindrance."""
    begun = {path.name for path in (run.tags, run.data, run.environment)}
    there = sorted(entry.name for entry in run.path.iterdir()) if run.path.is_dir() else []
    if foreign := [name for name in there if name not in begun and not name.startswith(".")]:
        raise UserError(
            f"--run {run.path}: found a directory with {foreign[0]!r} in it and no run; expected a new or empty one, "
            "or that of a run"
        )


def _check_goes_on(run: RunDirectory, config: Config) -> None:
    if read_data(run).get("origin"):
        raise UserError(f"{run.path}: holds imported weights, which training would overwrite; expected another --run")
    there, wanted = flat(read_config(run).model_dump()), flat(config.model_dump())
    for key in wanted.keys() | there.keys():
        if there.get(key) != wanted.get(key):
            raise UserError(
                f"{run.path}: holds a run of another configuration ({key} is {there.get(key)!r} there, "
                f"{wanted.get(key)!r} here); expected the same one to go on with, or another --run"
            )


def _check_same_data(run: RunDirectory, data: dict[str, Any]) -> None:
    there = read_data(run)
    if (there.get("hash"), there.get("stream")) != (data["hash"], data.get("stream")):
        raise UserError(
            f"{run.path}: holds a run on other data, or one that read it another way (--stream); expected the same to "
            "go on with, or another --run"
        )


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one, with dotted keys."""
    leaves = {}
    for key, value in values.items():
        leaves.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return leaves


def _environment(config: Config, devices: Sequence[str]) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": list(devices),
        "git_commit": _git_commit(),
        "seed": config.seed,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # TensorFlow comes under several names
        return None


def _git_commit() -> str | None:
    """Commit of the checkout that this package runs from, if it is one; not of whatever a virtual environment is in."""
    checkout = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(checkout), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        top, commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return commit if Path(top) == checkout else None
    except (OSError, subprocess.CalledProcessError):
        return None
