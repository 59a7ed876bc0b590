"""Attention over the WaveNet's time steps: compared with NumPy, its receptive field, and invalid configurations."""

import itertools

import keras
import numpy as np
import tensorflow as tf
from facts import expect_error

from genre_tagger.config import AttentionConfig, WavenetConfig
from genre_tagger.models.attention import SinusoidalPositions, attention_readout
from genre_tagger.models.layers import SkipSum
from genre_tagger.models.wavenet import wavenet

FRAMES, CHANNELS, HEADS, POOL = 22, 8, 2, 4


def random_values(*shape, seed=0):
    return np.random.default_rng(seed).normal(0.2, 1.0, shape).astype("float32")


def average_pool(x, size):
    """Average groups of `size` frames.

    If frames are missing, the first and the last group are smaller. If an odd number is missing, the last group lacks
    one frame more than the first.
    """
    missing = -x.shape[1] % size
    edges = [0, *range(size - missing // 2, x.shape[1], size), x.shape[1]]
    return np.stack([x[:, start:end].mean(axis=1) for start, end in itertools.pairwise(edges)], axis=1)


def test_positions():
    """The encoding has the sine and cosine of the step, with wavelengths from 2 pi steps upwards."""
    added = np.asarray(SinusoidalPositions()(np.zeros((1, 5, 6), "float32")))[0]
    for step in range(5):
        for wave in range(3):
            angle = step / 10_000 ** (wave / 3)
            np.testing.assert_allclose(added[step, [wave, wave + 3]], [np.sin(angle), np.cos(angle)], atol=1e-6)


def test_readout_is_multi_head_attention():
    """The read-out is softmax(Q K' / sqrt(d)) V per head, residual connection, layer norm and mean over the steps."""
    inputs = keras.Input((FRAMES, CHANNELS))
    model = keras.Model(inputs, attention_readout(inputs, AttentionConfig(heads=HEADS, pool_frames=POOL), "attention"))
    for number, weight in enumerate(model.weights):
        weight.assign(0.5 * random_values(*weight.shape, seed=number))
    x = random_values(3, FRAMES, CHANNELS)
    steps = average_pool(x, POOL)
    assert steps.shape == (3, 6, CHANNELS)
    steps = steps + np.asarray(SinusoidalPositions()(np.zeros_like(steps)))
    layer = model.get_layer("attention")
    query, query_bias, key, key_bias, value, value_bias, out, out_bias = (np.asarray(w) for w in layer.get_weights())
    attended = out_bias
    for head in range(HEADS):
        queries = steps @ query[:, head] + query_bias[head]
        keys = steps @ key[:, head] + key_bias[head]
        scores = np.exp(queries @ keys.swapaxes(1, 2) / np.sqrt(CHANNELS / HEADS))
        weights = scores / scores.sum(axis=-1, keepdims=True)
        attended = attended + weights @ (steps @ value[:, head] + value_bias[head]) @ out[head]
    summed = steps + attended
    norm = model.get_layer("attention_norm")
    centred = summed - summed.mean(axis=-1, keepdims=True)
    normed = centred / np.sqrt(summed.var(axis=-1, keepdims=True) + norm.epsilon)
    expected = (np.asarray(norm.gamma) * normed + np.asarray(norm.beta)).mean(axis=1)
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


def test_skip_sum_of_every_frame():
    """At inference the sum has all frames with `every_frame` and only the last one without. Their values are equal."""
    inputs = [random_values(2, 5, 3, seed=number) for number in range(2)]
    every, last = (SkipSum(4, every_frame=flag) for flag in (True, False))
    for layer in (every, last):
        layer.build([x.shape for x in inputs])
    last.set_weights(every.get_weights())
    expected = sum(x @ np.asarray(every.kernel[number]) for number, x in enumerate(inputs)) / np.sqrt(1 + every.epsilon)
    np.testing.assert_allclose(every(inputs), expected, atol=1e-5)
    np.testing.assert_allclose(last(inputs), expected[:, -1:], atol=1e-5)


def test_output_depends_on_every_frame():
    """Attention also reaches beyond the receptive field of the WaveNet at inference."""
    narrow = {"residual_channels": 4, "dilation_channels": 4, "skip_channels": CHANNELS, "output_width": 2}
    config = WavenetConfig(dilation_depth=2, blocks=1, **narrow, attention=AttentionConfig(heads=HEADS, pool_frames=3))
    assert config.receptive_field < FRAMES
    keras.utils.set_random_seed(1)
    inputs = keras.Input((FRAMES, 9))
    model = keras.Model(inputs, wavenet(inputs, config, momentum=0.9))
    x = tf.constant(random_values(2, FRAMES, 9))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
    assert y.shape == (2, 2)
    assert (np.abs(tape.gradient(y, x).numpy()).max((0, 2)) > 0).all()


def test_heads_must_divide_the_channels():
    with expect_error("model.wavenet.attention.heads", 3, "model.wavenet.skip_channels = 8"):
        attention_readout(keras.Input((FRAMES, CHANNELS)), AttentionConfig(heads=3), "attention")
