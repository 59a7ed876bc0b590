"""Export of a tagger to ONNX for runtimes without TensorFlow, and its measured difference from the Keras model."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from genre_tagger.errors import FieldError
from genre_tagger.frontend import LogMelSpectrogram

ONNX_NAME, DIFFERENCE_NAME = "model.onnx", "difference.json"
OPSET = 18
BATCH = 4  # windows per batch in the comparison


def check_onnx() -> None:
    """Check that the packages for ONNX are installed.

    Raises:
        FieldError: one of them is missing.
    """
    try:
        import onnxruntime  # noqa: F401
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise FieldError("format", f"onnx: {error.name} is not installed; pip install 'genre-tagger[onnx]'") from error


def write_onnx(path: Path, model: keras.Model) -> None:
    """Write an ONNX file with the input `waveform` [batch, samples] and the output `probabilities` [batch, tags].

    The Fourier transform of the front-end is written as a convolution, because TensorFlow's FFT cannot be converted to
    ONNX.

    Args:
        path: file to write.
        model: inference model, waveform -> (probabilities, embedding).
    """
    import tf2onnx

    clone = keras.models.clone_model(model, clone_function=_convertible_layer)
    clone.set_weights(model.get_weights())
    waveform = tf.TensorSpec([None, model.input_shape[1]], tf.float32, name="waveform")
    function = tf.function(lambda waveform: {"probabilities": clone(waveform, training=False)[0]}, [waveform])
    tf2onnx.convert.from_function(function, [waveform], opset=OPSET, output_path=str(path))


def onnx_difference(path: Path, model: keras.Model, windows: np.ndarray) -> float:
    """Return the largest difference between the probabilities of an ONNX file and of the Keras model.

    Args:
        path: ONNX file, run with ONNX Runtime.
        model: inference model from which the file was written.
        windows: float32 [windows, samples].
    """
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
