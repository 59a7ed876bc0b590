"""The layers compared with stock Keras and NumPy: outputs, moving statistics, gradients, precision, configuration."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from genre_tagger.models.layers import (
    CausalTaps,
    ConvBatchNorm,
    GatedActivation,
    LastFrame,
    LastFrames,
    SkipSum,
)

MOMENTUM = 0.8
STEPS = 3
NORM = ("gamma", "beta", "moving_mean", "moving_variance")

# Kernel size, padding, input channels, filters, and whether the batch statistics are computed from the input. They are
# if there are few inputs and many filters.
CONVOLUTIONS = [
    ((3,), "same", 4, 6, False),
    ((3,), "valid", 4, 6, False),
    ((1,), "same", 2, 9, True),
    ((3,), "same", 1, 13, True),
    ((4,), "same", 1, 17, True),
    ((3,), "valid", 1, 13, True),
    ((3, 3), "same", 3, 5, False),
    ((2, 3), "valid", 3, 5, False),
    ((3, 3), "same", 1, 40, True),
    ((2, 3), "same", 1, 25, True),
    ((2, 3), "valid", 1, 25, True),
]
CONVOLUTION_IDS = [
    f"{len(size)}d_{'x'.join(map(str, size))}_{padding}_{'input' if by_input else 'output'}_statistics"
    for size, padding, _, _, by_input in CONVOLUTIONS
]


def random_values(shape, seed=0, centre=0.5):
    return np.random.default_rng(seed).normal(centre, 1.0, shape).astype("float32")


def randomise(layer):
    """Assign random weights with a positive moving variance, so that no scale is 1 and no offset is 0."""
    for number, weight in enumerate(layer.weights):
        value = random_values(weight.shape, seed=number + 1)
        weight.assign(np.abs(value) + 0.1 if "variance" in weight.name else value)


def assert_close(actual, expected, tolerance=1e-4):
    """Check the largest error relative to the largest value."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-3)


def gradients(call, inputs, variables):
    """Return the gradients of a scalar function of the output with respect to inputs and variables."""
    inputs = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = call(inputs)
        loss = ops.sum(y * random_values(y.shape, seed=9) + y**2)
    return tape.gradient(loss, [*inputs, *(variable.value for variable in variables)])


class TestConvBatchNorm:
    def make_pair(self, case, use_bias=True):
        """Return the layer, two stock Keras layers with the same weights, their model, and an input."""
        size, padding, channels, filters, _ = case
        x = random_values((3, *((7, 6)[: len(size)]), channels))
        layer = ConvBatchNorm(filters, size, padding=padding, use_bias=use_bias, momentum=MOMENTUM)
        layer.build(x.shape)
        randomise(layer)
        stock = layers.Conv1D if len(size) == 1 else layers.Conv2D
        convolution = stock(filters, size, padding=padding, use_bias=use_bias)
        norm = layers.BatchNormalization(momentum=MOMENTUM)
        reference = keras.Sequential([convolution, norm])
        reference(x)
        convolution.kernel.assign(ops.reshape(layer.kernel, convolution.kernel.shape))
        if use_bias:
            convolution.bias.assign(layer.bias)
        for name in NORM:
            getattr(norm, name).assign(getattr(layer, name))
        return layer, convolution, norm, reference, x

    @pytest.mark.parametrize("case", CONVOLUTIONS, ids=CONVOLUTION_IDS)
    def test_equals_convolution_and_batch_norm(self, case):
        layer, _, norm, reference, x = self.make_pair(case)
        assert_close(layer(x), reference(x))
        for step in range(STEPS):
            x = random_values(x.shape, seed=step, centre=step)
            assert_close(layer(x, training=True), reference(x, training=True))
        assert_close(layer.moving_mean, norm.moving_mean)
        assert_close(layer.moving_variance, norm.moving_variance)
        assert_close(layer(x), reference(x))

    @pytest.mark.parametrize("case", CONVOLUTIONS, ids=CONVOLUTION_IDS)
    def test_origin_of_the_batch_statistics(self, case):
        """The fused batch norm is in the graph only if the statistics are computed from the output."""
        layer, *_, x = self.make_pair(case)
        graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.constant(x)).graph
        is_fused = any(operation.type.startswith("FusedBatchNorm") for operation in graph.get_operations())
        assert is_fused != case[-1]

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("case", CONVOLUTIONS, ids=CONVOLUTION_IDS)
    def test_gradients(self, case, training):
        layer, convolution, norm, reference, x = self.make_pair(case)
        weights = [layer.kernel, layer.gamma, layer.beta, layer.bias]
        *actual, bias = gradients(lambda x: layer(x[0], training=training), [x], weights)
        weights = [convolution.kernel, norm.gamma, norm.beta, convolution.bias]
        *expected, expected_bias = gradients(lambda x: reference(x[0], training=training), [x], weights)
        for found, wanted in zip(actual, expected, strict=True):
            assert_close(np.reshape(found, wanted.shape), wanted)
        if training:  # batch norm cancels the bias
            np.testing.assert_allclose(bias, 0.0, atol=1e-4 * np.abs(expected[-1]).max())
        else:
            assert_close(bias, expected_bias)

    def test_without_bias(self):
        layer, _, _, reference, x = self.make_pair(((1,), "same", 8, 4, False), use_bias=False)
        assert layer.bias is None
        assert_close(layer(x, training=True), reference(x, training=True))
        assert_close(layer(x), reference(x))

    @pytest.mark.parametrize("case", CONVOLUTIONS, ids=CONVOLUTION_IDS)
    def test_output_shape(self, case):
        layer, _, _, reference, x = self.make_pair(case)
        assert tuple(layer.compute_output_shape(x.shape)) == tuple(reference(x).shape)
        unknown = layer.compute_output_shape((None,) * (x.ndim - 1) + (x.shape[-1],))
        assert tuple(unknown) == (None,) * (x.ndim - 1) + (layer.filters,)


