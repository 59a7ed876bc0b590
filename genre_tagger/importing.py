"""Published weights as a run directory: the steps of `genre-tagger import`."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras

from genre_tagger import musicnn_weights as published
from genre_tagger.backend import check_backend
from genre_tagger.config import Config, load_config
from genre_tagger.errors import UserError
from genre_tagger.files import sha256_of, storage_errors
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import RunDirectory, create_run

PRESET = "musicnn"
LICENCE = "ISC"


def import_musicnn(run_path: Path, wheel: Path | None, say: Callable[[str], None]) -> RunDirectory:
    """Makes a run directory of musicnn's published MagnaTagATune model (arXiv 1909.06654), without running its code.

    Args:
        run_path: a directory that does not exist yet.
        wheel: of musicnn 0.1.0; None to have pip download it.
        say: prints a line.

    Raises:
        UserError: the directory exists or cannot be written, the download fails, or the file is not that wheel.
    """
    check_backend()
    if run_path.exists():
        raise UserError(f"--run {run_path}: exists already, expected a directory that does not")
    with TemporaryDirectory() as scratch:
        wheel = wheel or _download(Path(scratch), say)
        _check_wheel(wheel)
        config = load_config(PRESET)
        model = build_tagger(config, len(published.TAGS))
        published.load_weights(model, published.extract_checkpoint(wheel, Path(scratch)))
        notice = published.read_notice(wheel)
    return _write_run(run_path, config, model, _origin(notice))


def _download(folder: Path, say: Callable[[str], None]) -> Path:
    """Lets the user's pip fetch the wheel; a wheel alone, since building anything else would run its code."""
    say(f"downloading {published.WHEEL_NAME} with pip (29 MB)")
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), published.REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(
            f"pip cannot download {published.REQUIREMENT} ({reason}); fetch {published.WHEEL_NAME} elsewhere and give "
            "it with --wheel FILE"
        )
    return folder / published.WHEEL_NAME


def _check_wheel(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"--wheel {path}: no such file, expected {published.WHEEL_NAME}")
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise UserError(f"--wheel {path}: cannot be read ({error.strerror})") from None
    if sha256 != published.WHEEL_SHA256:
        found = "another wheel" if zipfile.is_zipfile(path) else "no wheel"
        raise UserError(
            f"--wheel {path}: found {found} (SHA-256 {sha256}), expected {published.WHEEL_NAME} "
            f"(SHA-256 {published.WHEEL_SHA256})"
        )


def _write_run(path: Path, config: Config, model: keras.Model, origin: dict[str, Any]) -> RunDirectory:
    """Writes the run beside and renames it as a whole."""
    no_data = {"source": None, "data": None, "prepared": None, "stream": False, "hash": None, "protocol": None}
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as beside:
            run = create_run(Path(beside) / "run", config, {**no_data, "origin": origin}, published.TAGS)
            model.save(run.model)
            run.path.rename(path)
    return RunDirectory(path)


def _origin(notice: str) -> dict[str, Any]:
    """Where the weights come from, for `data.json` and the model card; the notice has to go with every copy."""
    return {
        "weights": f"{published.CHECKPOINT} of {published.WHEEL_NAME}",
        "sha256": published.WHEEL_SHA256,
        "trained on": "MagnaTagATune, full protocol, by the authors",
        "published": "ROC-AUC 90.67 %, PR-AUC 38.31 % on the test clips of that protocol",
        "papers": "arXiv 1711.02520, arXiv 1909.06654",
        "licence": LICENCE,
        "notice": notice,
    }
