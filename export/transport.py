"""How the client reaches a model server: TensorFlow Serving's REST and gRPC interfaces, behind one method."""

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooSlow
from threading import Thread
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import numpy as np

from genre_tagger.errors import UserError

INPUT, WAVEFORM = "audio", "waveform"
BUSY_STATUSES = (429, 503)
EXPECTED_SERVER = "HOST:PORT, grpc://HOST:PORT or unix:PATH for gRPC, http://HOST:PORT or https://HOST:PORT for REST"

Audio = Sequence[bytes] | np.ndarray


class Busy(Exception):  # noqa: N818, names a state of the server that the client handles
    """Nobody listens there, or the server's queue or threads are taken: the same request may succeed in a moment."""


class Transport(Protocol):
    """Brings requests to one model of one server."""

    def predict(self, signature: str, audio: Audio, timeout_seconds: float) -> dict[str, Any]:
        """Asks a signature; returns its outputs by name, each an array or nested lists.

        Args:
            signature: its name.
            audio: the input `audio` [batch] as bytes, or the input `waveform` float32 [batch, samples].
            timeout_seconds: for the whole of it.

        Raises:
            Busy: worth another attempt.
            UserError: the server refuses, is too slow, or answers with something else.
        """

    def close(self) -> None:
        """Closes the connections."""


def open_transport(server: str, model: str, label: str | None) -> Transport:
    """The transport for an address; nothing is sent yet.

    Raises:
        UserError: the address is of none of the accepted forms.
    """
    scheme, separator, rest = server.partition("://")
    if separator and scheme in ("http", "https") and _has_host(server):
        return RestTransport(server, model, label)
    if server.startswith("unix:") and len(server) > len("unix:"):
        return GrpcTransport(server, server, model, label)
    target = rest if separator and scheme == "grpc" else server
    if "://" not in target and _has_host_and_port(target):
        return GrpcTransport(server, target, model, label)
    raise UserError(f"--server: found {server!r}, expected {EXPECTED_SERVER}")


class RestTransport:
    """TensorFlow Serving's REST interface, `POST /v1/models/NAME:predict`, with base64 audio in JSON."""

    def __init__(self, server: str, model: str, label: str | None):
        import requests

        self._server = server
        self._session = requests.Session()
        version = f"/labels/{quote(label, safe='')}" if label else ""
        self._url = f"{server.rstrip('/')}/v1/models/{quote(model, safe='')}{version}:predict"

    def predict(self, signature: str, audio: Audio, timeout_seconds: float) -> dict[str, Any]:
        """See Transport."""
        import requests

        body = {"signature_name": signature, "inputs": _json_input(audio)}

        def post():
            # Counts each read anew: it only ends the thread of a silent server, some time after the deadline of all.
            return self._session.post(self._url, json=body, timeout=timeout_seconds + 1, allow_redirects=False)

        try:
            response = _within(timeout_seconds, post)
        except TooSlow:
            raise UserError(f"{self._server}: no answer within {timeout_seconds:g} s") from None
        except requests.exceptions.SSLError as error:
            raise UserError(f"{self._server}: {_cause(error)}") from None
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise Busy(_cause(error)) from None
        except requests.RequestException as error:
            raise UserError(f"{self._server}: {error}") from None
        if response.status_code in BUSY_STATUSES:
            raise Busy(f"HTTP {response.status_code}: {_error_of(response)}")
        if response.status_code != requests.codes.ok:
            raise UserError(f"{self._server}: HTTP {response.status_code}: {_error_of(response)}")
        return _outputs_of(response, self._server)

    def close(self) -> None:
        """See Transport."""
        self._session.close()


class GrpcTransport:
    """TensorFlow Serving's gRPC interface, `PredictionService.Predict`.

    Its protos import TensorFlow, which takes seconds; REST needs neither.
    """

    def __init__(self, server: str, target: str, model: str, label: str | None):
        import grpc
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        self._server, self._model, self._label = server, model, label
        self._channel = grpc.insecure_channel(target)
        self._stub = PredictionServiceStub(self._channel)

    def predict(self, signature: str, audio: Audio, timeout_seconds: float) -> dict[str, Any]:
        """See Transport."""
        import grpc

        try:
            response = self._stub.Predict(self._request(signature, audio), timeout=timeout_seconds)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
                raise Busy(f"{error.code().name}: {error.details()}") from None
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise UserError(f"{self._server}: no answer within {timeout_seconds:g} s") from None
            raise UserError(f"{self._server}: {error.code().name}: {error.details()}") from None
        return {name: _array(tensor, name, self._server) for name, tensor in response.outputs.items()}

    def close(self) -> None:
        """See Transport."""
        self._channel.close()

    def _request(self, signature: str, audio: Audio):
        import tensorflow as tf
        from tensorflow_serving.apis.predict_pb2 import PredictRequest

        request = PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._label:
            request.model_spec.version_label = self._label
        if isinstance(audio, np.ndarray):
            request.inputs[WAVEFORM].CopyFrom(tf.make_tensor_proto(audio, tf.float32))
            return request
        tensor = request.inputs[INPUT]
        tensor.dtype = tf.string.as_datatype_enum
        tensor.tensor_shape.dim.add(size=len(audio))
        tensor.string_val.extend(audio)
        return request


def _json_input(audio: Audio) -> dict[str, list]:
    if isinstance(audio, np.ndarray):
        return {WAVEFORM: audio.tolist()}
    return {INPUT: [{"b64": base64.b64encode(item).decode("ascii")} for item in audio]}


def _within(seconds: float, function: Callable[[], Any]) -> Any:
    """Calls a function in a thread of its own, and waits no longer; raises TooSlow."""
    outcome = Future()

    def call() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)

    Thread(target=call, daemon=True).start()
    return outcome.result(seconds)


def _has_host(url: str) -> bool:
    try:
        return urlsplit(url).hostname is not None and urlsplit(url).port != 0
    except ValueError:
        return False


def _has_host_and_port(target: str) -> bool:
    try:
        parts = urlsplit(f"//{target}")
        return bool(parts.hostname and parts.port) and parts.netloc == target
    except ValueError:
        return False


def _array(tensor, name: str, server: str):
    """A tensor of an answer as an array, strings decoded."""
    import tensorflow as tf

    try:
        array = tf.make_ndarray(tensor)
        return np.char.decode(array.astype(bytes), "utf-8") if array.dtype == object else array
    except (TypeError, ValueError) as error:
        raise UserError(f"{server}: its answer's {name} cannot be read ({error})") from None


def _outputs_of(response, server: str) -> dict[str, Any]:
    try:
        outputs = response.json()["outputs"]
    except (ValueError, KeyError, TypeError):
        outputs = None
    if not isinstance(outputs, dict):
        raise UserError(f"{server}: its answer is not that of a model server (expected JSON with outputs by name)")
    return outputs


def _error_of(response) -> str:
    """What the server says of a failure: its JSON's `error`, or the start of whatever it sent."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or response.reason


def _cause(error: BaseException) -> str:
    """The operating system's words, deep inside an exception of requests."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
