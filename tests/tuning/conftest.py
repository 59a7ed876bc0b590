"""A tiny search over the shared folder of twelve files: one convolution and a dense layer, a few seconds a trial."""

import pytest

from genre_tagger.config import Config, load_config
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.records import prepare
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import Limits, TrialRunner
from genre_tagger.workflow import OpenedData

TINY = (
    "window={seconds: 0.5, hop_seconds: 0.5}",
    "model={wavenet: none, cascade: none, head: {widths: [4]}}",
    "model.cnn={kernels: [4], pools: [[8, 8]], dropouts: [0], output_width: 4}",
    "training.batch_size=3",
    "training.epochs=2",
)
SPACE = {
    "model.cnn.output_width": {"min": 2, "max": 8},
    "model.cnn.activation": {"values": ["relu", "elu"]},
    "training.learning_rate": {"min": 1e-3, "max": 1e-1, "sampling": "log"},
}


@pytest.fixture(scope="session")
def tiny() -> Config:
    """The configuration of the tests' trials."""
    return load_config(overrides=TINY)


@pytest.fixture(scope="session")
def space() -> Space:
    """A whole number, a word and a number."""
    return parse_space(SPACE, "space")


@pytest.fixture(scope="session")
def opened(tmp_path_factory, shared_music_folder) -> OpenedData:
    """The twelve files, prepared."""
    directory = tmp_path_factory.mktemp("tuning") / "prepared"
    dataset = Dataset.of_manifest(prepare(FolderSource(shared_music_folder), 12_000, directory, workers=1))
    return OpenedData(dataset, {"hash": dataset.hash, "stream": False}, None)


@pytest.fixture
def runner(tiny, opened) -> TrialRunner:
    """Trains trials silently, without limits."""
    return TrialRunner(tiny, lambda config: opened, 1, Limits(), lambda line: None)
