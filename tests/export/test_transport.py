"""Both transports, with real servers on loopback that refuse, are slow, fail, recover or send invalid answers."""

import random
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from facts import expect_error
from model_server import (
    BROKEN,
    BUSY,
    DRIP,
    FINE,
    FULL,
    REFUSE,
    SLOW,
    SLOW_SECONDS,
    STALL,
    TAGS,
    GrpcServer,
    RestServer,
    tone,
    top_five,
)

from genre_tagger.errors import UserError
from genre_tagger.export.client import Client

STEP = 1 / 32768


def test_overloaded_server_is_retried(server, patient, tmp_path):
    server.script.extend([BUSY, FULL, FINE])
    assert patient(server).tag(tone(tmp_path / "a.wav", 0.5)) == pytest.approx(top_five(0.5), abs=2 * STEP)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("mood", "codes", "reason"),
    [
        (BUSY, ("UNAVAILABLE", "HTTP 503"), "queue is full"),
        (FULL, ("RESOURCE_EXHAUSTED", "HTTP 429"), "Server Threadpool Exhausted"),
    ],
)
def test_server_that_stays_overloaded_is_an_error(server, patient, tmp_path, mood, codes, reason):
    server.script.extend([mood] * 9)
    with expect_error(server.address, "4 attempts", code_of(server, codes), reason):
        patient(server, attempts=4).tag(tone(tmp_path / "a.wav", 0.5))
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("mood", "codes", "reason"),
    [
        (REFUSE, ("INVALID_ARGUMENT", "HTTP 400"), "no such signature"),
        (BROKEN, ("INTERNAL", "HTTP 500"), "out of memory"),
        (SLOW, ("0.2 s", "0.2 s"), ""),
    ],
)
def test_other_failures_are_not_retried(server, patient, tmp_path, mood, codes, reason):
    server.script.append(mood)
    with expect_error(server.address, code_of(server, codes), reason):
        patient(server, timeout_seconds=0.2 if mood == SLOW else 60).tag(tone(tmp_path / "a.wav", 0.5))
    assert len(server.requests) == 1


def code_of(server, codes):
    """Return the status code that a server of this protocol has sent."""
    grpc_code, http_code = codes
    return http_code if isinstance(server, RestServer) else grpc_code


@pytest.mark.parametrize("mood", [STALL, DRIP], ids=["stall", "drip"])
def test_timeout_applies_to_the_whole_request(patient, mood):
    server = RestServer()
    server.script.append(mood)
    started = time.monotonic()
    with expect_error(server.address, "0.3 s"):
        patient(server, timeout_seconds=0.3).predict("pcm16", [b"ab"])
    assert time.monotonic() - started < 2 * SLOW_SECONDS
    assert len(server.requests) == 1
    server.stop()


def test_server_without_tls_is_not_retried(patient):
    server = RestServer()
    server.address = server.address.replace("http:", "https:")
    with expect_error(server.address, "SSL") as failure:
        patient(server).predict("pcm16", [b"ab"])
    assert "attempts" not in str(failure.value)
    server.stop()


def test_slow_answer_within_the_timeout_is_accepted(server, tmp_path):
    server.script.append(SLOW)
    started = time.monotonic()
    Client(server.address, timeout_seconds=30).tag(tone(tmp_path / "a.wav", 0.5))
    assert time.monotonic() - started >= SLOW_SECONDS


def without(name):
    return lambda outputs: {key: values for key, values in outputs.items() if key != name}


def replaced(name, value):
    return lambda outputs: {**outputs, name: value}


INVALID = {
    "no outputs": lambda _: {},
    "no errors": without("error"),
    "no names": without("top_tags"),
    "too few items": lambda outputs: {name: values[:1] for name, values in outputs.items()},
    "one vector": replaced("probabilities", [0.1, 0.2]),
    "not a number": replaced("probabilities", [[float("nan")] * len(TAGS)] * 2),
    "words for numbers": replaced("probabilities", [["high"] * len(TAGS)] * 2),
    "other scores": replaced("top_scores", [[0.99, 0.98, 0.97, 0.96, 0.95]] * 2),
    "names and scores differ": replaced("top_tags", [["rock"], ["rock"]]),
}


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
def test_invalid_answer_is_refused(server, invalid):
    server.script.append(invalid)
    silence = np.zeros(10, "<i2").tobytes()
    with expect_error(server.address, "pcm16"):
        Client(server.address).predict("pcm16", [silence, silence])


@pytest.mark.parametrize("content", [b"<html>", b"", b"[1, 2]", b'{"outputs": [1]}', b'{"predictions": []}'])
def test_answer_of_another_http_server_is_refused(content):
    server = RestServer()
    server.script.append(content)
    with expect_error(server.address, "JSON", "outputs"):
        Client(server.address).predict("pcm16", [b"ab"])
    server.stop()


