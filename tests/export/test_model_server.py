"""TensorFlow Serving itself on loopback, if it is installed: answers, batching, warm-up and a second version."""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from facts import check_facts
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from genre_tagger.audio.decode import to_pcm16
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES, MODEL_NAME, SIGNATURES
from genre_tagger.export.exporter import ExportRequest, export_savedmodel
from genre_tagger.export.serving import Listening, prepare_server

SERVER = shutil.which("tensorflow_model_server")
START_SECONDS = 120

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SERVER is None, reason="tensorflow_model_server is not on the PATH"),
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def opened(url, body=None):
    """Return the JSON answer of the server, requested without a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, data=body and json.dumps(body).encode(), timeout=60) as answer:
        return json.load(answer)


def states(rest_port):
    """Return the state of each version. The server accepts connections only after it has loaded all versions."""
    try:
        status = opened(f"http://127.0.0.1:{rest_port}/v1/models/{MODEL_NAME}")["model_version_status"]
    except OSError:
        return {}
    return {entry["version"]: entry["state"] for entry in status}


def wait_for(rest_port, version, process, log):
    end = time.monotonic() + START_SECONDS
    while states(rest_port).get(version) != "AVAILABLE":
        assert process.poll() is None, f"the server ended with {process.returncode}: {log.read_text()[-3000:]}"
        assert time.monotonic() < end, f"version {version} is not AVAILABLE: {log.read_text()[-3000:]}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def served(run, tmp_path_factory):
    """A server started as by `serve`: (directory of the models, gRPC stub, REST port, process, path of the log)."""
    directory, log = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("log") / "log"
    export_savedmodel(ExportRequest(run.path, directory, workers=1))
    port, rest_port = free_port(), free_port()
    command = prepare_server(directory, Listening.at("0.0.0.0", port, rest_port), cores=2).command
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # the log must report the warm-up
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_for(rest_port, "1", process, log)
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
            yield directory, PredictionServiceStub(channel), rest_port, process, log
    finally:
        process.terminate()
        process.wait(30)


def predict(stub, signature, name, values):
    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL_NAME, signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return stub.Predict(request, timeout=60)


def ask(*question):
    return tf.make_ndarray(predict(*question).outputs["probabilities"])


def test_grpc_and_rest_answers_equal_the_model(served, model, windows):
    _, stub, rest_port, *_ = served
    expected = model.predict(windows, verbose=0)
    np.testing.assert_allclose(ask(stub, "serving_default", "waveform", windows), expected, atol=1e-5)
    pcm = to_pcm16(windows[0].copy())
    body = {"signature_name": "pcm16", "inputs": {"audio": [{"b64": base64.b64encode(pcm.tobytes()).decode()}]}}
    url = f"http://127.0.0.1:{rest_port}/v1/models/{MODEL_NAME}:predict"
    outputs = opened(url, body)["outputs"]
    expected = model.predict((pcm / np.float32(32768))[None], verbose=0)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    assert outputs["error"] == [""]


def test_64_concurrent_requests_equal_single_ones(served, windows, make_tones, to_wav):
    _, stub, *_ = served
    requests = []
    for number in range(16):
        wav = to_wav(make_tones(44_100, 0.3 + 0.1 * number, seed=number), 44_100)
        pcm = to_pcm16(windows[number % 5].copy()).tobytes()
        requests += [("serving_default", "waveform", windows[number % 5][None]), ("pcm16", "audio", [pcm])]
        requests += [("wav", "audio", [wav]), ("wav", "audio", [b"garbage"])]
    alone = [ask(stub, *request) for request in requests]
    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(lambda request: ask(stub, *request), requests))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_server_warms_up_and_loads_a_second_version(served, run):
    directory, stub, rest_port, process, log = served
    assert f"Number of warmup records read: {len(SIGNATURES) * len(ALLOWED_BATCH_SIZES)}" in log.read_text()
    assert predict(stub, "pcm16", "audio", [b"x"]).model_spec.version.value == 1
    export_savedmodel(ExportRequest(run.path, directory, workers=1))
    wait_for(rest_port, "2", process, log)
    answer = predict(stub, "pcm16", "audio", [b"x"])
    assert answer.model_spec.version.value == 2
    check_facts(answer.outputs["error"].string_val[0].decode(), " 1 bytes")
