"""An exported version works without this package: stock ops, plain TensorFlow, a C program, saved_model_cli."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from facts import check_facts
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from genre_tagger.audio.decode import decode, to_pcm16
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES, SIGNATURES
from genre_tagger.export.warmup import WARMUP_PATH

ELSEWHERE = """
import json, re, struct, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("genre_tagger", "tensorflow_io"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

version, music, ops = sys.argv[1:]
signatures = (loaded := tf.saved_model.load(version)).signatures
answer = signatures["wav"](audio=tf.constant([open(music, "rb").read()]))
seconds, rate = 600, 48_000
samples = (20_000 * tf.sin(tf.range(rate, dtype=tf.float32))).numpy().astype("<i2")
form = struct.pack("<IHHIIHH", 16, 1, 2, rate, 4 * rate, 4, 16)
header = b"RIFF" + b"\\xff" * 4 + b"WAVEfmt " + form + b"data" + b"\\xff" * 4
long = signatures["taggram"](audio=tf.constant([header + samples.repeat(2).tobytes() * seconds]))
print(json.dumps({
    "unknown ops": [op for op in ops.split() if op_def_registry.get(op) is None],
    "probabilities": answer["probabilities"].numpy()[0].tolist(),
    "errors": [answer["error"].numpy()[0].decode(), long["error"].numpy()[0].decode()],
    "windows": int(long["num_windows"][0]),
    "peak mb": int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024 / 1e6,
}))
"""

# Runs saved_model_cli several times in one process, because importing TensorFlow takes seconds.
SAVED_MODEL_CLI = """
import json, sys
from tensorflow.python.tools import saved_model_cli
for call in json.loads(sys.argv[1]):
    sys.argv = ["saved_model_cli", *call]
    try:
        saved_model_cli.main()
    except SystemExit as ending:
        if ending.code:
            raise
"""


@pytest.fixture(scope="module")
def meta_graph(exported):
    saved = SavedModel()
    saved.ParseFromString((exported / "saved_model.pb").read_bytes())
    (graph,) = saved.meta_graphs
    return graph


@pytest.fixture(scope="module")
def ops(meta_graph):
    """The names of all ops in the graph and its functions."""
    functions = meta_graph.graph_def.library.function
    nodes = [*meta_graph.graph_def.node, *(node for function in functions for node in function.node_def)]
    return {node.op for node in nodes} - {function.signature.name for function in functions}


@pytest.fixture(scope="module")
def music(make_tones, tmp_path_factory):
    """A WAV file of one second at 44.1 kHz."""
    path = tmp_path_factory.mktemp("music") / "music.wav"
    soundfile.write(path, make_tones(44_100, 1.0, 2), 44_100)
    return path


@pytest.fixture(scope="module")
def elsewhere(exported, music, ops):
    """Results of a process that loads the exported version without this package and tensorflow-io."""
    command = [sys.executable, "-c", ELSEWHERE, exported, music, " ".join(sorted(ops))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_all_ops_are_in_a_stock_tensorflow(ops, elsewhere):
    assert elsewhere["unknown ops"] == []
    assert {"Conv2D", "DecodePaddedRaw", "Substr"} <= ops
    assert not ops & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}


def test_plain_tensorflow_gives_the_same_answer(elsewhere, signatures, music):
    here = signatures["wav"](audio=tf.constant([music.read_bytes()]))["probabilities"].numpy()[0]
    np.testing.assert_allclose(elsewhere["probabilities"], here, atol=1e-6)


def test_ten_minutes_of_stereo_stay_under_two_gigabytes(elsewhere):
    assert elsewhere["errors"] == ["", ""]
    assert elsewhere["windows"] == 1 + -(-(600 * 12_000 - 6_000) // 2_400)
    assert elsewhere["peak mb"] < 2000


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    """The compiled predict.c."""
    if not (compiler := shutil.which("gcc")):
        pytest.skip("gcc is not installed")
    package, program = Path(tf.__file__).parent, tmp_path_factory.mktemp("c") / "predict"
    libraries = [f"-L{package}", f"-Wl,-rpath,{package}", "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
    source = Path(__file__).with_name("predict.c")
    subprocess.run([compiler, source, "-o", program, f"-I{package / 'include'}", *libraries], check=True)
    return program


@pytest.mark.parametrize("name", ["serving_default", "pcm16"])
def test_c_program_gives_the_probabilities_of_predict(
    c_program, exported, meta_graph, model, config, real_mp3, tmp_path, name
):
    window = decode(real_mp3, config.frontend.sample_rate)[60_000:][: config.window_samples]
    pcm = to_pcm16(window.copy())
    content = window if name == "serving_default" else pcm
    content.tofile(tmp_path / "input")
    signature = meta_graph.signature_def[name]
    (feed,) = (info.name.split(":")[0] for info in signature.inputs.values())
    fetch, index = signature.outputs["probabilities"].name.split(":")
    kind = ["float", str(len(window))] if name == "serving_default" else ["string"]
    command = [c_program, exported, feed, fetch, index, *kind, tmp_path / "input"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    expected = model.predict((pcm / np.float32(32768) if name == "pcm16" else window)[None], verbose=0)[0]
    np.testing.assert_allclose([float(line) for line in result.stdout.split()], expected, atol=1e-5)


def test_saved_model_cli_shows_and_runs_the_signatures(exported, windows, signatures, tmp_path):
    np.save(tmp_path / "windows.npy", windows)
    common = ["--dir", str(exported), "--tag_set", "serve"]
    options = ["--signature_def", "serving_default", "--inputs", f"waveform={tmp_path / 'windows.npy'}"]
    calls = [["show", *common], ["run", *common, *options, "--outdir", str(tmp_path)]]
    command = [sys.executable, "-c", SAVED_MODEL_CLI, json.dumps(calls)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr[-2000:]
    check_facts(result.stdout, *SIGNATURES)
    expected = signatures["serving_default"](waveform=tf.constant(windows))["probabilities"]
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-6)


def test_warmup_has_valid_requests_for_every_signature_and_batch_size(exported, signatures):
    asked = []
    for record in tf.data.TFRecordDataset(str(exported / WARMUP_PATH)).as_numpy_iterator():
        request = PredictionLog.FromString(record).predict_log.request
        ((name, tensor),) = request.inputs.items()
        values = tf.make_ndarray(tensor)
        asked.append((request.model_spec.signature_name, len(values)))
        if len(values) == 2:
            answer = signatures[request.model_spec.signature_name](**{name: tf.constant(values)})
            assert answer["error"].numpy().tolist() == [b"", b""]
    assert asked == [(signature, batch) for signature in SIGNATURES for batch in ALLOWED_BATCH_SIZES]
    assert (exported / WARMUP_PATH).stat().st_size < 10e6


def test_assets_have_the_documented_paths(exported, run):
    assert (exported / "assets/tags.txt").read_text() == run.tags.read_text()
    thresholds = json.loads((exported / "assets/thresholds.json").read_text())
    assert list(thresholds["tags"]) == run.tags.read_text().splitlines()
    assert thresholds["objective"] == "f1"
