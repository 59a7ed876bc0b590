"""The command `import` on a wheel with random weights, whose outputs plain TensorFlow also computes."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile
import tensorflow as tf
from facts import check_facts, expect_error
from typer.testing import CliRunner

from genre_tagger.commands import import_
from genre_tagger.commands.app import app
from genre_tagger.config import load_config
from genre_tagger.export.exporter import RunToExport
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.models import musicnn_weights
from genre_tagger.models.tagger import load_tagger
from genre_tagger.runs.directory import open_run
from genre_tagger.sources.clips import read_tags
from genre_tagger.sources.magnatagatune.tags import STANDARD_TAGS
from genre_tagger.sources.registry import SourceOptions
from genre_tagger.tagging.tagger import Tagger

CONVOLUTIONS = [
    (7, 38, 1, 204),
    (7, 67, 1, 204),
    (128, 1, 1, 51),
    (64, 1, 1, 51),
    (32, 1, 1, 51),
    (7, 561, 1, 64),
    (7, 64, 1, 64),
    (7, 64, 1, 64),
]
NORMS = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]
DENSE = [(1506, 200), (200, 50)]


def scope(kind, number):
    return f"{kind}_{number}" if number else kind


def random_variables():
    """Return variables of a TensorFlow 1 checkpoint like that of musicnn, including some of an optimizer."""
    rng = np.random.default_rng(0)
    variables = {"beta1_power": np.float32(0.9), "dense/kernel/Adam": np.zeros((1506, 200), np.float32)}
    for kind, shapes in (("conv2d", CONVOLUTIONS), ("dense", DENSE)):
        for number, shape in enumerate(shapes):
            kernel = rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
            values = {"kernel": kernel, "bias": rng.normal(0, 0.3, shape[-1])}
            variables |= {f"{scope(kind, number)}/{name}": value for name, value in values.items()}
    for number, size in enumerate(NORMS):
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            value = rng.uniform(0.5, 1.5, size) if name in ("gamma", "moving_variance") else rng.normal(0, 0.3, size)
            variables[f"{scope('batch_normalization', number)}/{name}"] = value
    return {name: np.asarray(value, np.float32) for name, value in variables.items()}


def by_tensorflow(variables, log_mel):
    """Return the probabilities [windows, tags] of log-mel [windows, frames, mels], computed from the checkpoint."""

    def norm(x, number):
        name = scope("batch_normalization", number)
        parts = [variables[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "beta", "gamma")]
        return tf.nn.batch_normalization(x, *parts, 1e-3)

    def filtered(x, number, padding):
        name = scope("conv2d", number)
        y = tf.nn.conv2d(x, variables[f"{name}/kernel"], 1, padding) + variables[f"{name}/bias"]
        return norm(tf.nn.relu(y), number + 1)

    def dense(x, number):
        return x @ variables[f"{scope('dense', number)}/kernel"] + variables[f"{scope('dense', number)}/bias"]

    def with_frames(x):
        return tf.pad(x, [[0, 0], [3, 3], [0, 0], [0, 0]])

    image = norm(log_mel[..., tf.newaxis], 0)
    features = [tf.reduce_max(filtered(with_frames(image), number, "VALID"), axis=2) for number in (0, 1)]
    features += [tf.reduce_max(filtered(image, number, "SAME"), axis=2) for number in (2, 3, 4)]
    levels = [tf.concat(features, axis=2)]
    for number in (5, 6, 7):
        y = filtered(with_frames(levels[-1][..., tf.newaxis]), number, "VALID")[:, :, 0]
        levels.append(y if number == 5 else y + levels[-1])
    x = tf.concat(levels, axis=2)
    pooled = tf.stack([tf.reduce_max(x, axis=1), tf.reduce_mean(x, axis=1)], axis=2)  # maximum and mean alternate
    flat = norm(tf.reshape(pooled, [len(log_mel), -1]), 9)
    return tf.sigmoid(dense(norm(tf.nn.relu(dense(flat, 0)), 10), 1)).numpy()


def log_mel_patches(waveform):
    """Return all whole patches of 187 frames of a clip's spectrogram, as musicnn cuts them: [windows, frames, mels]."""
    mel = librosa.feature.melspectrogram(y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96).T
    count = len(mel) // 187
    return np.log10(10_000 * mel[: count * 187] + 1).reshape(count, 187, 96).astype(np.float32)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def variables():
    return random_variables()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, variables):
    """Return a wheel with these variables, some code, and a file whose name points outside the folder."""
    folder = tmp_path_factory.mktemp("wheel")
    names = list(variables)
    tf.raw_ops.SaveV2(
        prefix=str(folder / "made"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[variables[name] for name in names],
    )
    path = folder / musicnn_weights.WHEEL_NAME
    with zipfile.ZipFile(path, "w") as archive:
        for part in (".index", ".data-00000-of-00001"):
            archive.write(folder / f"made{part}", f"musicnn/MTT_musicnn/{part}")
        archive.writestr("musicnn-0.1.0.dist-info/LICENSE.md", "Copyright (c) the authors.\nPermission is granted.\n")
        archive.writestr("musicnn/__init__.py", "raise SystemExit('ran')")
        archive.writestr("../outside.txt", "outside")
    return path


@pytest.fixture(scope="module")
def imported(tmp_path_factory, wheel):
    """Return the run directory and what the command printed. Tests must not change the directory."""
    path = tmp_path_factory.mktemp("runs") / "musicnn"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(musicnn_weights, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
        result = invoke("import", "musicnn", "--wheel", wheel, "--run", path)
    assert result.exit_code == 0, result.output
    return path, result.stdout


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Return a file of 7.5 s at 16 kHz, which is two windows and a remainder, and its samples."""
    rng = np.random.default_rng(0)
    time = np.arange(120_000) / 16_000
    tones = sum(np.sin(2 * np.pi * hertz * time) * (np.sin(hertz * time / 99) > 0) for hertz in (220, 445, 1330, 4100))
    waveform = (0.1 * tones + rng.normal(0, 0.02, time.size)).astype(np.float32)
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, waveform, 16_000, subtype="FLOAT")
    return path, waveform


def test_the_run_is_whole_and_nothing_lies_next_to_it(imported):
    path, output = imported
    assert [entry.name for entry in path.parent.iterdir()] == ["musicnn"]
    assert {entry.name for entry in path.iterdir()} == {
        "config.yaml",
        "data.json",
        "environment.json",
        "model.keras",
        "tags.txt",
    }
    assert open_run(path)[1] == load_config("musicnn")
    check_facts(output, path, "data.json", f"genre-tagger tag {path} FILE...")
    record = json.loads((path / "data.json").read_text())
    origin = record.pop("origin")
    assert record == {"stream": False}
    assert origin["licence"] == "ISC" and origin["notice"].startswith("Copyright (c) the authors.")


def test_only_the_checkpoint_is_extracted_from_the_wheel(wheel, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    prefix = musicnn_weights.extract_checkpoint(wheel, folder)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(str(path) for path in files) == [f"{prefix}.data-00000-of-00001", f"{prefix}.index"]


def test_the_tags_are_those_of_magnatagatune_in_the_order_of_the_model(imported):
    tags = read_tags(imported[0] / "tags.txt")
    assert sorted(tags) == sorted(STANDARD_TAGS)
    assert tags.index("metal") == 47 and tags.index("female voice") == 48


def test_every_variable_lands_in_its_place(imported, variables):
    model = load_tagger(imported[0] / "model.keras")
    log_mel = np.random.default_rng(1).uniform(0, 4, (2, 187, 96)).astype(np.float32)
    after_log_mel = keras.Model(model.get_layer("log_mel").output, model.output)
    expected = by_tensorflow(variables, log_mel)
    assert np.ptp(expected) > 0.3
    np.testing.assert_allclose(after_log_mel(log_mel, training=False), expected, atol=1e-4)


def test_tagging_and_the_served_model_take_the_same_patches_as_musicnn(imported, variables, song):
    path, waveform = song
    patches = log_mel_patches(waveform)
    assert len(patches) == 2
    expected = by_tensorflow(variables, patches).mean(axis=0)
    np.testing.assert_allclose(Tagger.load(imported[0]).taggram(path).scores, expected, atol=1e-3)
    source = RunToExport.open(imported[0], "f1")
    served = ServedTagger(source.model, source.config, source.tags).signatures()["taggram"]
    answer = served(tf.constant([path.read_bytes()]))
    np.testing.assert_allclose(answer["times"], [[0, 187 * 256 / 16_000]], rtol=1e-6)
    np.testing.assert_allclose(np.mean(answer["probabilities"][0], axis=0), expected, atol=1e-3)


def test_export_without_an_evaluation_has_default_thresholds(imported, tmp_path, monkeypatch, failure):
    monkeypatch.setattr(
        "genre_tagger.export.exporter.write_savedmodel", lambda folder, served, texts: write(folder, texts)
    )
    monkeypatch.setattr("genre_tagger.export.exporter.write_warmup", lambda *_: None)

    def write(folder, texts):
        for name, text in texts.items():
            (folder / name).write_text(text)

    result = invoke("export", imported[0], tmp_path, "--licence", "CC BY-NC-SA")
    assert result.exit_code == 0, result.output
    check_facts(result.stdout, "default thresholds", "genre-tagger evaluate", "0.500")
    thresholds = json.loads((tmp_path / "tagger/1/thresholds.json").read_text())
    assert set(thresholds["tags"].values()) == {0.5} and len(thresholds["tags"]) == 50
    card = (tmp_path / "tagger/1/model_card.md").read_text()
    check_facts(card, "licence: ISC", "licence of the audio: CC BY-NC-SA", "Permission is granted.")
    check_facts(card, "log10(10000 x + 1)", "0.5")
    assert "best epoch" not in card and "ROC-AUC |" not in card
    line = failure("export", imported[0], tmp_path / "other", "--objective", "best")
    check_facts(line, "--objective: ", "'best'")


@pytest.mark.slow
def test_evaluation_on_given_data(imported, shared_music_folder, tmp_path, failure):
    run = shutil.copytree(imported[0], tmp_path / "run")
    line = failure("evaluate", run)
    check_facts(line, run, "imported", f"genre-tagger evaluate {run} SOURCE")
    places = ["--root", shared_music_folder, "--data", tmp_path / "data"]
    result = invoke("evaluate", run, "folder", *places, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    known = {tag for tag, scores in report["tags"].items() if scores["positives"] + scores["negatives"]}
    assert known == {"drums", "loud"} and report["tags"]["guitar"]["roc_auc"] is None
    record = json.loads((run / "data.json").read_text())
    assert (record["origin"]["licence"], record["source"]["source"]) == ("ISC", "folder")
    assert RunToExport.open(run, "f1").thresholds.are_chosen
    line = failure("train", "folder", *places, "--preset", "musicnn", "--run", run)
    check_facts(line, run, "imported")
    (run / "data.json").write_text(json.dumps({**record, "hash": "of other clips"}))
    check_facts(failure("evaluate", run, "folder", *places), run, "data.json")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Return a folder of eight files longer than a window, with one tag that musicnn has and one that it lacks."""
    root = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    lines = ["path,drums,humming,split"]
    for number, split in enumerate(["train"] * 4 + ["valid"] * 2 + ["test"] * 2):
        soundfile.write(root / f"{number}.wav", rng.normal(0, 0.05 + 0.1 * (number % 2), 50_000), 16_000)
        lines.append(f"{number}.wav,{number % 2},{1 - number % 2},{split}")
    (root / "tags.csv").write_text("\n".join(lines))
    return root


def test_an_imported_run_is_probed_reported_and_tags_to_tables(imported, music, song, tmp_path):
    """Everything that works with a trained run also works with an imported one. tests/page tests the browser page."""
    path, _ = imported
    places = ["--root", music, "--data", tmp_path / "data", "--workers", 1]
    report = json.loads(invoke("probe", path, "folder", *places, "--json").stdout)
    assert (report["clips"], set(report["tags"])) == (2, {"drums", "humming"})
    result = invoke("report", path, "--output", tmp_path / "page.html")
    assert result.exit_code == 0 and "787,159" in (tmp_path / "page.html").read_text(encoding="utf-8")
    outputs = {"csv": tmp_path / "scores.csv", "embeddings": tmp_path / "embeddings.parquet"}
    result = invoke("tag", path, song[0], *(part for name, file in outputs.items() for part in (f"--{name}", file)))
    assert result.exit_code == 0, result.output
    assert pd.read_csv(outputs["csv"]).filter(like="score:").shape == (1, 50)
    assert len(pd.read_parquet(outputs["embeddings"])["embedding"][0]) == 200


@pytest.mark.slow
def test_training_starts_from_an_imported_run_and_keeps_what_is_frozen(imported, music, tmp_path):
    path, _ = imported
    places = ["--root", music, "--data", tmp_path / "data", "--workers", 1, "--run", tmp_path / "mine"]
    result = invoke("train", "folder", *places, "--init", path, "--freeze", "musicnn", "--epochs", 1)
    assert result.exit_code == 0, result.output
    check_facts(" ".join(result.stdout.split()), path, "20 layers", "1 of 2 tags", "musicnn_input_norm, ")
    before, after = (load_tagger(run / "model.keras") for run in (path, tmp_path / "mine"))
    *kept, last = [layer for layer in before.layers if layer.weights]
    assert len(kept) == 20
    for layer in kept:
        for weight, same in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(weight, same)
    drums, trained = last.get_weights()[0][:, read_tags(path / "tags.txt").index("drums")], after.get_layer(last.name)
    steps = np.abs(trained.get_weights()[0] - drums[:, None]).max(axis=0)
    assert 0 < steps[0] < 0.01 < steps[1]  # drums: one Adam step of 0.001; humming: random weights
    record = json.loads((tmp_path / "mine" / "data.json").read_text())
    assert record["start"]["origin"]["licence"] == "ISC"


@pytest.mark.parametrize(("flag", "value"), [("--root", "music"), ("--songs", 20), ("--data-seed", 3)])
def test_options_of_a_source_need_one(imported, failure, flag, value):
    check_facts(failure("evaluate", imported[0], flag, value), f"{flag}: ", "SOURCE")


def test_evaluation_takes_a_source_as_training_does(monkeypatch):
    given = []

    def evaluate(request):
        given.append(request.source.source)
        return {}

    monkeypatch.setattr("genre_tagger.evaluation.evaluate.evaluate", evaluate)
    assert invoke("evaluate", "run", "demo", "--songs", 20, "--data-seed", 3, "--json").exit_code == 0
    of_mirror = ("magnatagatune", "--root", "mtt", "--mirror", "http://localhost")
    assert invoke("evaluate", "run", *of_mirror, "--json").exit_code == 0
    mirrored = SourceOptions(source="magnatagatune", root=Path("mtt"), mirror="http://localhost")
    assert given == [SourceOptions(source="demo", songs=20, seed=3), mirrored]


def wheels(name, wheel, folder):
    path = folder / "x.whl"
    if name == "other checksum":
        shutil.copy(wheel, path)
    elif name == "no wheel":
        path.write_text("<html>not found</html>")
    elif name == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("other checksum", ["another wheel", musicnn_weights.WHEEL_SHA256]),
        ("no wheel", ["no wheel", musicnn_weights.WHEEL_SHA256]),
        ("missing", ["no such file"]),
        ("folder", ["no such file"]),
    ],
)
def test_another_file_is_refused(wheel, tmp_path, name, found, failure):
    path = wheels(name, wheel, tmp_path)
    line = failure("import", "musicnn", "--wheel", path, "--run", tmp_path / "runs/musicnn")
    check_facts(line, f"--wheel: {path}: ", "musicnn-0.1.0-py3-none-any.whl", *found)
    if path.is_file():
        check_facts(line, hashlib.sha256(path.read_bytes()).hexdigest())
    assert not (tmp_path / "runs").exists()


