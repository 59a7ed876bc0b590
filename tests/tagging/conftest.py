"""A run of a tiny model with random weights, and a tagger by a stand-in."""

import keras
import numpy as np
import pytest
from tiny_tagger import TAGS, TINY, Measuring

from genre_tagger.config import parse_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import create_run
from genre_tagger.tagging.tagger import Tagger


@pytest.fixture(scope="session")
def config():
    """Of both."""
    return parse_config(TINY)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory, config):
    """(run directory, its model); nothing may be changed in it."""
    keras.config.set_dtype_policy("float32")
    model = build_tagger(config, len(TAGS))
    last = model.get_layer("probabilities")
    last.kernel.assign(np.random.default_rng(0).normal(0, 3, last.kernel.shape))
    run = create_run(tmp_path_factory.mktemp("run") / "tiny", config, {"source": None, "hash": ""}, TAGS)
    model.save(run.model)
    return run.path, model


@pytest.fixture
def measuring(config):
    """A tagger whose model counts the windows that it scores."""
    return Tagger(Measuring(), config, TAGS, "0123456789abcdef")
