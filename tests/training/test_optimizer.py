"""Fused Adam compared with Keras' Adam: equal weights at every step, also with schedules and clipping."""

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
    """Train a tiny model and return its weights after every step."""
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
    assert np.ptp(expected, axis=0).max() > 1e-4  # the weights changed
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


def test_training_continues_from_a_saved_model(tmp_path):
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
