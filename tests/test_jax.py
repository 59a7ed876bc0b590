"""Presets train under the JAX backend on a machine without TensorFlow: in a process where its import fails."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_presets import tiny

from genre_tagger.models.tagger import build_tagger
from genre_tagger.training.losses import WeightedBinaryCrossentropy
from genre_tagger.training.optimizer import FusedAdam

NAMED = ("stable", "crnn_baseline", "short_chunk_resnet", "best")
MODELS = (*NAMED, "other layers")
STEPS = 3
QUICK_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

SCRIPT = """
import json, sys
from pathlib import Path

sys.modules["tensorflow"] = None  # every import of it now fails
import keras, librosa
import numpy as np
from genre_tagger.frontend import LogMelSpectrogram
from genre_tagger.models import tagger
from genre_tagger.training import losses, optimizer

folder, steps = Path(sys.argv[1]), int(sys.argv[2])
clips = np.random.default_rng(0).normal(0, 0.1, (2, 6000)).astype("float32")
expected = [
    librosa.power_to_db(librosa.feature.melspectrogram(y=clip, sr=12_000, n_fft=512, hop_length=256, n_mels=96) ** 2)
    for clip in clips
]
log_mel = np.asarray(LogMelSpectrogram()(clips))


def answer(path):
    model, batch = keras.models.load_model(path), np.load(path.with_suffix(".npz"))
    return [float(model.train_on_batch(batch["x"], batch["y"])) for _ in range(steps)]


print(json.dumps({
    "backend": keras.backend.backend(),
    "log_mel_error_db": float(np.abs(log_mel - np.stack(expected).swapaxes(1, 2)).max()),
    "losses": {path.stem: answer(path) for path in sorted(folder.glob("*.keras"))},
    "tensorflow_modules": [name for name in sys.modules if name.startswith("tensorflow.")],
}))
"""


def without_dropout(name):
    """The tiny preset; dropout would be drawn by the backend's own generator."""
    if name == "other layers":
        stable = tiny("resnext", head={"widths": [6], "dropout": 0})
        attention = stable.model.wavenet.model_copy(update={"attention": tiny("attention").model.wavenet.attention})
        musicnn = {"timbral_filters": 2, "temporal_filters": 2, "midend_filters": 2, "output_width": 4, "dropout": 0}
        return tiny("resnext", head={"widths": [6], "dropout": 0}, wavenet=attention.model_dump(), musicnn=musicnn)
    config = tiny(name)
    changes = {"head": {**config.model.head.model_dump(), "dropout": 0}}
    if config.model.crnn:
        changes["crnn"] = {**config.model.crnn.model_dump(), "dropouts": [0] * 4, "output_dropout": 0}
    return tiny(name, **changes)


def make_batch(samples):
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 2, (4, 3)).astype("float32")
    return {"x": rng.normal(0, 0.1, (4, samples)).astype("float32"), "y": y}


@pytest.fixture(scope="module")
def under_tensorflow(tmp_path_factory):
    """(folder of the saved models and their batches, the losses of each here)."""
    folder, answers = tmp_path_factory.mktemp("jax"), {}
    for name in MODELS:
        config = without_dropout(name)
        model = build_tagger(config, 3)
        model.compile(FusedAdam(1e-2), loss=WeightedBinaryCrossentropy(config.training.alpha))
        batch = make_batch(config.window_samples)
        np.savez(folder / f"{name}.npz", **batch)
        model.save(folder / f"{name}.keras")
        model.run_eagerly = True  # the reference need not be compiled
        answers[name] = [float(model.train_on_batch(batch["x"], batch["y"])) for _ in range(STEPS)]
    return folder, answers


@pytest.fixture(scope="module")
def under_jax(under_tensorflow):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK_COMPILE}
    command = [sys.executable, "-c", SCRIPT, str(under_tensorflow[0]), str(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_runs_without_tensorflow(under_jax):
    assert under_jax["backend"] == "jax"
    assert under_jax["tensorflow_modules"] == []
    assert under_jax["log_mel_error_db"] <= 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_trains_as_under_tensorflow(under_tensorflow, under_jax, name):
    """A model saved here goes on training there, with the same losses."""
    there, here = under_jax["losses"][name], under_tensorflow[1][name]
    assert np.isfinite(there).all()
    assert np.ptp(there) > 1e-2  # it trained
    np.testing.assert_allclose(there, here, rtol=1e-3)
