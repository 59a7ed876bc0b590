"""Scripted model servers on loopback for tests of the client.

They use real HTTP and gRPC with the protos of TensorFlow Serving. They do not import genre_tagger. The level of an item
is its highest sample. The probabilities of the six tags are computed from the level.
"""

import base64
import io
import json
import threading
import time
import wave
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import soundfile
import tensorflow as tf
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

TAGS = ("loud", "quiet", "rock", "jazz", "piano", "harp")
TOO_LOUD = "louder than the test allows"
SLOW_SECONDS = 0.8
FINE, BUSY, FULL, REFUSE, BROKEN, SLOW = "fine", "busy", "full", "refuse", "broken", "slow"
STALL, DRIP = b"stall".ljust(20), b"drip".ljust(20)  # REST only: send the body late, or byte by byte
STATUS = {
    BUSY: (grpc.StatusCode.UNAVAILABLE, 503, "queue is full"),
    FULL: (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, "Server Threadpool Exhausted"),
    REFUSE: (grpc.StatusCode.INVALID_ARGUMENT, 400, "no such signature"),
    BROKEN: (grpc.StatusCode.INTERNAL, 500, "out of memory"),
}


def probabilities(level: float) -> list[float]:
    return [level, 1 - level, level / 2, 0.31, 0.22, 0.05]


def top_five(level: float) -> dict[str, float]:
    """Return the tags of a file with that level, the highest first."""
    scores = dict(zip(TAGS, probabilities(level), strict=True))
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:5])


def tone(path: Path, level: float, seconds: float = 0.2, rate: int = 16_000) -> Path:
    """Write an audio file whose highest sample is `level`."""
    waveform = np.zeros(round(seconds * rate))
    waveform[::2] = level
    soundfile.write(path, waveform, rate, subtype="PCM_16")
    return path


class ModelServer:
    """The common part of both servers. They record requests. They follow a script and then answer normally."""

    def __init__(self):
        self.script = deque()  # moods, functions that change the correct outputs, or raw bytes to send
        self.requests = []  # (model, label, signature, items)
        self.address = ""

    def answer(self, model: str, label: str, signature: str, items: list[bytes]):
        self.requests.append((model, label, signature, items))
        mood = self.script.popleft() if self.script else FINE
        if mood == SLOW:
            time.sleep(SLOW_SECONDS)
        if mood in STATUS or isinstance(mood, bytes):
            return mood
        outputs = self._outputs(items, _level if signature == "wav" else _raw_level)
        return mood(outputs) if callable(mood) else outputs

    @staticmethod
    def _outputs(items, level_of):
        outputs = {"probabilities": [], "top_tags": [], "top_scores": [], "error": []}
        for item in items:
            level, error = level_of(item)
            scores = [0.0] * len(TAGS) if error else probabilities(level)
            order = sorted(range(len(TAGS)), key=lambda tag: -scores[tag])[:5]
            outputs["probabilities"].append(scores)
            outputs["top_tags"].append(["" if error else TAGS[tag] for tag in order])
            outputs["top_scores"].append([scores[tag] for tag in order])
            outputs["error"].append(error)
        return outputs


def _level(item: bytes):
    with wave.open(io.BytesIO(item)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        level, _ = _raw_level(file.readframes(file.getnframes()))
    return level, TOO_LOUD if level > 0.95 else "" if level else "digital silence"


def _raw_level(item: bytes):
    return float(np.abs(np.frombuffer(item, "<i2").astype(float)).max() / 32768), ""


class GrpcServer(ModelServer):
    def __init__(self, target: str = "127.0.0.1:0"):
        super().__init__()
        handler = grpc.unary_unary_rpc_method_handler(
            self._predict,
            request_deserializer=PredictRequest.FromString,
            response_serializer=lambda answer: answer if isinstance(answer, bytes) else answer.SerializeToString(),
        )
        service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
        options = [("grpc.max_receive_message_length", -1)]  # no limit below 2 GB, as in TensorFlow Serving
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=(service,), options=options)
        port = self._server.add_insecure_port(target)
        self.address = target if target.startswith("unix:") else f"127.0.0.1:{port}"
        self._server.start()

    def _predict(self, request, context):
        ((name, tensor),) = request.inputs.items()
        assert name in ("audio", "waveform")
        spec, items = request.model_spec, tf.make_ndarray(tensor)
        assert (items.dtype, items.ndim) == ((object, 1) if name == "audio" else (np.float32, 2))
        items = items.tolist() if name == "audio" else items
        answer = self.answer(spec.name, spec.version_label, spec.signature_name, items)
        if isinstance(answer, bytes):
            return answer
        if isinstance(answer, str):
            context.abort(STATUS[answer][0], STATUS[answer][2])
        response = PredictResponse()
        for name, values in answer.items():
            strings = np.asarray(values).dtype.kind == "U"
            response.outputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string if strings else tf.float32))
        return response

    def stop(self):
        self._server.stop(None).wait()


class RestServer(ModelServer):
    def __init__(self, port: int = 0):
        super().__init__()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _handler(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path, method = self.path.split(":")
                assert method == "predict"
                _, v1, models, model, *label = path.split("/")
                assert (v1, models) == ("v1", "models")
                ((name, values),) = body["inputs"].items()
                if name == "audio":
                    items = [base64.b64decode(item["b64"], validate=True) for item in values]
                else:
                    items = np.array(values, np.float32)
                    assert (name, items.ndim) == ("waveform", 2)
                self._send(outer.answer(model, "/".join(label), body["signature_name"], items))

            def _send(self, answer):
                if isinstance(answer, bytes):
                    self._write(200, answer)
                elif isinstance(answer, str):
                    self._write(STATUS[answer][1], json.dumps({"error": STATUS[answer][2]}).encode())
                else:
                    self._write(200, json.dumps({"outputs": answer}).encode())

            def _write(self, status, content):
                if content == b"HANG UP":
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                parts = [content[place : place + 1] for place in range(len(content))] if content == DRIP else [content]
                for part in parts:
                    if content in (STALL, DRIP):
                        time.sleep(2 * SLOW_SECONDS / len(parts))
                    self.wfile.write(part)

            def log_message(self, *_):
                pass

        return Handler

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