def test_bytes_that_are_no_protocol_buffer_are_refused():
    server = GrpcServer()
    server.script.append(b"\xff\xff\xff")
    with expect_error(server.address, "INTERNAL"):
        Client(server.address).predict("pcm16", [b"ab"])
    server.stop()


def test_closed_connection_is_retried(patient):
    server = RestServer()
    server.script.extend([b"HANG UP", FINE])
    (answer,) = patient(server).predict("pcm16", [np.full(9, 16384, "<i2").tobytes()])
    assert answer.top == pytest.approx(top_five(0.5))
    server.stop()


@pytest.mark.parametrize(("scheme", "kind"), [("", GrpcServer), ("grpc://", GrpcServer), ("http://", RestServer)])
def test_refused_connection_is_retried_until_the_server_is_up(scheme, kind):
    port = _free_port()
    with expect_error(f"127.0.0.1:{port}", "2 attempts", "efused"):
        Client(f"{scheme}127.0.0.1:{port}", attempts=2, first_wait_seconds=0.01).predict("pcm16", [b"ab"])
    started = []
    late = threading.Timer(0.3, lambda: started.append(kind(port if kind is RestServer else f"127.0.0.1:{port}")))
    late.start()
    client = Client(f"{scheme}127.0.0.1:{port}", attempts=20, first_wait_seconds=0.2)
    (answer,) = client.predict("pcm16", [np.full(9, 16384, "<i2").tobytes()])
    assert answer.top == pytest.approx(top_five(0.5))
    late.join()
    started[0].stop()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def drawn_waits(monkeypatch):
    """The bounds of the waits, in order. No time passes. Each wait must equal the number that was drawn.

    The client draws with `random.uniform` and waits with `time.sleep`, through tenacity. The last wait may be
    drawn after the last attempt and not used.
    """
    drawn, bounds = [], []

    def draw(low, high):
        drawn.append((low, high))
        return low + 0.375 * (high - low)

    def sleep(seconds):
        low, high = drawn[-1]
        assert seconds == low + 0.375 * (high - low)
        bounds.append((low, high))

    monkeypatch.setattr(random, "uniform", draw)
    monkeypatch.setattr("tenacity.nap.time.sleep", sleep)
    return bounds


def test_waits_are_drawn_between_0_and_a_bound_that_doubles_up_to_8_seconds(drawn_waits):
    server = RestServer()
    server.script.extend([BUSY] * 8)
    with expect_error("8 attempts"):
        Client(server.address, attempts=8).predict("pcm16", [b"ab"])
    assert drawn_waits == [(0, 0.5), (0, 1), (0, 2), (0, 4), (0, 8), (0, 8), (0, 8)]
    assert len(server.requests) == 8
    server.stop()


def test_first_bound_and_number_of_attempts_are_parameters(drawn_waits):
    server = RestServer()
    server.script.extend([BUSY, BUSY, FINE])
    Client(server.address, attempts=3, first_wait_seconds=3).predict("pcm16", [np.full(9, 9, "<i2").tobytes()])
    assert drawn_waits == [(0, 3), (0, 6)]
    server.script.append(BUSY)
    with expect_error(server.address, "1 attempt"):
        Client(server.address, attempts=1).predict("pcm16", [b"ab"])
    assert len(drawn_waits) == 2
    server.stop()


def test_other_failures_do_not_wait(drawn_waits):
    server = RestServer()
    for mood in (REFUSE, BROKEN, b"<html>"):
        server.script.append(mood)
        with pytest.raises(UserError):
            Client(server.address).predict("pcm16", [b"ab"])
    assert len(server.requests) == 3 and not drawn_waits
    server.stop()


def test_unix_socket(tmp_path_factory):
    server = GrpcServer(f"unix:{tmp_path_factory.mktemp('s')}/s")
    (answer,) = Client(server.address).predict("pcm16", [np.full(9, 16384, "<i2").tobytes()])
    assert answer.top == pytest.approx(top_five(0.5))
    server.stop()


@pytest.mark.parametrize(
    "address",
    ["localhost", "localhost:", "localhost:x", ":8500", "ftp://a:1", "http://", "unix:", "a:1/b", "a:70000"],
)
def test_other_addresses_are_refused(address):
    with expect_error("server:", repr(address), "HOST:PORT"):
        Client(address)


def test_closed_client_sends_no_requests():
    server = GrpcServer()
    with Client(server.address) as client:
        client.predict("pcm16", [b"ab"])
    with expect_error("closed", kind=ValueError):
        client.predict("pcm16", [b"ab"])
    assert len(server.requests) == 1
    server.stop()


def test_rest_does_not_import_tensorflow():
    code = (
        "import sys; from genre_tagger.export.client import Client; Client('http://localhost:8501')\n"
        "sys.exit(str({'tensorflow', 'keras', 'grpc'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.strip() == ""
