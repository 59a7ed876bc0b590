"""The inference model has stock layers, float32 and the same outputs, whatever the tagger was trained in."""

import keras
import numpy as np
import pytest

from genre_tagger.export.folding import inference_model
from genre_tagger.models.layers import ConvBatchNorm, SkipSum
from genre_tagger.models.tagger import build_tagger


@pytest.fixture
def mixed_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_batch_norm_is_gone_and_outputs_stay(model, windows):
    folded = inference_model(model)
    assert not [layer for layer in folded.layers if isinstance(layer, ConvBatchNorm | SkipSum)]
    assert not [weight.path for weight in folded.weights if "moving" in weight.path or "gamma" in weight.path]
    np.testing.assert_allclose(folded.predict(windows, verbose=0)[0], model.predict(windows, verbose=0), atol=1e-6)


def test_a_model_trained_in_half_precision_is_served_in_float32(mixed_policy, config, model, windows):
    mixed = build_tagger(config, model.output_shape[1])
    mixed.set_weights(model.get_weights())
    assert mixed.get_layer("head_dense1").compute_dtype == "bfloat16"
    folded = inference_model(mixed)
    assert {layer.compute_dtype for layer in folded.layers[1:]} == {"float32"}  # the first is the input
    expected = model.predict(windows, verbose=0)
    np.testing.assert_allclose(folded.predict(windows, verbose=0)[0], expected, atol=1e-6)
    assert np.abs(mixed.predict(windows, verbose=0) - expected).max() > 1e-4


@pytest.mark.parametrize("branch", ["cnn", "wavenet", "cascade"])
def test_a_model_without_a_branch_is_folded_too(config, windows, branch):
    without = config.model_copy(update={"model": config.model.model_copy(update={branch: None})})
    model = build_tagger(without, 3)
    probabilities, embedding = inference_model(model).predict(windows, verbose=0)
    np.testing.assert_allclose(probabilities, model.predict(windows, verbose=0), atol=1e-6)
    assert embedding.shape == (5, 12)
