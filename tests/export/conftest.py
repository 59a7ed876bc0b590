"""A run of a tiny model with random weights and made-up predictions, exported once; synthetic WAV files."""

import io
import json
import os
import random
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from filelock import FileLock
from model_server import GrpcServer, RestServer

from genre_tagger.config import parse_config
from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions
from genre_tagger.evaluation.predictions import Predictions, write_predictions
from genre_tagger.export.client import Client
from genre_tagger.export.exporter import ExportRequest, export_savedmodel
from genre_tagger.models.tagger import build_tagger, load_tagger
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.record import RunRecord
from genre_tagger.sources.registry import SourceOptions

TAGS = ("rock", "jazz", "drums", "piano", "quiet", "café", "no drums")
TINY = {
    "frontend": {"n_mels": 40},
    "window": {"seconds": 0.5, "hop_seconds": 0.2, "evaluate": "all"},
    "model": {
        "cnn": {"kernels": [6, 5], "pools": [[2, 2], [2, 3]], "dropouts": [0, 0], "output_width": 7},
        "wavenet": {
            "cascade": {"width": 8},
            "dilation_depth": 2,
            "blocks": 2,
            "skip_channels": 10,
            "output_width": 9,
        },
        "head": {"widths": [12]},
    },
}
CLIPS = {"valid": 60, "test": 40}


def tones(rate_hz, seconds, channels=1, seed=0):
    """Return tones spread over the spectrum, with noise, float64 [samples, channels]."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate_hz))[:, None] / rate_hz
    waves = sum(np.sin(2 * np.pi * hertz * times + rng.uniform(0, 6, channels)) for hertz in rng.uniform(50, 5300, 8))
    return 0.05 * waves + 0.02 * rng.standard_normal((times.size, channels)).clip(-3, 3)


def randomise(model, seed=0):
    """Set random biases, scales and statistics. Set the output layer so that its logits for `tones` are around 0."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean", "bias"):
            weight.assign(rng.normal(0, 0.1, weight.shape))
    last = model.get_layer("probabilities")
    clips = np.stack([tones(12_000, 0.5, seed=number)[:, 0] for number in range(32)])
    embedding = keras.Model(model.inputs, last.input).predict(clips.astype(np.float32), verbose=0)
    kernel = rng.normal(0, 1, last.kernel.shape)
    kernel *= 1.5 / (embedding @ kernel).std(axis=0)
    last.kernel.assign(kernel)
    last.bias.assign(-(embedding @ kernel).mean(axis=0))


def make_predictions(seed=0):
    """Return predictions that are somewhat better than chance. The last tag has 2 positives per split."""
    rng = np.random.default_rng(seed)
    splits = np.repeat(list(CLIPS), list(CLIPS.values()))
    labels = rng.integers(0, 2, (len(splits), len(TAGS))).astype(np.int8)
    labels[rng.random(labels.shape) < 0.1] = -1
    labels[:, -1] = 0
    labels[[0, 1, -2, -1], -1] = 1
    scores = np.clip(rng.normal(0.4, 0.2, labels.shape) + 0.2 * (labels == 1), 0.001, 0.999).astype(np.float32)
    names = [f"clip{number}" for number in range(len(splits))]
    return Predictions(names, np.array(names), splits, TAGS, labels, scores)


def make_run(path, config, model):
    """Write a run directory with the files of a trained and evaluated run."""
    source = SourceOptions(source="folder", root=Path("/music"), seed=3)
    run = create_run(path, config, RunRecord(source=source, folder=Path("/data"), hash="c0ffee"), TAGS, ["CPU"])
    model.save(run.model)
    predictions = make_predictions()
    write_predictions(run.predictions, predictions)
    run.metrics.write_text(json.dumps(evaluate_predictions(predictions, replicates=20)))
    return run


def wav_bytes(samples, rate_hz, subtype="PCM_16", container="WAV"):
    """Return a WAV file as bytes, written by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype=subtype, format=container)
    return file.getvalue()


@pytest.fixture(autouse=True)
def seeded():
    """Seed Python and NumPy as in all tests, but not TensorFlow.

    Seeding TensorFlow clears its function caches, so that the next call of each signature takes a second. In these
    tests TensorFlow draws random numbers only for weights, and `build_tagger` sets their seed.
    """
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def config():
    """Return the configuration of the exported run."""
    return parse_config(TINY)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """Return a folder that all worker processes of this test session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "export"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def run(shared_folder, config):
    """Return the run directory. Tests must not change it."""
    run = RunDirectory(shared_folder / "run" / "tiny")
    with FileLock(shared_folder / "run.lock"):
        if not run.metrics.exists():
            keras.config.set_dtype_policy("float32")
            model = build_tagger(config, len(TAGS))
            randomise(model)
            make_run(run.path, config, model)
    return run


@pytest.fixture(scope="session")
def model(run):
    """Return the model of the run."""
    keras.config.set_dtype_policy("float32")
    return load_tagger(run.model)


@pytest.fixture(scope="session")
def predict(model, config):
    """Return a function [windows, samples] -> [windows, tags] that is traced only once, for any number of windows."""
    signature = [tf.TensorSpec([None, config.window_samples], tf.float32)]
    graph = tf.function(lambda windows: model(windows, training=False), input_signature=signature)
    return lambda windows: graph(windows).numpy()


@pytest.fixture(scope="session")
def exported(shared_folder, run):
    """Return the directory of version 1. Tests must not change it."""
    models = shared_folder / "models"
    with FileLock(shared_folder / "models.lock"):
        if not models.exists():
            export_savedmodel(ExportRequest(run.path, models, workers=1))
    return models / "tagger" / "1"


@pytest.fixture(scope="session")
def loaded(exported):
    """Return the exported version, loaded in this process."""
    return tf.saved_model.load(str(exported))


@pytest.fixture(scope="session")
def signatures(loaded):
    """Return the signatures of the exported version."""
    return loaded.signatures


@pytest.fixture(scope="session")
def to_wav():
    """Return `wav_bytes`, a function of samples, rate in Hz, subtype and container that returns bytes."""
    return wav_bytes


@pytest.fixture(scope="session")
def make_tones():
    """Return `tones`, a function of rate in Hz, seconds, channels and seed that returns samples."""
    return tones


@pytest.fixture
def windows(config):
    """Return windows, float32 [5, samples], each with a different level."""
    clips = [tones(config.frontend.sample_rate, config.window.seconds, seed=seed)[:, 0] for seed in range(100, 105)]
    return (np.array([1, 0.3, 0.1, 1.5, 0.01])[:, None] * clips).astype(np.float32)


@pytest.fixture(params=[GrpcServer, RestServer], ids=["grpc", "rest"])
def server(request, monkeypatch):
    """Yield a scripted model server on loopback, once for each protocol."""
    monkeypatch.setenv("NO_PROXY", "*")
    server = request.param()
    yield server
    server.stop()


@pytest.fixture
def patient():
    """Return a function that returns a client of a server. The client waits only 1 ms before it retries."""
    return lambda server, **options: Client(server.address, **{"first_wait_seconds": 0.001, **options})
