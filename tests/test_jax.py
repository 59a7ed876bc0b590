"""Train presets with the JAX backend in a process in which TensorFlow cannot be imported."""

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
# Level 0 is quicker still, but XLA then fuses operations to wrong results.
QUICK_COMPILE = "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"

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
    model.jit_compile = True  # as by default; the model was saved without, and op by op takes twice as long
    return [float(model.train_on_batch(batch["x"], batch["y"])) for _ in range(steps)]


print(json.dumps({
    "backend": keras.backend.backend(),
    "log_mel_error_db": float(np.abs(log_mel - np.stack(expected).swapaxes(1, 2)).max()),
    "losses": {path.stem: answer(path) for path in sorted(folder.glob("*.keras"))},
    "tensorflow_modules": [name for name in sys.modules if name.startswith("tensorflow.")],
}))
"""


def without_dropout(name):
    """Return the tiny preset with fewer layers: one of each kind. Dropout is left out: backends draw it differently."""
    head = {"widths": [6], "dropout": 0}
    if name == "other layers":
        attention = tiny("attention").model.wavenet.model_dump()
        musicnn = {"timbral_filters": 2, "temporal_filters": 2, "midend_filters": 2, "output_width": 4, "dropout": 0}
        cnn, wavenet = blocks_of("resnext", "cnn", 1), {**attention, "cascade": None, "dilation_depth": 1}
        return tiny("resnext", cnn=cnn, wavenet=wavenet, musicnn=musicnn, head=head)
    model = tiny(name).model
    changes = {"head": {**model.head.model_dump(), "dropout": 0}}
    if model.cnn:
        changes["cnn"] = blocks_of(name, "cnn", 1)
    if model.crnn:
        changes["crnn"] = {**blocks_of(name, "crnn", 2), "output_dropout": 0}
    if model.short_chunk:
        changes["short_chunk"] = {"kernels": [8]}
    if name == "best":  # `stable` has the cascade too
        changes["wavenet"] = {**model.wavenet.model_dump(), "cascade": None}
    return tiny(name, **changes)


def blocks_of(name, branch, count):
    """Return a branch of the tiny preset with the given number of convolution blocks."""
    values = getattr(tiny(name).model, branch).model_dump()
    return {**values, "kernels": [8] * count, "pools": [[4, 4]] * count, "dropouts": [0] * count}


def make_batch(samples):
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 2, (4, 3)).astype("float32")
    return {"x": rng.normal(0, 0.1, (4, samples)).astype("float32"), "y": y}


@pytest.fixture(scope="module")
def under_tensorflow(tmp_path_factory):
    """Return the folder of the saved models and their batches, and the losses of each model under TensorFlow."""
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
    """A model that is saved under TensorFlow can be trained under JAX, with the same losses."""
    losses, expected = under_jax["losses"][name], under_tensorflow[1][name]
    assert np.isfinite(losses).all()
    assert np.ptp(losses) > 1e-2  # the weights have changed
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
