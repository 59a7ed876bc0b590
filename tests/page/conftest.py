"""A run of a tiny model with random weights, a fake model, and uploads."""

import hashlib

import keras
import numpy as np
import pytest
from tiny_tagger import TINY

from genre_tagger.config import parse_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.record import RunRecord

TAGS = ("rock", "<b>jazz</b>", "no drums", "café", "${1 + 1} {{value}}")


class Loudness:
    """A fake model. Its scores are the peak of a window, then four constants."""

    def __init__(self):
        self.windows = 0

    def __call__(self, windows, embed):
        self.windows += len(windows)
        constants = np.tile(np.float32([0.25, 0.75, 0.5, 0.01]), (len(windows), 1))
        return np.hstack([np.abs(windows).max(axis=1, keepdims=True), constants]), None


@pytest.fixture(scope="session")
def config():
    """Return a configuration with windows of 0.5 s every 0.2 s, at 8 kHz."""
    return parse_config(TINY)


@pytest.fixture(scope="session")
def tags():
    """Return the tags of the run and of the fake model. Some look like a template or like HTML."""
    return TAGS


@pytest.fixture
def loudness():
    """Return the fake model."""
    return Loudness()


@pytest.fixture(scope="session")
def run(tmp_path_factory, config):
    """Return the run directory. Tests must not change it."""
    keras.config.set_dtype_policy("float32")
    model = build_tagger(config, len(TAGS))
    last = model.get_layer("probabilities")
    last.kernel.assign(np.random.default_rng(0).normal(0, 3, last.kernel.shape))
    run = create_run(tmp_path_factory.mktemp("run") / "tiny", config, RunRecord(), TAGS)
    model.save(run.model)
    return run.path


@pytest.fixture
def upload(tmp_path):
    """Return a function that moves a file to where Gradio stores uploads and returns the path that a browser gets.

    The files are stored below tmp_path/uploads.
    """

    def put(file):
        folder = tmp_path / "uploads" / hashlib.sha256(file.read_bytes()).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        return str(file.rename(folder / file.name))

    return put
