"""Taggers by an exported version and by a server of one: the same as the run's, whatever the song."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from typer.testing import CliRunner

from genre_tagger.cli import app
from genre_tagger.errors import UserError
from genre_tagger.export import pieces
from genre_tagger.export.client import Client
from genre_tagger.models.tagger import load_tagger
from genre_tagger.tagging.library import tagger_by_server
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.tagger import Tagger


@pytest.fixture(scope="module")
def song(tmp_path_factory, make_tones):
    """5 s at 12 kHz, two of them digital silence, so that some windows are silent and some in part."""
    waveform = make_tones(12_000, 5)[:, 0]
    waveform[18_000:42_000] = 0
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, waveform, 12_000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def taggram(run, song):
    """By the run."""
    return Tagger.of_model(run.path).taggram(song, embed=True)


@pytest.fixture
def serving(server, signatures, monkeypatch):
    """The scripted server, but with the exported version's own signatures behind it."""

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
    return CliRunner().invoke(app, ["tag", *map(str, arguments)], catch_exceptions=False)


def test_an_exported_version_gives_the_run_s_taggram(exported, song, taggram):
    assert len(taggram.times) == 24 and np.ptp(taggram.probabilities) > 0.1
    of_version, of_folder = (Tagger.of_model(path) for path in (exported, exported.parent))
    assert of_version.model_version == of_folder.model_version
    again = of_folder.taggram(song, embed=True)
    np.testing.assert_array_equal(again.times, taggram.times)
    np.testing.assert_allclose(again.probabilities, taggram.probabilities, atol=1e-4)
    np.testing.assert_allclose(again.embedding, taggram.embedding, atol=1e-3)


def test_the_signature_taggram_agrees(signatures, song, taggram):
    served = signatures["taggram"](audio=tf.constant([song.read_bytes()]))
    np.testing.assert_allclose(served["times"][0], taggram.times, atol=1e-5)
    np.testing.assert_allclose(served["probabilities"][0], taggram.probabilities, atol=1e-4)


def test_a_server_with_its_model_here_gives_all_of_it(serving, exported, song, taggram, tmp_path, drawn):
    names = {"csv": "a.csv", "parquet": "b.parquet", "embeddings": "c.parquet", "taggram": "d.png"}
    outputs = {f"--{option}": tmp_path / name for option, name in names.items()}
    options = [part for option in outputs.items() for part in option]
    result = tag("--server", serving.address, exported, song, "--json", "--top", 7, *options)
    assert result.exit_code == 0, result.output
    tags = Tagger.of_model(exported).tags
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
    # The run's own table would go on: server, export and run of one model differ in version by their files alone.
    again = tag("--server", serving.address, exported, song, "--csv", outputs["--csv"])
    assert again.stdout.startswith("1 known already")


@pytest.mark.parametrize(
    ("mend", "expected"),
    [
        (lambda tags: [*tags, "more"], "its model has 7 tags, expected the 8 of "),
        (lambda tags: tags[::-1], "its model has the tag "),
        (lambda tags: [f"new {tag}" for tag in tags], "its model has the tag "),
    ],
)
def test_a_model_of_other_tags_than_the_server_s_is_refused(serving, exported, song, tmp_path, failure, mend, expected):
    other = shutil.copytree(exported, tmp_path / "1")
    file = other / "assets" / "tags.txt"
    file.write_text("".join(f"{name}\n" for name in mend(file.read_text().splitlines())))
    line = failure("tag", "--server", serving.address, other, song, "--csv", tmp_path / "out.csv")
    assert line.startswith(f"{serving.address}: {expected}") and str(other) in line


@pytest.fixture(scope="module")
def retrained(run, tmp_path_factory):
    """The run with other weights and the same tags."""
    path = shutil.copytree(run.path, tmp_path_factory.mktemp("retrained") / "tiny")
    model = load_tagger(path / "model.keras")
    last = model.get_layer("probabilities")
    last.bias.assign(np.asarray(last.bias) + np.linspace(-0.5, 0.5, 7))
    model.save(path / "model.keras")
    return path


def test_a_server_of_a_retrained_model_is_refused(serving, retrained, song, tmp_path, failure):
    line = failure("tag", "--server", serving.address, retrained, song, "--csv", tmp_path / "out.csv")
    found, expected = re.fullmatch(
        rf"{serving.address}: has another model than {retrained}: scores '.+' (0\.\d+) in a reference sound, "
        r"expected (0\.\d+)",
        line,
    ).groups()
    assert 0.05 < abs(float(found) - float(expected)) < 0.25 * 0.5 + 0.001  # the sigmoid's steepest slope
    assert len(serving.requests) == 1 and not (tmp_path / "out.csv").exists()


def test_the_run_of_what_is_served_is_taken(serving, run):
    assert tagger_by_server(Client(serving.address), run.path).model_version == ModelFiles.find(run.path).version


def test_a_model_of_other_windows_than_the_server_s_is_refused(serving, exported, song, tmp_path, failure):
    other = shutil.copytree(exported, tmp_path / "1")
    file = other / "assets" / "config.yaml"
    file.write_text(file.read_text().replace("seconds: 0.5", "seconds: 0.75"))
    line = failure("tag", "--server", serving.address, other, song)
    assert "found 18000 bytes, expected 12000" in line and str(other) in line


def test_a_server_that_is_no_tagger_of_embeddings_is_one_line(server, patient, song, failure):
    client = patient(server)
    server.script.append(lambda outputs: {"embedding": [[1.0, 2.0]], "error": [""]})
    np.testing.assert_array_equal(client.embed(np.ones((1, 8), np.float32)), [[1, 2]])
    for wrong in (lambda _: {"scores": [1.0]}, lambda _: {"embedding": [1.0], "error": [""]}):
        server.script.append(wrong)
        with pytest.raises(Exception, match="its answer is not that of a tagger's signature embed"):
            client.embed(np.ones((1, 8), np.float32))


def test_an_error_of_an_exported_version_is_no_score(exported, signatures, monkeypatch):
    monkeypatch.setattr(tf.saved_model, "load", lambda path: pytest.loaded_for_export_tests)
    model, windows = ModelFiles.find(exported).load(), np.ones((2, 6000), np.float32)
    assert model(windows, embed=True)[1].any()
    windows[1, 7] = np.nan
    with pytest.raises(UserError, match=f"^{exported}: NaN or infinity"):
        model(windows, embed=False)


@pytest.mark.parametrize("seconds", [0.5, 1.5])  # in one piece and in two
def test_silence_is_flagged_by_a_server_alone_as_by_a_model(server, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(pieces, "WAV_MAX_SECONDS", 1)
    for steps in (7, 8):  # of 16 bits: -73.4 and -72.2 dB
        soundfile.write(tmp_path / f"{steps}.wav", np.full(round(seconds * 16_000), steps, np.int16), 16_000)
    hush, soft = (tag("--server", server.address, tmp_path / f"{steps}.wav") for steps in (7, 8))
    assert (hush.exit_code, hush.stdout) == (0, f"{tmp_path}/7.wav: silent\n")
    assert soft.exit_code == 0 and "quiet" in soft.stdout
    assert len(server.requests) == 1
