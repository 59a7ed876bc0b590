"""The model trains under the JAX backend on a machine without TensorFlow: in a process where its import fails."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from genre_tagger.config import parse_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.training.losses import WeightedBinaryCrossentropy
from genre_tagger.training.optimizer import FusedAdam

TINY = {
    "frontend": {"n_mels": 40},
    "window": {"seconds": 0.5},
    "model": {
        "cnn": {
            "kernels": [36, 4],
            "pools": [[2, 2], [2, 2]],
            "dropouts": [0, 0],
            "squeeze_excite": "max",
            "output_width": 4,
        },
        "cascade": {"width": 6},
        "wavenet": {
            "dilation_depth": 2,
            "blocks": 1,
            "residual_channels": 4,
            "dilation_channels": 4,
            "skip_channels": 6,
            "output_width": 4,
        },
        "head": {"widths": [6], "dropout": 0.0},
    },
}
# The layers of the other presets, all in one model.
OTHER_LAYERS = {
    **TINY,
    "model": {
        **TINY["model"],
        "cnn": {**TINY["model"]["cnn"], "kernels": [8, 4], "block": "resnext", "cardinality": 2}
        | {"squeeze_excite": None},
        "wavenet": {**TINY["model"]["wavenet"], "attention": {"heads": 2, "pool_frames": 4}},
        "crnn": {"kernels": [4], "pools": [[4, 4]], "dropouts": [0], "recurrent_widths": [4, 4], "output_dropout": 0},
        "short_chunk": {"kernels": [4, 6]},
        "musicnn": {
            "timbral_filters": 2,
            "temporal_filters": 2,
            "midend_filters": 2,
            "output_width": 4,
            "dropout": 0,
        },
    },
}
STEPS = 3
QUICK_COMPILE = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

SCRIPT = """
import json, sys

sys.modules["tensorflow"] = None  # every import of it now fails
import keras, librosa
import numpy as np
from genre_tagger.frontend import LogMelSpectrogram
from genre_tagger.models import tagger
from genre_tagger.training import losses, optimizer

folder, steps = sys.argv[1], int(sys.argv[2])
batch = np.load(f"{folder}/batch.npz")
layer = LogMelSpectrogram()
expected = [
    librosa.power_to_db(librosa.feature.melspectrogram(y=clip, sr=12_000, n_fft=512, hop_length=256, n_mels=96) ** 2)
    for clip in batch["x"]
]
log_mel_error = np.abs(np.asarray(layer(batch["x"])) - np.stack(expected).swapaxes(1, 2)).max()

model = keras.models.load_model(f"{folder}/model.keras")
answer = {
    "backend": keras.backend.backend(),
    "log_mel_error_db": float(log_mel_error),
    "losses": [float(model.train_on_batch(batch["x"], batch["y"])) for _ in range(steps)],
    "probabilities": model.predict(batch["x"], verbose=0).tolist(),
    "tensorflow_modules": [name for name in sys.modules if name.startswith("tensorflow.")],
}
print(json.dumps(answer))
"""


def make_batch(samples):
    rng = np.random.default_rng(0)
    y = rng.integers(-1, 2, (4, 3)).astype("float32")
    return {"x": rng.normal(0, 0.1, (4, samples)).astype("float32"), "y": y}


def run_under_jax(folder):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK_COMPILE}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
@pytest.mark.parametrize(
    "values", [TINY, pytest.param(OTHER_LAYERS, marks=pytest.mark.slow)], ids=["parallel", "other layers"]
)
def test_trains_under_jax_as_under_tensorflow(tmp_path, values):
    """A model saved here goes on training there without TensorFlow, with the same losses."""
    config = parse_config(values)
    model = build_tagger(config, 3)
    model.compile(FusedAdam(1e-2), loss=WeightedBinaryCrossentropy(1.1))
    batch = make_batch(config.window_samples)
    np.savez(tmp_path / "batch.npz", **batch)
    model.save(tmp_path / "model.keras")
    answer = run_under_jax(tmp_path)
    assert answer["backend"] == "jax"
    assert answer["tensorflow_modules"] == []
    assert answer["log_mel_error_db"] <= 1e-3
    losses = [float(model.train_on_batch(batch["x"], batch["y"])) for _ in range(STEPS)]
    assert np.ptp(losses) > 1e-2  # it trained
    np.testing.assert_allclose(answer["losses"], losses, rtol=1e-3)
    np.testing.assert_allclose(answer["probabilities"], model.predict(batch["x"], verbose=0), atol=1e-2)
