"""A run of a tiny model with random weights and made-up predictions, exported once; WAV files by hand."""

import io
import json

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from model_server import GrpcServer, RestServer

from genre_tagger.config import parse_config
from genre_tagger.evaluation.predictions import Predictions, write_predictions
from genre_tagger.evaluation.report import evaluate_predictions
from genre_tagger.export.client import Client
from genre_tagger.exporting import export_savedmodel
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import create_run

TAGS = ("rock", "jazz", "drums", "piano", "quiet", "café", "no drums")
TINY = {
    "frontend": {"n_mels": 40},
    "window": {"seconds": 0.5, "hop_seconds": 0.2, "evaluate": "all"},
    "model": {
        "cnn": {"kernels": [6, 5], "pools": [[2, 2], [2, 3]], "dropouts": [0, 0], "output_width": 7},
        "cascade": {"width": 8},
        "wavenet": {"dilation_depth": 2, "blocks": 2, "skip_channels": 10, "output_width": 9},
        "head": {"widths": [12]},
    },
}
CLIPS = {"valid": 60, "test": 40}


def tones(rate_hz, seconds, channels=1, seed=0):
    """Tones all over the spectrum in noise, float64 [samples, channels]."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate_hz))[:, None] / rate_hz
    waves = sum(np.sin(2 * np.pi * hertz * times + rng.uniform(0, 6, channels)) for hertz in rng.uniform(50, 5300, 8))
    return 0.05 * waves + 0.02 * rng.standard_normal((times.size, channels)).clip(-3, 3)


def randomise(model, seed=0):
    """Random biases, scales and statistics, and an output whose logits spread around 0 for `tones`."""
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
    """Scores that tell positives from negatives a little; the last tag has 2 positives in a split."""
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
    """A run directory as training and evaluation leave it."""
    data = {"source": {"source": "folder", "root": "/music", "seed": 3}, "hash": "c0ffee", "stream": False}
    run = create_run(path, config, data, TAGS, ["CPU"])
    model.save(run.model)
    predictions = make_predictions()
    write_predictions(run.predictions, predictions)
    run.metrics.write_text(json.dumps(evaluate_predictions(predictions, replicates=20)))
    return run


def wav_bytes(samples, rate_hz, subtype="PCM_16", container="WAV"):
    """A WAV file as bytes, by libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, subtype=subtype, format=container)
    return file.getvalue()


@pytest.fixture(scope="session")
def config():
    """Of the exported run."""
    return parse_config(TINY)


@pytest.fixture(scope="session")
def model(config):
    """The trained model."""
    keras.config.set_dtype_policy("float32")
    model = build_tagger(config, len(TAGS))
    randomise(model)
    return model


@pytest.fixture(scope="session")
def predict(model, config):
    """`model.predict` without tracing anew for each number of windows: [windows, samples] -> [windows, tags]."""
    signature = [tf.TensorSpec([None, config.window_samples], tf.float32)]
    graph = tf.function(lambda windows: model(windows, training=False), input_signature=signature)
    return lambda windows: graph(windows).numpy()


@pytest.fixture(scope="session")
def run(tmp_path_factory, config, model):
    """Its run directory; nothing may be changed in it."""
    return make_run(tmp_path_factory.mktemp("run") / "tiny", config, model)


@pytest.fixture(scope="session")
def exported(tmp_path_factory, run):
    """The directory of version 1."""
    return export_savedmodel(run.path, tmp_path_factory.mktemp("models"), workers=1, progress=None).path


@pytest.fixture(scope="session")
def signatures(exported):
    """The signatures of the exported version, in this process."""
    loaded = tf.saved_model.load(str(exported))
    pytest.loaded_for_export_tests = loaded  # signatures alone do not keep its variables alive
    return loaded.signatures


@pytest.fixture(scope="session")
def to_wav():
    """`wav_bytes`: samples, rate in Hz, subtype and container to bytes."""
    return wav_bytes


@pytest.fixture(scope="session")
def make_tones():
    """`tones`: rate in Hz, seconds, channels and seed to samples."""
    return tones


@pytest.fixture
def windows(config):
    """float32 [5, samples] of different loudness."""
    clips = [tones(config.frontend.sample_rate, config.window.seconds, seed=seed)[:, 0] for seed in range(100, 105)]
    return (np.array([1, 0.3, 0.1, 1.5, 0.01])[:, None] * clips).astype(np.float32)


@pytest.fixture(params=[GrpcServer, RestServer], ids=["grpc", "rest"])
def server(request, monkeypatch):
    """A scripted model server on loopback, of either protocol."""
    monkeypatch.setenv("NO_PROXY", "*")
    server = request.param()
    yield server
    server.stop()


@pytest.fixture
def patient():
    """Makes a client of a server that waits little."""
    return lambda server, **options: Client(server.address, **{"first_wait_seconds": 0.001, **options})
