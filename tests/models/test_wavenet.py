"""The WaveNet's receptive field and causality, and the cascade in front of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from genre_tagger.config import WavenetConfig
from genre_tagger.models.layers import LastFrames
from genre_tagger.models.wavenet import cascade, wavenet


def without_cut(model):
    """Return the same model with all frames kept at inference, where batch norm does not mix frames."""

    def keep_all(layer):
        kept = layers.Identity(name=layer.name) if isinstance(layer, LastFrames) else None
        return kept or type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=keep_all)
    clone.set_weights(model.get_weights())
    return clone


def wavenet_model(frames, **options):
    """Return a model of the WaveNet branch alone, with 9 bands and few channels, and its configuration."""
    keras.utils.set_random_seed(1)
    narrow = {"residual_channels": 4, "dilation_channels": 4, "skip_channels": 6, "output_width": 2}
    config = WavenetConfig(**narrow, **options)
    inputs = keras.Input((frames, 9))
    return keras.Model(inputs, wavenet(inputs, config, momentum=0.9)), config


def frames_that_matter(model, x):
    """Return for each input frame whether the output has a nonzero gradient with respect to it."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
    return np.abs(tape.gradient(y, x).numpy()).max((0, 2)) > 0


@pytest.mark.parametrize(
    "depth, blocks, kernel_size, field", [(6, 5, 2, 317), (8, 4, 2, 1_022), (3, 2, 3, 31), (1, 1, 2, 3)]
)
def test_receptive_field(depth, blocks, kernel_size, field):
    """The output depends on exactly the last `field` frames, whether or not the earlier frames are cut off."""
    frames = field + 40
    model, config = wavenet_model(frames, dilation_depth=depth, blocks=blocks, kernel_size=kernel_size)
    assert config.receptive_field == field
    x = np.random.default_rng(0).normal(size=(2, frames, 9)).astype("float32")
    whole = without_cut(model)
    seen = np.arange(frames) >= frames - field
    np.testing.assert_array_equal(frames_that_matter(whole, x), seen)
    np.testing.assert_array_equal(frames_that_matter(model, x), seen)
    np.testing.assert_allclose(model(x), whole(x), atol=1e-6)


@pytest.mark.parametrize("changed_frame", [1, 20, 38])
def test_residual_layers_are_causal(changed_frame):
    whole = without_cut(wavenet_model(40, dilation_depth=3, blocks=2)[0])
    outputs = [layer.output for layer in whole.layers if layer.name.endswith(("_output", "_taps", "_gated"))]
    residuals = [output for output in outputs if output.ndim == 3]
    assert len(residuals) == 1 + 6 + 6 + 5  # input taps, taps and gates of all layers, outputs of all but the last
    every_step = keras.Model(whole.input, residuals)
    x = np.random.default_rng(0).normal(size=(1, 40, 9)).astype("float32")
    later = x.copy()
    later[:, changed_frame:] += 1.0
    for before, after in zip(every_step(x), every_step(later), strict=True):
        np.testing.assert_array_equal(after[:, :changed_frame], before[:, :changed_frame])
        assert (np.asarray(after[:, changed_frame]) != np.asarray(before[:, changed_frame])).any()


def test_cascade_mixes_all_time(tiny_config, bands_after_cascade):
    config = tiny_config()
    inputs = keras.Input((config.frames, config.frontend.n_mels))
    model = keras.Model(inputs, cascade(inputs, config.model.wavenet.cascade, momentum=0.9))
    assert model.output_shape == (None, config.frames, bands_after_cascade(config))
    first_frame = keras.Model(inputs, model.output[:, 0])
    x = np.random.default_rng(0).normal(size=(2, *inputs.shape[1:])).astype("float32")
    assert frames_that_matter(first_frame, x).all()


def test_published_cascade_leaves_nine_bands(tiny_config):
    inputs = keras.Input((20, 96))
    assert cascade(inputs, tiny_config().model.wavenet.cascade, momentum=0.9).shape == (None, 20, 9)
