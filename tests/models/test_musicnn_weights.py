"""The published weights, from the wheel at $MUSICNN_WHEEL, compared with the graph published by their authors."""

import ast
import json
import os
import re
import zipfile
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from typer.testing import CliRunner

from genre_tagger.commands.app import app
from genre_tagger.models.musicnn_weights import extract_checkpoint
from genre_tagger.sources.clips import read_tags
from genre_tagger.tagging.tagger import Tagger

WHEEL = Path(os.environ.get("MUSICNN_WHEEL", ""))
REAL_SCORES = {"techno": 0.585, "electronic": 0.541, "synth": 0.419, "fast": 0.272, "beat": 0.213, "drums": 0.120}
pytestmark = pytest.mark.skipif(not WHEEL.is_file(), reason="no wheel of musicnn 0.1.0 in $MUSICNN_WHEEL")


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> Path:
    """Return the run directory of the imported model. Tests must not change it."""
    path = tmp_path_factory.mktemp("runs") / "musicnn"
    invoke("import", "musicnn", "--wheel", WHEEL, "--run", path)
    return path


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    """Return the content of files in the wheel."""
    with zipfile.ZipFile(WHEEL) as archive:
        return {name: archive.read(f"musicnn/{name}") for name in ("MTT_musicnn/.meta", "configuration.py")}


def by_the_authors_graph(meta: bytes, prefix: Path, log_mel: np.ndarray) -> np.ndarray:
    """Compute probabilities [windows, tags] of log-mel [windows, frames, mels] with the graph saved by the authors.

    No code of this package is involved. The graph is reduced to the part that computes the probabilities, because
    TensorFlow 2 cannot load its gradients. The values of variables are fed from the checkpoint.
    """
    saved = tf.compat.v1.MetaGraphDef.FromString(meta).graph_def
    inference = tf.compat.v1.graph_util.extract_sub_graph(saved, ["model/Sigmoid"])
    checkpoint = tf.train.load_checkpoint(str(prefix))
    variables = [node.name.removesuffix("/read") for node in inference.node if node.name.endswith("/read")]
    fed = {f"{name}/read:0": checkpoint.get_tensor(name) for name in variables}
    fed |= {"model/Placeholder:0": log_mel, "model/Placeholder_2:0": False}  # the second is the training flag
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(inference, name="")
        return session.run("model/Sigmoid:0", fed)


def test_tagging_equals_the_authors_graph(imported, members, tmp_path):
    rng = np.random.default_rng(0)
    time = np.arange(100_000) / 16_000  # two windows and a remainder
    beats = rng.normal(0, 0.3, time.size) * np.exp(-20 * (time % 0.5))
    chord = sum(np.sin(2 * np.pi * hertz * time) for hertz in (110, 220, 330, 440)) * (time % 2 < 1)
    waveform = (0.1 * chord + beats).clip(-1, 1).astype(np.float32)
    soundfile.write(tmp_path / "song.wav", waveform, 16_000, subtype="FLOAT")
    mel = librosa.feature.melspectrogram(y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96).T
    patches = np.log10(10_000 * mel[: 2 * 187] + 1).reshape(2, 187, 96)
    prefix = extract_checkpoint(WHEEL, tmp_path)
    expected = by_the_authors_graph(members["MTT_musicnn/.meta"], prefix, patches)
    assert expected.max() > 0.3 and np.ptp(expected, axis=0).max() > 0.01
    found = Tagger.load(imported).taggram(tmp_path / "song.wav").probabilities
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_tags_are_in_the_order_of_the_authors(imported, members):
    labels = re.search(r"MTT_LABELS = (\[.*?\])", members["configuration.py"].decode(), re.DOTALL)[1]
    assert list(read_tags(imported / "tags.txt")) == ast.literal_eval(labels)


def test_real_clip_has_the_scores_that_musicnn_printed(imported, real_mp3):
    found = json.loads(invoke("tag", imported, real_mp3, "--top", 6, "--json"))["tags"]
    assert found == pytest.approx(REAL_SCORES, abs=0.002)