class TestCausalTaps:
    @pytest.mark.parametrize("dilation", [1, 2, 5, 20])
    @pytest.mark.parametrize("kernel_size", [2, 3])
    def test_equals_causal_convolution(self, kernel_size, dilation):
        x = random_values((2, 12, 3))
        stock = layers.Conv1D(4, kernel_size, padding="causal", dilation_rate=dilation, use_bias=False)
        expected = stock(x)
        taps = CausalTaps(kernel_size, dilation)
        kernel = ops.reshape(stock.kernel, (kernel_size * 3, 4))
        assert_close(ops.matmul(taps(x), kernel), expected, 1e-6)
        assert taps(x).shape == taps.compute_output_shape(x.shape)

    def test_future_changes_no_earlier_frame(self):
        x = random_values((1, 12, 2))
        later = x.copy()
        later[:, 7:] += 1.0
        taps = CausalTaps(3, 2)
        np.testing.assert_array_equal(taps(later)[:, :7], taps(x)[:, :7])


class TestGatedActivation:
    def test_sigmoid_gate(self):
        x = random_values((2, 5, 6))
        expected = np.tanh(x[..., :3]) / (1 + np.exp(-x[..., 3:]))
        np.testing.assert_allclose(GatedActivation("sigmoid")(x), expected, atol=1e-6)

    def test_elu_gate(self):
        x = random_values((2, 5, 6), centre=0.0)
        gate = x[..., 3:]
        expected = np.tanh(x[..., :3]) * np.where(gate > 0, gate, np.expm1(gate))
        np.testing.assert_allclose(GatedActivation("elu")(x), expected, atol=1e-6)

    def test_output_shape(self):
        layer = GatedActivation()
        assert layer.compute_output_shape((None, 5, 6)) == (None, 5, 3)
        assert layer(random_values((2, 5, 6))).shape == (2, 5, 3)


class TestSkipSum:
    FILTERS = 5

    def make_pair(self, depth=3, channels=4):
        """Return the layer and its definition: a Dense and a BatchNormalization per input, with the same weights."""
        inputs = [random_values((3, 6, channels), seed=20 + number, centre=number) for number in range(depth)]
        layer = SkipSum(self.FILTERS, momentum=MOMENTUM)
        layer.build([x.shape for x in inputs])
        randomise(layer)
        denses = [layers.Dense(self.FILTERS, use_bias=False) for _ in inputs]
        norms = [layers.BatchNormalization(momentum=MOMENTUM) for _ in inputs]
        for number, (x, dense, norm) in enumerate(zip(inputs, denses, norms, strict=True)):
            norm(dense(x))
            dense.kernel.assign(layer.kernel[number])
            for name in NORM:
                getattr(norm, name).assign(getattr(layer, name)[number])
        return layer, denses, norms, inputs

    def plain_sum(self, inputs, denses, norms, training):
        return sum(norm(dense(x), training=training) for x, dense, norm in zip(inputs, denses, norms, strict=True))

    @pytest.mark.parametrize("depth, channels", [(1, 4), (3, 4), (2, 7)])
    def test_training(self, depth, channels):
        layer, denses, norms, inputs = self.make_pair(depth, channels)
        for step in range(STEPS):
            shifted = [x * (step + 1) + step for x in inputs]
            expected = self.plain_sum(shifted, denses, norms, training=True)
            assert_close(layer(shifted, training=True), expected)
        for name in ("moving_mean", "moving_variance"):
            assert_close(getattr(layer, name), np.stack([getattr(norm, name) for norm in norms]))

    def test_gradients(self):
        layer, denses, norms, inputs = self.make_pair()
        depth = len(inputs)
        actual = gradients(lambda x: layer(x, training=True), inputs, [layer.kernel, layer.gamma, layer.beta])
        variables = [
            weight
            for dense, norm in zip(denses, norms, strict=True)
            for weight in (dense.kernel, norm.gamma, norm.beta)
        ]
        expected = gradients(lambda x: self.plain_sum(x, denses, norms, training=True), inputs, variables)
        for found, wanted in zip(actual[:depth], expected[:depth], strict=True):
            assert_close(found, wanted)
        for place, found in enumerate(actual[depth:]):
            assert_close(found, np.stack(expected[depth + place :: 3]))

    def test_inference_is_the_last_frame(self):
        layer, denses, norms, inputs = self.make_pair()
        expected = self.plain_sum(inputs, denses, norms, training=False)
        assert_close(layer(inputs), expected[:, -1:])

    def test_output_shape(self):
        layer, *_, inputs = self.make_pair()
        assert layer.compute_output_shape([(None, 6, 4)] * 3) == (None, 6, self.FILTERS)
        assert layer(inputs, training=True).shape == (3, 6, self.FILTERS)

    def test_initial_scale_is_one_skip_convolutions(self):
        """The limit is Glorot's for a single 1x1 convolution, not for the stacked kernel."""
        layer = SkipSum(64)
        layer.build([(None, 6, 32)] * 4)
        limit = (6 / (32 + 64)) ** 0.5
        largest = np.abs(np.asarray(layer.kernel)).max()
        assert 0.95 * limit < largest <= limit


