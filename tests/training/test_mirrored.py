"""Training on several devices: MirroredStrategy on two logical CPUs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2

from genre_tagger.config import load_config
from genre_tagger.models.layers import ConvBatchNorm, SkipSum
from genre_tagger.training.fit import compiled_tagger
from genre_tagger.training.optimizer import FusedAdam


def trained_tagger():
    config = load_config(overrides=[
        "window.seconds=0.2", "model.head.widths=[8]", "training.learning_rate=0.01",
        "model.cnn={kernels: [4], pools: [[2, 2]], dropouts: [0.0], output_width: 4}",
        "model.wavenet={cascade: {width: 8}, dilation_depth: 1, blocks: 1, skip_channels: 8, output_width: 4}",
    ])
    rng = np.random.default_rng(0)
    waveform = rng.normal(0, 0.1, (8, config.window_samples)).astype("float32")
    labels = np.tile([[0, 1, 1], [1, 0, 0]], (4, 1)).astype("float32")
    data = tf.data.Dataset.from_tensors((waveform, labels)).unbatch().batch(8).repeat()
    with strategy.scope():
        model = compiled_tagger(config, [True] * 3, steps=6)
    history = model.fit(data, steps_per_epoch=6, epochs=2, verbose=0).history
    norm = model.get_layer("cnn_block1_conv")
    return {
        "loss": history["loss"],
        "moving_variance": np.asarray(norm.moving_variance).tolist(),
        "scores": model.predict_on_batch(waveform).tolist(),
    }


def trained_weights(optimizer):
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    with strategy.scope():
        inputs = keras.Input((6, 4))
        x = SkipSum(3)([inputs, keras.layers.Activation("elu")(ConvBatchNorm(4, (3,))(inputs))])
        outputs = keras.layers.Dense(2)(keras.layers.Flatten()(x[:, -1:]))
        model = keras.Model(inputs, outputs)
        model.compile(optimizer(0.01), loss="mse")
    history = model.fit(rng.normal(size=(24, 6, 4)), rng.normal(size=(24, 2)), batch_size=8, verbose=0, shuffle=False)
    return np.concatenate([*(weight.ravel() for weight in model.get_weights()), history.history["loss"]]).tolist()


optimizers = {"fused": FusedAdam, "adam": keras.optimizers.Adam}
weights = {name: trained_weights(optimizer) for name, optimizer in optimizers.items()}
print(json.dumps({"tagger": trained_tagger(), **weights}))
"""


@pytest.fixture(scope="module")
def found():
    """Result of a separate process, because logical devices must be configured before TensorFlow starts."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_tagger_trains_on_two_devices(found):
    tagger = found["tagger"]
    assert tagger["loss"][1] < tagger["loss"][0]
    assert not np.allclose(tagger["moving_variance"], 1.0)
    assert np.isfinite(tagger["scores"]).all()


def test_fused_adam_equals_adam_on_two_devices(found):
    assert np.isfinite(found["fused"]).all()
    np.testing.assert_allclose(found["fused"], found["adam"], atol=1e-6)
