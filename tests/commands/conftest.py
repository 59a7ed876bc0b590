"""A trained run that all tests of commands share, and a temporary working directory."""

from pathlib import Path

import pytest
from command_line import OVERRIDES, run_command


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, shared_music_folder: Path) -> tuple[Path, str]:
    """Return the directory of a run and the output of `train`. Tests must not change the run."""
    work = tmp_path_factory.mktemp("work")
    places = ["--run", work / "run", "--data", work / "data"]
    return work / "run", run_command("train", "folder", "--root", shared_music_folder, *OVERRIDES, *places)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change the working directory to a temporary one and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
