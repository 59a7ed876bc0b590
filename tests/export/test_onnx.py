"""The ONNX file agrees with the model. Without the required packages, the error names the extra to install."""

import sys

import numpy as np
import pytest
from facts import expect_error

from genre_tagger.export.folding import inference_model
from genre_tagger.export.onnx import check_onnx, onnx_difference, write_onnx


def test_error_without_the_packages_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with expect_error("format:", "onnx", "onnxruntime", "genre-tagger[onnx]"):
        check_onnx()


def test_onnx_runtime_gives_the_same_probabilities(model, windows, tmp_path):
    pytest.importorskip("tf2onnx", reason="the extra [onnx] is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
    write_onnx(tmp_path / "model.onnx", inference_model(model))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(["probabilities"], {"waveform": windows})
    expected = model.predict(windows, verbose=0)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    measured = onnx_difference(tmp_path / "model.onnx", inference_model(model), windows)
    assert measured == pytest.approx(np.abs(probabilities - expected).max(), abs=1e-6)
