"""A tiny search on the shared folder of 12 files: one convolution and one dense layer, a few seconds per trial."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genre_tagger.config import Config, load_config
from genre_tagger.dataset.request import DataRequest
from genre_tagger.runs.run_data import OpenedData, open_data
from genre_tagger.sources.registry import SourceOptions
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import ModelLimits, TrialRunner

TINY = (
    "window={seconds: 0.5, hop_seconds: 0.5}",
    "model={cnn: {kernels: [4], pools: [[8, 8]], dropouts: [0], output_width: 4}, head: {widths: [4]}}",
    "training.batch_size=3",
    "training.epochs=2",
)
SPACE = {
    "model.cnn.output_width": {"min": 2, "max": 8},
    "model.cnn.activation": {"values": ["relu", "elu"]},
    "training.learning_rate": {"min": 1e-3, "max": 1e-1, "sampling": "log"},
}
# Several processes with several threads each slow each other down.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
WAITING = """
import sys
import genre_tagger.tuning.search
from genre_tagger.commands.app import main
sys.stdin.readline()
main()
"""


@pytest.fixture(scope="module", autouse=True)  # not per session, because other test folders share it
def few_plots() -> Iterator[None]:
    """Omit the plots of preparation and evaluation, which take longer than the training in these tests."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("genre_tagger.evaluation.evaluate_run.write_plots_and_tables", lambda *_: None)
        patched.setattr("genre_tagger.dataset.prepare.write_card", lambda *_: None)
        gc.freeze()  # Keras collects garbage before each trial, which is slow with the objects of all imports
        yield
        gc.unfreeze()


@pytest.fixture(scope="session")
def tiny_options() -> list[str]:
    """Return the options of a command that set the tiny configuration."""
    return [part for override in TINY for part in ("--set", override)]


@pytest.fixture(scope="session")
def tiny() -> Config:
    """Return the tiny configuration."""
    return load_config(overrides=TINY)


@pytest.fixture(scope="session")
def space() -> Space:
    """Return a space of an integer, a choice and a float."""
    return parse_space(SPACE, "space")


@pytest.fixture(scope="session")
def request_for_data(tmp_path_factory: pytest.TempPathFactory, shared_music_folder: Path) -> DataRequest:
    """Return the request for the 12 files, with a folder for their prepared data."""
    options = SourceOptions(source="folder", root=shared_music_folder)
    return DataRequest(options, tmp_path_factory.mktemp("tuning") / "data", workers=1)


@pytest.fixture(scope="session")
def opened(request_for_data: DataRequest, tiny: Config) -> OpenedData:
    """Return the 12 files as prepared data."""
    return open_data(request_for_data, tiny)


@pytest.fixture(scope="session")
def data_folder(request_for_data: DataRequest, opened: OpenedData) -> Path:
    """Return the folder for `--data` that has the prepared files."""
    return request_for_data.folder


@pytest.fixture
def runner(tiny: Config, opened: OpenedData) -> TrialRunner:
    """Return a runner that trains trials without limits."""
    return TrialRunner(tiny, lambda config: opened, 1, ModelLimits())


@pytest.fixture
def waiting_command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Yield a function that starts a `genre-tagger` process. It imports everything and waits for a line of input.

    A process can thus import while other processes run. Its output goes into NAME.log. The fixture kills the
    processes at the end of the test.
    """
    running = []

    def start(name: str, *arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-c", WAITING, *map(str, arguments)]
        with (tmp_path / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, env={**os.environ, **ONE_THREAD}
            )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def let_go() -> Callable[[subprocess.Popen], None]:
    """Return a function that lets a waiting process run its command."""

    def send(process: subprocess.Popen) -> None:
        process.stdin.write("\n")
        process.stdin.flush()

    return send
