"""The client's two transports against real servers on loopback that refuse, dawdle, fail, recover and talk nonsense."""

import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
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
from genre_tagger.export import client as client_module
from genre_tagger.export.client import Client

STEP = 1 / 32768


def test_a_full_server_is_asked_again(server, patient, tmp_path):
    server.script.extend([BUSY, FULL, FINE])
    assert patient(server).tag(tone(tmp_path / "a.wav", 0.5)) == pytest.approx(top_five(0.5), abs=2 * STEP)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        (BUSY, "(UNAVAILABLE|HTTP 503): queue is full"),
        (FULL, "(RESOURCE_EXHAUSTED|HTTP 429): Server Threadpool Exhausted"),
    ],
)
def test_a_server_that_stays_full_is_an_error(server, patient, tmp_path, mood, reason):
    server.script.extend([mood] * 9)
    with pytest.raises(UserError, match=f"not available, 4 attempts: {reason}"):
        patient(server, attempts=4).tag(tone(tmp_path / "a.wav", 0.5))
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("mood", "message"),
    [
        (REFUSE, r"(INVALID_ARGUMENT|HTTP 400): no such signature"),
        (BROKEN, r"(INTERNAL|HTTP 500): out of memory"),
        (SLOW, r"no answer within 0\.2 s"),
    ],
)
def test_other_failures_are_not_repeated(server, patient, tmp_path, mood, message):
    server.script.append(mood)
    with pytest.raises(UserError, match=message) as failure:
        patient(server, timeout_seconds=0.2 if mood == SLOW else 60).tag(tone(tmp_path / "a.wav", 0.5))
    assert server.address in str(failure.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("mood", [STALL, DRIP], ids=["stall", "drip"])
def test_the_timeout_is_for_the_whole_request(patient, mood):
    server = RestServer()
    server.script.append(mood)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"no answer within 0\.3 s"):
        patient(server, timeout_seconds=0.3).predict("pcm16", [b"ab"])
    assert time.monotonic() - started < 2 * SLOW_SECONDS
    assert len(server.requests) == 1
    server.stop()


def test_a_server_without_tls_is_not_asked_again(patient):
    server = RestServer()
    server.address = server.address.replace("http:", "https:")
    with pytest.raises(UserError, match=r"https://.*SSL") as failure:
        patient(server).predict("pcm16", [b"ab"])
    assert "attempts" not in str(failure.value)
    server.stop()


def test_slow_is_fine_within_the_timeout(server, tmp_path):
    server.script.append(SLOW)
    started = time.monotonic()
    Client(server.address, timeout_seconds=30).tag(tone(tmp_path / "a.wav", 0.5))
    assert time.monotonic() - started >= SLOW_SECONDS


def without(name):
    return lambda outputs: {key: values for key, values in outputs.items() if key != name}


def replaced(name, value):
    return lambda outputs: {**outputs, name: value}


NONSENSE = {
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


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_refused(server, nonsense):
    server.script.append(nonsense)
    silence = np.zeros(10, "<i2").tobytes()
    with pytest.raises(UserError, match=r"its answer is not that of a tagger's signature pcm16"):
        Client(server.address).predict("pcm16", [silence, silence])


@pytest.mark.parametrize("content", [b"<html>", b"", b"[1, 2]", b'{"outputs": [1]}', b'{"predictions": []}'])
def test_other_http_servers_are_told_from_model_servers(content):
    server = RestServer()
    server.script.append(content)
    with pytest.raises(UserError, match="not that of a model server"):
        Client(server.address).predict("pcm16", [b"ab"])
    server.stop()


def test_bytes_that_are_no_message_are_refused():
    server = GrpcServer()
    server.script.append(b"\xff\xff\xff")
    with pytest.raises(UserError, match="INTERNAL"):
        Client(server.address).predict("pcm16", [b"ab"])
    server.stop()


def test_a_connection_cut_off_is_tried_again(patient):
    server = RestServer()
    server.script.extend([b"HANG UP", FINE])
    (answer,) = patient(server).predict("pcm16", [np.full(9, 16384, "<i2").tobytes()])
    assert answer.top == pytest.approx(top_five(0.5))
    server.stop()


@pytest.mark.parametrize(("scheme", "kind"), [("", GrpcServer), ("grpc://", GrpcServer), ("http://", RestServer)])
def test_a_refused_connection_is_tried_again_until_the_server_is_up(scheme, kind):
    port = _free_port()
    with pytest.raises(UserError, match=r"not available, 2 attempts: .*[Rr]efused"):
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


def test_waits_double_up_to_a_bound_and_are_drawn_at_random(monkeypatch):
    server, bounds, waits = RestServer(), [], []
    monkeypatch.setattr(client_module.random, "uniform", lambda low, high: bounds.append((low, high)) or high / 2)
    monkeypatch.setattr(client_module.time, "sleep", waits.append)
    server.script.extend([BUSY] * 8)
    with pytest.raises(UserError):
        Client(server.address, attempts=8).predict("pcm16", [b"ab"])
    assert bounds == [(0, 0.5), (0, 1), (0, 2), (0, 4), (0, 8), (0, 8), (0, 8)]
    assert waits == [high / 2 for _, high in bounds]
    server.stop()


def test_a_unix_socket(tmp_path_factory):
    server = GrpcServer(f"unix:{tmp_path_factory.mktemp('s')}/s")
    (answer,) = Client(server.address).predict("pcm16", [np.full(9, 16384, "<i2").tobytes()])
    assert answer.top == pytest.approx(top_five(0.5))
    server.stop()


@pytest.mark.parametrize(
    "address",
    ["localhost", "localhost:", "localhost:x", ":8500", "ftp://a:1", "http://", "unix:", "a:1/b", "a:70000"],
)
def test_other_addresses_are_refused(address):
    with pytest.raises(UserError, match=r"--server: found .*, expected HOST:PORT"):
        Client(address)


def test_a_closed_client_asks_no_more():
    server = GrpcServer()
    with Client(server.address) as client:
        client.predict("pcm16", [b"ab"])
    with pytest.raises(ValueError, match="closed channel"):
        client.predict("pcm16", [b"ab"])
    server.stop()


def test_rest_needs_no_tensorflow():
    code = (
        "import sys; from genre_tagger.export.client import Client; Client('http://localhost:8501')\n"
        "sys.exit(str({'tensorflow', 'keras', 'grpc'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.strip() == ""
