"""The environment of a run (`environment.json`): versions of packages, devices, commit and seed."""

import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from genre_tagger.config import Config

PACKAGES = ("genre-tagger", "keras", "tensorflow", "numpy", "scikit-learn", "librosa", "soundfile", "soxr")


def environment_of(config: Config, devices: Sequence[str]) -> dict[str, Any]:
    """Return the content of `environment.json`.

    Args:
        config: configuration of the run, for its seed.
        devices: devices that the run is trained on.
    """
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
    except metadata.PackageNotFoundError:  # for example, TensorFlow has several package names
        return None


def _git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, if it is one."""
    checkout = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(checkout), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        top, commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return commit if Path(top) == checkout else None  # the package may be installed inside another checkout
    except (OSError, subprocess.CalledProcessError):
        return None
