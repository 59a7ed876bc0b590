"""The inference model has stock layers, float32 weights and the same outputs, for any training precision."""

import keras
import numpy as np
import pytest

from genre_tagger.config import parse_config
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


def test_model_trained_in_half_precision_is_exported_in_float32(mixed_policy, config, model, windows):
    mixed = build_tagger(config, model.output_shape[1])
    mixed.set_weights(model.get_weights())
    assert mixed.get_layer("head_dense1").compute_dtype == "bfloat16"
    folded = inference_model(mixed)
    assert {layer.compute_dtype for layer in folded.layers[1:]} == {"float32"}  # the first is the input
    expected = model.predict(windows, verbose=0)
    np.testing.assert_allclose(folded.predict(windows, verbose=0)[0], expected, atol=1e-6)
    assert np.abs(mixed.predict(windows, verbose=0) - expected).max() > 1e-4


@pytest.mark.parametrize("section", ["cnn", "wavenet", "wavenet.cascade"])
def test_model_without_a_branch_or_the_cascade_is_folded(config, windows, section):
    values = config.model_dump()
    *parents, name = section.split(".")
    branch = values["model"][parents[0]] if parents else values["model"]
    assert branch[name]
    branch[name] = None
    model = build_tagger(parse_config(values), 3)
    probabilities, embedding = inference_model(model).predict(windows, verbose=0)
    np.testing.assert_allclose(probabilities, model.predict(windows, verbose=0), atol=1e-6)
    assert embedding.shape == (5, 12)