def test_a_failed_download_names_the_other_way(tmp_path, monkeypatch, failure):
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # pip then has no place to search
    line = failure("import", "musicnn", "--run", tmp_path / "runs/musicnn")
    check_facts(line, "pip", "musicnn==0.1.0", "musicnn-0.1.0-py3-none-any.whl", "--wheel FILE")
    assert not (tmp_path / "runs").exists()


def test_pip_downloads_only_a_wheel(tmp_path, monkeypatch):
    """pip would build anything else, and building runs its code."""
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    with expect_error("musicnn==0.1.0", "exit code 1"):
        import_.import_musicnn(tmp_path / "run", None)
    (command,) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "download"] and command[-1] == "musicnn==0.1.0"
    assert "--no-deps" in command and command[command.index("--only-binary") + 1] == ":all:"


def test_an_existing_directory_is_left_alone(imported, wheel, failure):
    before = (imported[0] / "model.keras").stat().st_mtime_ns
    line = failure("import", "musicnn", "--wheel", wheel, "--run", imported[0])
    check_facts(line, f"--run: {imported[0]}: ", "exists")
    assert (imported[0] / "model.keras").stat().st_mtime_ns == before


def test_a_write_that_fails_leaves_nothing(wheel, tmp_path, monkeypatch, failure):
    monkeypatch.setattr(musicnn_weights, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(keras.Model, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    line = failure("import", "musicnn", "--wheel", wheel, "--run", tmp_path / "musicnn")
    check_facts(line, tmp_path / "musicnn", "space")
    assert not list(tmp_path.iterdir())


def test_another_name_is_refused(failure):
    check_facts(failure("import", "vggish"), "MODEL: ", "'vggish'", "musicnn")
