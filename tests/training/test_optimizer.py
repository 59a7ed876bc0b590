"""Fused Adam against Keras' own: the same numbers step by step, also with schedules, clipping and on two devices."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from genre_tagger.training.optimizer import FusedAdam

STEPS = 6


def make_model():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(2)])
    return model


def trained_weights(optimizer, jit_compile=False):
    """Weights of the same tiny model after every step of training."""
    rng = np.random.default_rng(0)
    model = make_model()
    model.compile(optimizer, loss="mse", jit_compile=jit_compile)
    weights = []
    for _ in range(STEPS):
        model.train_on_batch(rng.normal(size=(8, 4)), rng.normal(size=(8, 2)))
        weights.append(np.concatenate([weight.ravel() for weight in model.get_weights()]))
    return np.stack(weights)


def schedule():
    return keras.optimizers.schedules.CosineDecay(0.002, decay_steps=STEPS, warmup_target=0.01, warmup_steps=2)


SETTINGS = {
    "defaults": dict,
    "other rates": lambda: {"learning_rate": 0.02, "beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    "schedule": lambda: {"learning_rate": schedule()},
    "clipped norm": lambda: {"learning_rate": 0.01, "global_clipnorm": 0.1},
    "weight decay": lambda: {"learning_rate": 0.01, "weight_decay": 0.05},
    "moving average": lambda: {"learning_rate": 0.01, "use_ema": True, "ema_overwrite_frequency": 3},
    "accumulation": lambda: {"learning_rate": 0.01, "gradient_accumulation_steps": 2},
    "amsgrad": lambda: {"learning_rate": 0.01, "beta_2": 0.3, "amsgrad": True},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_equals_adam_step_by_step(settings):
    expected = trained_weights(keras.optimizers.Adam(**settings()))
    actual = trained_weights(FusedAdam(**settings()))
    assert np.ptp(expected, axis=0).max() > 1e-4  # it moved
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_equals_adam_with_jit_compile():
    expected = trained_weights(keras.optimizers.Adam(0.01))
    np.testing.assert_allclose(trained_weights(FusedAdam(0.01), jit_compile=True), expected, atol=1e-6)


def test_equals_adam_under_loss_scaling():
    wrapped = (keras.optimizers.LossScaleOptimizer(kind(0.01)) for kind in (keras.optimizers.Adam, FusedAdam))
    expected, actual = (trained_weights(optimizer) for optimizer in wrapped)
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_learning_rate_can_be_assigned_between_steps():
    def train(optimizer):
        model = make_model()
        model.compile(optimizer, loss="mse")
        for rate in (0.1, 0.01):
            optimizer.learning_rate = rate
            model.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
        return np.concatenate([weight.ravel() for weight in model.get_weights()])

    np.testing.assert_allclose(train(FusedAdam()), train(keras.optimizers.Adam()), atol=1e-6)


def test_serialisation():
    optimizer = FusedAdam(schedule(), beta_1=0.8, beta_2=0.95, epsilon=1e-4, global_clipnorm=1.0)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(copy) is FusedAdam
    assert copy.get_config() == optimizer.get_config()


def test_training_goes_on_from_a_saved_model(tmp_path):
    x, y = np.random.default_rng(1).normal(size=(2, 8, 4))
    model = make_model()
    model.compile(FusedAdam(0.01), loss="mse")
    model.fit(x, y[:, :2], verbose=0, epochs=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is FusedAdam
    for each in (model, loaded):
        each.fit(x, y[:, :2], verbose=0, epochs=2, shuffle=False)
    for actual, expected in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
from genre_tagger.models.layers import ConvBatchNorm, SkipSum
from genre_tagger.training.optimizer import FusedAdam

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2

def train(optimizer, normed):
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    with strategy.scope():
        x = inputs = keras.Input((6, 4))
        if normed:
            x = SkipSum(3)([x, keras.layers.Activation("elu")(ConvBatchNorm(4, (3,))(x))])
        outputs = keras.layers.Dense(2)(keras.layers.Flatten()(x[:, -1:]))
        model = keras.Model(inputs, outputs)
        model.compile(optimizer(0.01), loss="mse")
    history = model.fit(rng.normal(size=(24, 6, 4)), rng.normal(size=(24, 2)), batch_size=8, verbose=0, shuffle=False)
    weights = [weight.ravel() for weight in model.get_weights()] + [history.history["loss"]]
    return np.concatenate(weights)

for normed in (False, True):
    actual, expected = train(FusedAdam, normed), train(keras.optimizers.Adam, normed)
    assert np.isfinite(actual).all()
    np.testing.assert_allclose(actual, expected, atol=1e-6)
print("equal on two devices")
"""


def test_equals_adam_under_mirrored_strategy():
    """On two logical devices, which must be set up before TensorFlow starts: in a process of its own."""
    done = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "equal on two devices" in done.stdout
