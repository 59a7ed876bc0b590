"""The real TensorFlow Serving on loopback, where it is installed: answers, batching, warm-up, a second version."""

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
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from genre_tagger.data.decode import to_pcm16
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES, MODEL_NAME, SIGNATURES
from genre_tagger.export.serving import Listening, prepare_server
from genre_tagger.exporting import export_savedmodel

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
    """The JSON that the server answers; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, data=body and json.dumps(body).encode(), timeout=60) as answer:
        return json.load(answer)


def states(rest_port):
    """The state of each version that the server knows; none before it listens, which it does once all are loaded."""
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
    """(directory of models, gRPC stub, REST port, process, path of its log) of a server as `serve` starts it."""
    directory, log = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("log") / "log"
    export_savedmodel(run.path, directory, workers=1, progress=None)
    port, rest_port = free_port(), free_port()
    command = prepare_server(directory, Listening.at("0.0.0.0", port, rest_port), cores=2).command
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}  # the log tells of warm-up
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


def test_grpc_and_rest_answer_as_the_model(served, model, windows):
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


def test_64_mixed_requests_at_once_equal_one_by_one(served, windows, make_tones, to_wav):
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


def test_it_warms_up_and_takes_a_second_version(served, run):
    directory, stub, rest_port, process, log = served
    assert f"Number of warmup records read: {len(SIGNATURES) * len(ALLOWED_BATCH_SIZES)}" in log.read_text()
    assert predict(stub, "pcm16", "audio", [b"x"]).model_spec.version.value == 1
    export_savedmodel(run.path, directory, workers=1, progress=None)
    wait_for(rest_port, "2", process, log)
    answer = predict(stub, "pcm16", "audio", [b"x"])
    assert answer.model_spec.version.value == 2
    assert answer.outputs["error"].string_val[0].startswith(b"found 1 bytes")
