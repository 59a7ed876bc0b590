"""The command `import`."""

import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.commands.console import say
from genre_tagger.errors import FieldError, UserError

if TYPE_CHECKING:
    import keras

    from genre_tagger.config import Config
    from genre_tagger.runs.directory import RunDirectory

PRESET = "musicnn"
LICENCE = "ISC"


def import_(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The published model: musicnn.")],
    wheel: Annotated[
        Path | None, typer.Option(help="The wheel of musicnn 0.1.0; downloaded with pip by default.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run directory, which must not exist; runs/musicnn by default.")
    ] = None,
) -> None:
    """Create a run directory from published weights, to tag music without training."""
    if model != "musicnn":
        raise FieldError("model", f"found {model!r}, expected musicnn")
    print_import(import_musicnn(run or Path("runs/musicnn"), wheel))


def import_musicnn(path: Path, wheel: Path | None) -> "RunDirectory":
    """Create a run directory of musicnn's published MagnaTagATune model (arXiv 1909.06654). No code of musicnn is run.

    Args:
        path: a directory that does not exist.
        wheel: the wheel of musicnn 0.1.0; None to download it with pip.

    Returns:
        The run directory.

    Raises:
        UserError: the directory exists or cannot be written, the download fails, or the file is another wheel.
    """
    from genre_tagger.backend import check_backend
    from genre_tagger.config import load_config
    from genre_tagger.models import musicnn_weights as published
    from genre_tagger.models.tagger import build_tagger

    check_backend()
    if path.exists():
        raise FieldError("run", f"{path}: exists already, expected a directory that does not")
    with TemporaryDirectory() as scratch:
        wheel = wheel or _download(Path(scratch))
        _check_wheel(wheel)
        config = load_config(PRESET)
        model = build_tagger(config, len(published.TAGS))
        published.load_weights(model, published.extract_checkpoint(wheel, Path(scratch)))
        notice = published.read_notice(wheel)
    return _write_run(path, config, model, _origin(notice))


def print_import(run: "RunDirectory") -> None:
    """Print the run directory and what to run next."""
    path = shlex.quote(str(run.path))
    say(f"run directory: {run.path}  (origin and licence of its weights: {run.record.name})")
    say("next:")
    say(f"  genre-tagger tag {path} FILE...            tags of any audio file")
    say(f"  genre-tagger export {path} DIR             a SavedModel that takes raw audio")
    say(f"  genre-tagger evaluate {path} SOURCE        on labelled music, for example folder --root MUSIC")


def _download(folder: Path) -> Path:
    """Download the wheel with pip. Other formats are refused: pip would build them, which runs their code."""
    from genre_tagger.models import musicnn_weights as published

    say(f"downloading {published.WHEEL_NAME} with pip (29 MB)")
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), published.REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(
            f"pip cannot download {published.REQUIREMENT} ({reason}); download {published.WHEEL_NAME} elsewhere and "
            "pass it with --wheel FILE"
        )
    return folder / published.WHEEL_NAME


def _check_wheel(path: Path) -> None:
    from genre_tagger.files import sha256_of
    from genre_tagger.models import musicnn_weights as published

    if not path.is_file():
        raise FieldError("wheel", f"{path}: no such file, expected {published.WHEEL_NAME}")
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise FieldError("wheel", f"{path}: cannot be read ({error.strerror})") from error
    if sha256 != published.WHEEL_SHA256:
        found = "another wheel" if zipfile.is_zipfile(path) else "no wheel"
        raise FieldError(
            "wheel",
            f"{path}: found {found} (SHA-256 {sha256}), expected {published.WHEEL_NAME} (SHA-256 "
            f"{published.WHEEL_SHA256})",
        )


def _write_run(path: Path, config: "Config", model: "keras.Model", origin: dict[str, str]) -> "RunDirectory":
    """Write the run into a temporary directory next to `path` and rename it. A failure leaves no partial run."""
    from genre_tagger.files import storage_errors
    from genre_tagger.models import musicnn_weights as published
    from genre_tagger.runs.creation import create_run
    from genre_tagger.runs.directory import RunDirectory
    from genre_tagger.runs.record import RunRecord

    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            run = create_run(Path(folder) / "run", config, RunRecord(origin=origin), published.TAGS)
            model.save(run.model)
            run.path.rename(path)
    return RunDirectory(path)


def _origin(notice: str) -> dict[str, str]:
    """Return the origin of the weights for `data.json` and the model card. Every copy must include the notice."""
    from genre_tagger.models import musicnn_weights as published

    return {
        "weights": f"{published.CHECKPOINT} of {published.WHEEL_NAME}",
        "sha256": published.WHEEL_SHA256,
        "trained on": "MagnaTagATune, full protocol, by the authors",
        "published": "ROC-AUC 90.67 %, PR-AUC 38.31 % on the test clips of that protocol",
        "papers": "arXiv 1711.02520, arXiv 1909.06654",
        "licence": LICENCE,
        "notice": notice,
    }
