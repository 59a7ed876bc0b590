"""Taggers that use an exported version, or a server of one, give the same results as the tagger of the run."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from facts import check_facts, expect_error
from typer.testing import CliRunner

from genre_tagger.audio.decode import NOT_FINITE
from genre_tagger.commands.app import app
from genre_tagger.export import request_audio
from genre_tagger.export.client import Client
from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.models.tagger import load_tagger
from genre_tagger.tagging.tag_files import tagger_by_server
from genre_tagger.tagging.tagger import Tagger
from genre_tagger.tagging.window_models import ModelFiles


@pytest.fixture(scope="module")
def song(tmp_path_factory, make_tones):
    """A file of 5 s at 12 kHz with 2 s of digital silence, so that some windows are silent and some partly silent."""
    waveform = make_tones(12_000, 5)[:, 0]
    waveform[18_000:42_000] = 0
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, waveform, 12_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def taggram(run, song):
    """The taggram of the song, computed by the run."""
    return Tagger.load(run.path).taggram(song, embed=True)


@pytest.fixture
def serving(server, signatures, monkeypatch):
    """The scripted server, which answers with the signatures of the exported version."""

    def answer(model, label, signature, items):
        server.requests.append((model, label, signature, items))
        name = "waveform" if isinstance(items, np.ndarray) else "audio"
        outputs = signatures[signature](**{name: tf.constant(items)})
        plain = {key: value.numpy() for key, value in outputs.items()}
        return {
            key: np.char.decode(value.astype(bytes), "utf-8").tolist() if value.dtype == object else value.tolist()
            for key, value in plain.items()
        }

    monkeypatch.setattr(server, "answer", answer)
    return server


def tag(*arguments):
    """Run the command `tag`."""
    return CliRunner().invoke(app, ["tag", *map(str, arguments)], catch_exceptions=False)


def test_exported_version_gives_the_taggram_of_its_run(exported, loaded, song, taggram, monkeypatch):
    """The version is loaded from its own folder and from the folder of all versions."""
    assert len(taggram.times) == 24 and np.ptp(taggram.probabilities) > 0.1
    paths = []
    monkeypatch.setattr(tf.saved_model, "load", lambda path: paths.append(path) or loaded)  # loading takes seconds
    of_version, of_folder = (Tagger.load(path) for path in (exported, exported.parent))
    assert paths == [str(exported)] * 2
    assert of_version.model_version == of_folder.model_version
    again = of_folder.taggram(song, embed=True)
    np.testing.assert_array_equal(again.times, taggram.times)
    np.testing.assert_allclose(again.probabilities, taggram.probabilities, atol=1e-4)
    np.testing.assert_allclose(again.embedding, taggram.embedding, atol=1e-3)


def test_signature_taggram_gives_the_taggram_of_the_run(signatures, song, taggram):
    served = signatures["taggram"](audio=tf.constant([song.read_bytes()]))
    np.testing.assert_allclose(served["times"][0], taggram.times, atol=1e-5)
    np.testing.assert_allclose(served["probabilities"][0], taggram.probabilities, atol=1e-4)


def test_server_and_local_files_of_its_model_give_all_outputs(serving, exported, song, taggram, tmp_path, drawn):
    names = {"csv": "a.csv", "parquet": "b.parquet", "embeddings": "c.parquet", "taggram": "d.png"}
    outputs = {f"--{option}": tmp_path / name for option, name in names.items()}
    options = [part for option in outputs.items() for part in option]
    result = tag("--server", serving.address, exported, song, "--json", "--top", 7, *options)
    assert result.exit_code == 0, result.output
    tags = ExportedVersion.open(exported).tags
    expected = dict(zip(tags, taggram.scores.tolist(), strict=True))
    shown = json.loads(result.stdout)["tags"]
    assert shown == pytest.approx(expected, abs=1e-4)
    assert list(shown.values()) == sorted(shown.values(), reverse=True)
    for table in (pd.read_csv(outputs["--csv"]), pd.read_parquet(outputs["--parquet"])):
        assert {name: table[f"score:{name}"][0] for name in tags} == pytest.approx(expected, abs=1e-4)
    embedding = pd.read_parquet(outputs["--embeddings"])["embedding"][0]
    np.testing.assert_allclose(embedding, taggram.embedding, atol=1e-3)
    assert outputs["--taggram"].read_bytes().startswith(b"\x89PNG")
    assert [label.get_text() for label in drawn[0].axes[0].get_yticklabels()] == list(shown)
    assert {signature for *_, signature, _ in serving.requests} == {"pcm16", "embed"}
    # A known file is not scored again: only the sound that identifies the model is sent.
    before = len(serving.requests)
    again = tag("--server", serving.address, exported, song, "--csv", outputs["--csv"])
    assert again.exit_code == 0, again.output
    assert len(serving.requests) == before + 1


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (lambda tags: [*tags, "more"], (" 7 ", " 8 ")),
        (lambda tags: tags[::-1], ("tag '",)),
        (lambda tags: [f"new {tag}" for tag in tags], ("tag '",)),
    ],
)
def test_model_with_other_tags_than_the_server_is_refused(serving, exported, song, tmp_path, failure, change, facts):
    other = shutil.copytree(exported, tmp_path / "1")
    file = other / "assets" / "tags.txt"
    file.write_text("".join(f"{name}\n" for name in change(file.read_text().splitlines())))
    line = failure("tag", "--server", serving.address, other, song, "--csv", tmp_path / "out.csv")
    check_facts(line, f"{serving.address}: ", other, *facts)


@pytest.fixture(scope="module")
def retrained(run, tmp_path_factory):
    """A run with the same tags and other weights."""
    path = shutil.copytree(run.path, tmp_path_factory.mktemp("retrained") / "tiny")
    model = load_tagger(path / "model.keras")
    last = model.get_layer("probabilities")
    last.bias.assign(np.asarray(last.bias) + np.linspace(-0.5, 0.5, 7))
    model.save(path / "model.keras")
    return path


def test_server_of_a_retrained_model_is_refused(serving, retrained, song, tmp_path, failure):
    line = failure("tag", "--server", serving.address, retrained, song, "--csv", tmp_path / "out.csv")
    check_facts(line, f"{serving.address}: ", retrained)
    found, expected = re.findall(r"\b0\.\d{3}\b", line)
    assert 0.05 < abs(float(found) - float(expected)) < 0.25 * 0.5 + 0.001  # 0.25 is the steepest slope of a sigmoid
    assert len(serving.requests) == 1 and not (tmp_path / "out.csv").exists()


def test_run_of_the_served_model_is_accepted(serving, run):
    assert tagger_by_server(Client(serving.address), run.path).model_version == ModelFiles.find(run.path).version


def test_model_with_other_windows_than_the_server_is_refused(serving, exported, song, tmp_path, failure):
    other = shutil.copytree(exported, tmp_path / "1")
    file = other / "assets" / "config.yaml"
    file.write_text(file.read_text().replace("seconds: 0.5", "seconds: 0.75"))
    line = failure("tag", "--server", serving.address, other, song)
    check_facts(line, "18000 bytes", 12_000, other)


def test_invalid_answer_of_the_signature_embed_is_refused(server, patient):
    client = patient(server)
    server.script.append(lambda outputs: {"embedding": [[1.0, 2.0]], "error": [""]})
    np.testing.assert_array_equal(client.embed(np.ones((1, 8), np.float32)), [[1, 2]])
    for wrong in (lambda _: {"scores": [1.0]}, lambda _: {"embedding": [1.0], "error": [""]}):
        server.script.append(wrong)
        with expect_error(server.address, " embed "):
            client.embed(np.ones((1, 8), np.float32))


def test_error_of_an_exported_version_is_not_taken_for_scores(exported, loaded, monkeypatch):
    monkeypatch.setattr(tf.saved_model, "load", lambda path: loaded)
    model, windows = ModelFiles.find(exported).load(), np.ones((2, 6000), np.float32)
    assert model(windows, embed=True)[1].any()
    windows[1, 7] = np.nan
    with expect_error(f"{exported}: ", NOT_FINITE):
        model(windows, embed=False)


@pytest.mark.parametrize("seconds", [0.5, 1.5])  # one piece, two pieces
def test_silent_file_is_flagged_without_files_of_the_model(server, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(request_audio, "WAV_MAX_SECONDS", 1)
    for steps in (7, 8):  # of 16 bits: -73.4 and -72.2 dB
        soundfile.write(tmp_path / f"{steps}.wav", np.full(round(seconds * 16_000), steps, np.int16), 16_000)
    hush, soft = (tag("--server", server.address, tmp_path / f"{steps}.wav") for steps in (7, 8))
    assert (hush.exit_code, hush.stdout) == (0, f"{tmp_path}/7.wav: silent\n")
    assert soft.exit_code == 0 and "quiet" in soft.stdout
    assert len(server.requests) == 1
