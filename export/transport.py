"""The transports of the client: TensorFlow Serving's REST and gRPC interfaces, with one method in common."""

import base64
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlsplit

import numpy as np

from genre_tagger.errors import FieldError, UserError

if TYPE_CHECKING:
    import requests
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

INPUT, WAVEFORM = "audio", "waveform"
BUSY_STATUSES = (429, 503)
EXPECTED_SERVER = "HOST:PORT, grpc://HOST:PORT or unix:PATH for gRPC, http://HOST:PORT or https://HOST:PORT for REST"

Audio = Sequence[bytes] | np.ndarray
Result = TypeVar("Result")


class Busy(Exception):  # noqa: N818, a state of the server that the client handles
    """The connection failed or the server is overloaded. The same request may succeed if it is sent again later."""


class Transport(Protocol):
    """Sends requests to one model on one server."""

    def predict(self, signature: str, audio: Audio, timeout_seconds: float) -> dict[str, Any]:
        """Call a signature.

        Args:
            signature: name of the signature.
            audio: the input `audio` [batch] as bytes, or the input `waveform` float32 [batch, samples].
            timeout_seconds: timeout of the whole request.

        Returns:
            The outputs by name, as arrays or nested lists.

        Raises:
            Busy: the request may be retried.
            UserError: the server refuses the request, exceeds the timeout or returns an invalid answer.
        """

    def close(self) -> None:
        """Close the connections."""


def open_transport(server: str, model: str, label: str | None) -> Transport:
    """Return the transport for an address. No request is sent yet.

    Args:
        server: address, see `EXPECTED_SERVER`.
        model: name of the model on the server.
        label: version label, or None for the newest version.

    Raises:
        FieldError: the address has none of the accepted forms.
    """
    scheme, separator, rest = server.partition("://")
    if separator and scheme in ("http", "https") and _has_host(server):
        return RestTransport(server, model, label)
    if server.startswith("unix:") and len(server) > len("unix:"):
        return GrpcTransport(server, server, model, label)
    target = rest if separator and scheme == "grpc" else server
    if "://" not in target and _has_host_and_port(target):
        return GrpcTransport(server, target, model, label)
    raise FieldError("server", f"found {server!r}, expected {EXPECTED_SERVER}")


class RestTransport:
    """TensorFlow Serving's REST interface, `POST /v1/models/NAME:predict`. Audio is sent as base64 in JSON."""

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

        def post() -> "requests.Response":
            # The timeout of the package `requests` applies to each read, so it cannot limit the whole request. It
            # only ends the thread if the server sends nothing more.
            return self._session.post(self._url, json=body, timeout=timeout_seconds + 1, allow_redirects=False)

        try:
            response = _within(timeout_seconds, post)
        except FutureTimeoutError as error:
            raise UserError(f"{self._server}: no answer within {timeout_seconds:g} s") from error
        except requests.exceptions.SSLError as error:
            raise UserError(f"{self._server}: {_cause(error)}") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise Busy(_cause(error)) from error
        except requests.RequestException as error:
            raise UserError(f"{self._server}: {error}") from error
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

    Its protocol buffers import TensorFlow, which takes seconds. REST does not need TensorFlow.
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
                raise Busy(f"{error.code().name}: {error.details()}") from error
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise UserError(f"{self._server}: no answer within {timeout_seconds:g} s") from error
            raise UserError(f"{self._server}: {error.code().name}: {error.details()}") from error
        return {name: _array(tensor, name, self._server) for name, tensor in response.outputs.items()}

    def close(self) -> None:
        """See Transport."""
        self._channel.close()

    def _request(self, signature: str, audio: Audio) -> "PredictRequest":
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


def _json_input(audio: Audio) -> dict[str, list[Any]]:
    if isinstance(audio, np.ndarray):
        return {WAVEFORM: audio.tolist()}
    return {INPUT: [{"b64": base64.b64encode(item).decode("ascii")} for item in audio]}


def _within(seconds: float, function: Callable[[], Result]) -> Result:
    """Call a function in a new thread and return its result; raise FutureTimeoutError after the given seconds."""
    outcome: Future[Result] = Future()

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


def _array(tensor: "TensorProto", name: str, server: str) -> np.ndarray:
    """Return an output as an array, with strings decoded."""
    import tensorflow as tf

    try:
        array: np.ndarray = tf.make_ndarray(tensor)
        return np.char.decode(array.astype(bytes), "utf-8") if array.dtype == object else array
    except (TypeError, ValueError) as error:
        raise UserError(f"{server}: invalid answer, the output {name} cannot be read ({error})") from error


def _outputs_of(response: "requests.Response", server: str) -> dict[str, Any]:
    try:
        outputs = response.json()["outputs"]
    except (ValueError, KeyError, TypeError):
        outputs = None
    if not isinstance(outputs, dict):
        raise UserError(f"{server}: invalid answer, expected that of a model server (JSON with outputs by name)")
    return outputs


def _error_of(response: "requests.Response") -> str:
    """Return the error message of a server: the key `error` of its JSON, or the start of the body."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200] or response.reason


def _cause(error: BaseException) -> str:
    """Return the message of the innermost exception, which is the one of the operating system."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
