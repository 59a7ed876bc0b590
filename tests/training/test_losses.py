"""The weighted binary cross-entropy compared with NumPy: values, alpha, unknown labels, extremes, dtypes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from genre_tagger.training.losses import WeightedBinaryCrossentropy

WORST = -np.log(1e-5)  # the loss of a wrong prediction with probability 0 or 1, 11.51


def by_hand(y_true, y_pred, alpha):
    """Compute the published formula in float64, averaged over the known labels."""
    p = np.asarray(y_pred, "float64")
    values = -np.where(y_true == 1, alpha * np.log(p + 1e-5), np.log(1 - p + 1e-5))
    return values[y_true >= 0].mean()


def random_batch(seed=0, shape=(8, 5)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, shape).astype("float32"), rng.uniform(0, 1, shape).astype("float32")


@pytest.mark.parametrize("alpha", [1.0, 1.1, 3.0])
def test_published_value_of_a_missed_positive(alpha):
    loss = WeightedBinaryCrossentropy(alpha)(np.array([[1.0]]), np.array([[0.0]]))
    assert float(loss) == pytest.approx(11.51 * alpha, rel=1e-3)


@pytest.mark.parametrize("alpha", [1.0, 1.1])
@pytest.mark.parametrize(
    "label, probability, expected",
    [(1, 1, 0.0), (0, 0, 0.0), (0, 1, WORST), (1, 0.5, np.log(2)), (0, 0.5, np.log(2)), (0, 0.25, -np.log(0.75))],
)
def test_single_values(label, probability, expected, alpha):
    loss = WeightedBinaryCrossentropy(alpha)(np.array([[float(label)]]), np.array([[float(probability)]]))
    assert float(loss) == pytest.approx(expected * (alpha if label else 1), abs=1e-3)


@pytest.mark.parametrize("alpha", [1.0, 1.1, 2.0])
def test_mean_over_tags_and_clips(alpha):
    y_true, y_pred = random_batch()
    assert float(WeightedBinaryCrossentropy(alpha)(y_true, y_pred)) == pytest.approx(
        by_hand(y_true, y_pred, alpha), rel=1e-5
    )


def test_alpha_weights_the_positive_term_only():
    y_true, y_pred = random_batch()
    single, double = (float(WeightedBinaryCrossentropy(alpha)(y_true, y_pred)) for alpha in (1.0, 2.0))
    positive = -(y_true * np.log(y_pred + 1e-5)).mean()
    assert double - single == pytest.approx(positive, rel=1e-4)


def test_unknown_labels_are_ignored():
    y_true, y_pred = random_batch()
    y_true[0, :4] = y_true[3, 1] = y_true[7] = -1
    loss = WeightedBinaryCrossentropy(1.1)
    value = float(loss(y_true, y_pred))
    assert value == pytest.approx(by_hand(y_true, y_pred, 1.1), rel=1e-5)
    y_pred[y_true < 0] = 0.123
    assert float(loss(y_true, y_pred)) == value


def test_unknown_labels_have_no_gradient():
    y_true, y_pred = random_batch()
    y_true[:, 2] = -1
    gradient = gradient_of(WeightedBinaryCrossentropy(1.1), y_true, y_pred)
    assert (gradient[:, 2] == 0).all()
    assert (np.delete(gradient, 2, axis=1) != 0).all()


def test_all_unknown_is_zero():
    y_true, y_pred = np.full((3, 4), -1.0, "float32"), np.linspace(0, 1, 12, dtype="float32").reshape(3, 4)
    loss = WeightedBinaryCrossentropy(1.1)
    assert float(loss(y_true, y_pred)) == 0.0
    np.testing.assert_array_equal(gradient_of(loss, y_true, y_pred), 0.0)


def gradient_of(loss, y_true, y_pred):
    y_pred = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred)
    return tape.gradient(value, y_pred).numpy()


@pytest.mark.parametrize("alpha", [1.0, 1.1])
def test_gradient_at_the_extremes(alpha):
    y_true, y_pred = np.array([[1.0, 0.0, 1.0, 0.0]], "float32"), np.array([[0.0, 0.0, 1.0, 1.0]], "float32")
    gradient = gradient_of(WeightedBinaryCrossentropy(alpha), y_true, y_pred)
    np.testing.assert_allclose(gradient, [[-alpha * 1e5 / 4, 1 / 4, -alpha / 4, 1e5 / 4]], rtol=2e-2)


@pytest.mark.parametrize("label_dtype", ["int8", "int64", "float16", "float64", "bool"])
def test_labels_of_any_dtype(label_dtype):
    y_true, y_pred = random_batch()
    loss = WeightedBinaryCrossentropy(1.1)(y_true.astype(label_dtype), y_pred)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(by_hand(y_true, y_pred, 1.1), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_are_computed_in_float32(dtype):
    y_true, y_pred = random_batch()
    y_pred[0] = (0, 1, 0, 1, 0)
    y_half = tf.cast(y_pred, dtype)
    loss = float(WeightedBinaryCrossentropy(1.1)(y_true, y_half))
    assert loss == pytest.approx(by_hand(y_true, tf.cast(y_half, "float64").numpy(), 1.1), rel=1e-5)


def test_mean_over_the_batches_of_fit():
    """The loss that Keras logs is the value of the formula on the batch."""
    y_true, y_pred = random_batch()
    model = keras.Sequential([keras.Input((5,)), keras.layers.Identity()])
    model.compile(loss=WeightedBinaryCrossentropy(1.1))
    assert model.evaluate(y_pred, y_true, verbose=0) == pytest.approx(by_hand(y_true, y_pred, 1.1), rel=1e-5)


def test_serialisation():
    loss = WeightedBinaryCrossentropy(1.3, name="other")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (copy.alpha, copy.name) == (1.3, "other")
    y_true, y_pred = random_batch()
    assert float(copy(y_true, y_pred)) == float(loss(y_true, y_pred))
