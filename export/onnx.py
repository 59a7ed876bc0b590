"""A tagger as an ONNX file, for runtimes without TensorFlow, with its measured difference."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from genre_tagger.errors import UserError
from genre_tagger.frontend import LogMelSpectrogram

ONNX_NAME, DIFFERENCE_NAME = "model.onnx", "difference.json"
OPSET = 18
BATCH = 4  # windows at a time when the two are compared


def check_onnx() -> None:
    """Raises UserError where the packages of the extra are not installed."""
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise UserError(f"--format onnx: {error.name} is not installed; pip install 'genre-tagger[onnx]'") from None


def write_onnx(path: Path, model: keras.Model) -> None:
    """Writes `waveform` float32 [batch, samples] -> `probabilities` [batch, tags].

    The Fourier transform is written as a convolution, since ONNX runtimes know none that TensorFlow's converts to.
    """
    import tf2onnx

    clone = keras.models.clone_model(model, clone_function=_convertible_layer)
    clone.set_weights(model.get_weights())
    waveform = tf.TensorSpec([None, model.input_shape[1]], tf.float32, name="waveform")
    function = tf.function(lambda waveform: {"probabilities": clone(waveform, training=False)[0]}, [waveform])
    tf2onnx.convert.from_function(function, [waveform], opset=OPSET, output_path=str(path))


def onnx_difference(path: Path, model: keras.Model, windows: np.ndarray) -> float:
    """The largest difference of a probability between the ONNX file under ONNX Runtime and the model, on windows."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    batches = [windows[first : first + BATCH] for first in range(0, len(windows), BATCH)]
    differences = [
        np.abs(session.run(["probabilities"], {"waveform": batch})[0] - model.predict_on_batch(batch)[0]).max()
        for batch in batches
    ]
    return float(max(differences))


def _convertible_layer(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if isinstance(layer, LogMelSpectrogram):
        config["dft"] = "conv"
    return type(layer).from_config(config)
