"""A run of a tiny model with random weights, and a tagger with a fake model."""

import keras
import numpy as np
import pytest
from tiny_tagger import TAGS, TINY, Measuring, noise

from genre_tagger.config import parse_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.record import RunRecord
from genre_tagger.tagging.tagger import Tagger


@pytest.fixture(scope="session")
def config():
    """Return the configuration of the run and of the tagger."""
    return parse_config(TINY)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, config):
    """Return the run directory and its model. Tests must not change them."""
    keras.config.set_dtype_policy("float32")
    model = build_tagger(config, len(TAGS))
    last = model.get_layer("probabilities")
    embedding = keras.Model(model.inputs[0], last.input)(noise(3).reshape(-1, config.window_samples)).numpy()
    kernel = np.random.default_rng(0).normal(size=last.kernel.shape)
    kernel /= (embedding @ kernel).std(axis=0)
    last.kernel.assign(kernel)
    last.bias.assign(np.linspace(-1, 1, len(TAGS)) - (embedding @ kernel).mean(axis=0))
    run = create_run(tmp_path_factory.mktemp("run") / "tiny", config, RunRecord(), TAGS)
    model.save(run.model)
    return run.path, model


@pytest.fixture
def measuring(config):
    """Return a tagger with a fake model that counts the windows that it scores."""
    return Tagger(Measuring(), config, TAGS, "0123456789abcdef")