class TestLastFrames:
    @pytest.mark.parametrize("count", [1, 3, 6, 10])
    def test_cuts_at_inference_only(self, count):
        x = random_values((2, 6, 3))
        layer = LastFrames(count)
        np.testing.assert_array_equal(layer(x, training=True), x)
        np.testing.assert_array_equal(layer(x), x[:, -count:])

    def test_last_frame(self):
        x = random_values((2, 6, 3))
        np.testing.assert_array_equal(LastFrame()(x), x[:, -1])
        assert LastFrame().compute_output_shape((None, 6, 3)) == (None, 3)


CONFIGURED = {
    "conv_1d": (ConvBatchNorm(9, (3,), padding="valid", use_bias=False, momentum=0.7, epsilon=1e-2), (4, 8, 2)),
    "conv_2d": (ConvBatchNorm(3, (3, 2), momentum=0.7), (2, 6, 5, 2)),
    "causal_taps": (CausalTaps(3, 2), (2, 8, 2)),
    "gate": (GatedActivation("elu"), (2, 8, 4)),
    "last_frames": (LastFrames(5), (2, 8, 4)),
    "last_frame": (LastFrame(), (2, 8, 4)),
}


@pytest.mark.parametrize("layer, shape", CONFIGURED.values(), ids=CONFIGURED)
def test_configuration_round_trip(layer, shape):
    x = random_values(shape)
    expected = layer(x)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    copy(x)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(x), expected)


def test_skip_sum_configuration_round_trip():
    layer = SkipSum(7, momentum=0.6, epsilon=1e-2, name="skips")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert (copy.filters, copy.momentum, copy.epsilon) == (7, 0.6, 1e-2)


def make_small_model():
    """Return a small model with every layer of the module.

    Its convolutions compute batch statistics from the input and from the output, for images and for sequences.
    """
    keras.utils.set_random_seed(5)
    inputs = keras.Input((8, 6))
    image = ops.expand_dims(inputs, -1)
    image = ConvBatchNorm(40, (3, 3), name="image_by_input")(image)
    image = ConvBatchNorm(3, (3, 3), padding="valid", name="image_by_output")(image)
    x = LastFrames(7)(inputs)
    skips = []
    for number, dilation in enumerate((1, 2)):
        x = ConvBatchNorm(8, (1,), name=f"filter_gate{number}")(CausalTaps(2, dilation)(x))
        x = GatedActivation()(x)
        skips.append(x)
    x = ConvBatchNorm(40, (1,), name="sequence_by_input")(SkipSum(6)(skips))
    x = layers.Concatenate()([LastFrame()(x), layers.GlobalMaxPooling2D()(image)])
    return keras.Model(inputs, layers.Dense(2, dtype="float32")(x))


def train_small_model(optimizer=None, **compile_options):
    """Return the model after a few training steps and the loss of every step."""
    model = make_small_model()
    model.compile(optimizer or keras.optimizers.SGD(0.01), loss="mse", **compile_options)
    x, y = random_values((STEPS, 4, 8, 6)), random_values((STEPS, 4, 2), seed=1)
    losses = [float(model.train_on_batch(*batch)) for batch in zip(x, y, strict=True)]
    return model, losses


@pytest.fixture(scope="module")
def plain_run():
    return train_small_model()


def test_jit_compile_changes_nothing(plain_run):
    plain, plain_losses = plain_run
    model, losses = train_small_model(jit_compile=True)
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-4)
    for actual, expected in zip(model.get_weights(), plain.get_weights(), strict=True):
        assert_close(actual, expected, 1e-3)
    x = random_values((4, 8, 6))
    assert_close(model.predict_on_batch(x), plain.predict_on_batch(x), 1e-3)


@pytest.fixture
def precision():
    """Return a function that sets the global precision policy for one test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("policy, tolerance", [("mixed_bfloat16", 0.1), ("mixed_float16", 0.02)])
def test_half_precision_trains(policy, tolerance, plain_run, precision):
    precision(policy)
    model, losses = train_small_model(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=8.0)
    )
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert model.get_layer("sequence_by_input").compute_dtype == policy.removeprefix("mixed_")
    assert np.isfinite(model.predict_on_batch(random_values((4, 8, 6)))).all()
    np.testing.assert_allclose(losses, plain_run[1], rtol=tolerance)
