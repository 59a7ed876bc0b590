"""A small dataset for all training tests."""

from pathlib import Path

import pytest

from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.dataset.prepare import prepare
from genre_tagger.sources.folder import FolderSource


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, shared_music_folder) -> Path:
    """Return the 12 audio files as prepared data: 6 training, 3 validation, 3 test clips, with tags drums and loud."""
    directory = tmp_path_factory.mktemp("prepared")
    prepare(FolderSource(shared_music_folder), 12_000, directory, workers=1)
    return directory


@pytest.fixture(scope="session")
def dataset(prepared) -> Dataset:
    return Dataset.of_manifest(read_manifest(prepared))
