"""Warm-up requests, which TensorFlow Serving sends to a new version before that version answers clients."""

import io
from pathlib import Path

import numpy as np
import soundfile
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from genre_tagger.audio.decode import to_pcm16
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES, WAV_RATES_HZ

WARMUP_PATH = Path("assets.extra/tf_serving_warmup_requests")  # the path that TensorFlow Serving reads
LEVEL = 0.1  # value of all samples; the model rejects silence
WAV_SECONDS = 0.5  # short, so that the file stays small; the model pads it to a window


def write_warmup(version: Path, name: str, window_samples: int) -> None:
    """Write one request per signature and allowed batch size, as TFRecords of `PredictionLog`.

    Args:
        version: directory of the SavedModel.
        name: name of the model.
        window_samples: length of the model's window in samples.
    """
    path = version / WARMUP_PATH
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as file:
        for signature, (input_name, item) in _items(window_samples).items():
            for batch in ALLOWED_BATCH_SIZES:
                log = PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                request.inputs[input_name].CopyFrom(_repeated(item, batch))
                file.write(log.SerializeToString())


def _items(window_samples: int) -> dict[str, tuple[str, TensorProto]]:
    """Return the input name and one item for each signature."""
    waveform = tf.make_tensor_proto(LEVEL, shape=[window_samples])  # stores a single value, which fills the shape
    wav = tf.make_tensor_proto(_wav())
    return {
        "serving_default": ("waveform", waveform),
        "pcm16": ("audio", tf.make_tensor_proto(to_pcm16(np.full(window_samples, LEVEL, np.float32)).tobytes())),
        "wav": ("audio", wav),
        "taggram": ("audio", wav),
        "embed": ("waveform", waveform),
    }


def _repeated(item: TensorProto, batch: int) -> TensorProto:
    """Repeat an item `batch` times. The proto stores one value, which fills the shape, so the file stays small."""
    tensor = TensorProto()
    tensor.CopyFrom(item)
    del tensor.tensor_shape.dim[:]
    for size in (batch, *(dimension.size for dimension in item.tensor_shape.dim)):
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def _wav() -> bytes:
    """Return a short WAV file with the most common sample rate."""
    file, rate_hz = io.BytesIO(), max(rate for rate in WAV_RATES_HZ if rate % 11_025 == 0)
    soundfile.write(file, np.full(round(WAV_SECONDS * rate_hz), LEVEL), rate_hz, format="WAV")
    return file.getvalue()
