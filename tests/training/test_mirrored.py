"""Several devices: the whole tagger under MirroredStrategy, on two logical CPUs in a process of its own."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from genre_tagger.config import load_config
from genre_tagger.training.fit import compiled_tagger

config = load_config(overrides=[
    "window.seconds=0.5", "model.cascade.width=8", "model.head.widths=[8]", "training.learning_rate=0.01",
    "model.cnn={kernels: [4], pools: [[2, 2]], dropouts: [0.0], output_width: 4}",
    "model.wavenet={dilation_depth: 2, blocks: 1, skip_channels: 8, output_width: 4}",
])
rng = np.random.default_rng(0)
waveform = rng.normal(0, 0.1, (8, config.window_samples)).astype("float32")
labels = np.tile([[0, 1, 1], [1, 0, 0]], (4, 1)).astype("float32")
data = tf.data.Dataset.from_tensors((waveform, labels)).unbatch().batch(8).repeat()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = compiled_tagger(config, [True] * 3, steps=6)
history = model.fit(data, steps_per_epoch=6, epochs=2, verbose=0).history
norm = model.get_layer("cnn_block1_conv")
print(json.dumps({
    "loss": history["loss"],
    "moving_variance": np.asarray(norm.moving_variance).tolist(),
    "scores": model.predict_on_batch(waveform).tolist(),
}))
"""


@pytest.mark.slow
def test_the_tagger_trains_on_two_devices():
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["loss"][1] < found["loss"][0]
    assert not np.allclose(found["moving_variance"], 1.0)
    assert np.isfinite(found["scores"]).all()
