"""The ONNX file agrees with the model; without the packages the command says what to install."""

import sys

import numpy as np
import pytest

from genre_tagger.errors import UserError
from genre_tagger.export.folding import inference_model
from genre_tagger.export.onnx import check_onnx, onnx_difference, write_onnx


def test_without_the_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'genre-tagger\[onnx\]'"):
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
