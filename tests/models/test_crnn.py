"""The CRNN branch: its steps, its number of parameters, and the frames on which its output depends."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from facts import expect_error

from genre_tagger.config import CrnnConfig
from genre_tagger.models.crnn import crnn_branch

NARROW = {"kernels": [4, 5, 6, 7], "recurrent_widths": [3, 2]}


def branch(frames, mels, **changes):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((frames, mels))
    return keras.Model(inputs, crnn_branch(inputs, CrnnConfig(**changes), momentum=0.9))


def test_published_layers():
    """1366 frames and 96 bands become 15 steps with 128 values. The parameters are counted from the paper."""
    model = branch(1366, 96)
    assert model.get_layer("crnn_padding").output.shape[1:] == (96, 1440, 1)
    shapes = [model.get_layer(f"crnn_block{number}_pool").output.shape[1:] for number in (1, 2, 3, 4)]
    assert shapes == [(48, 720, 64), (16, 240, 128), (4, 60, 128), (1, 15, 128)]
    assert model.get_layer("crnn_features").output.shape[1:] == (15, 128)
    assert model.output_shape == (None, 32)
    counted = 2  # batch norm of the image
    for inputs, outputs in [(1, 64), (64, 128), (128, 128), (128, 128)]:
        counted += (9 * inputs + 1) * outputs + 2 * outputs
    for inputs in (128, 32):  # update gate, reset gate and candidate; each has a bias for the input and for the state
        counted += 3 * (inputs * 32 + 32 * 32 + 2 * 32)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == counted
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.1, 0.1, 0.1, 0.1, 0.3]


@pytest.mark.parametrize(
    "frames, mels, steps, bands", [(40, 96, 1, 1), (97, 96, 2, 1), (192, 128, 2, 1), (40, 40, 1, 1)]
)
def test_other_sizes(frames, mels, steps, bands):
    model = branch(frames, mels, **NARROW)
    assert model.get_layer("crnn_block4_pool").output.shape[1:] == (bands, steps, 7)
    assert model.output_shape == (None, 2)


def test_last_state_depends_on_all_of_time():
    model = branch(200, 24, **NARROW)
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 200, 24)).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
    seen = np.abs(tape.gradient(y, x).numpy()).max((0, 2)) > 0
    for steps in np.array_split(seen, 3):  # thirds, because max pooling passes on only some of the frames
        assert steps.any()


def test_number_of_pools_is_checked():
    with expect_error("model.crnn", "4 kernels", "1 pools", "4 dropouts"):
        branch(96, 96, pools=[[2, 2]])
