"""The command `train`: from a folder of audio files, prepared or streamed, to an evaluated run directory."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from command_line import OVERRIDES, SMALLEST, run_command
from facts import check_facts

from genre_tagger.models.tagger import load_tagger
from genre_tagger.training import train as training


def test_train_prints_what_was_learned_and_what_is_next(trained):
    path, output = trained
    assert re.search(r"\S+/prepared/folder-12000hz-\w+: 6 train, 3 valid, 3 test \w+, 2 tags", output)
    check_facts(output, "2 clips", "window", "0.6 s")  # c1.wav and f2.wav are shorter
    check_facts(output, "epoch 2/2", "macro ROC-AUC", "baseline", "drums", "loud")
    check_facts(output, f"genre-tagger evaluate {path}", f"genre-tagger tag {path}")
    assert ("f1.mp3" in output) + ("f2.wav" in output) == 1  # one example per group
    assert "sub/g1.wav" in output


def test_a_window_longer_than_every_clip_is_refused(trained, shared_music_folder, tmp_path, failure):
    places = ["--run", tmp_path / "run", "--data", trained[0].parent / "data"]
    line = failure("train", "folder", "--root", shared_music_folder, *OVERRIDES, "--set", "window.seconds=4", *places)
    check_facts(line, "'window.seconds'", "4")
    longest, suggested = (float(number) for number in re.findall(r"\d+\.\d+", line))
    assert 1.5 <= longest < 1.6  # b2.mp3, with the encoder's padding
    assert line.endswith(f" window.seconds={suggested:g}")
    assert longest - 0.01 <= suggested <= longest
    assert not (tmp_path / "run").exists()


def test_minutes_too_few_for_an_epoch_leave_nothing(trained, shared_music_folder, tmp_path, failure):
    places = ["--run", tmp_path / "run", "--data", trained[0].parent / "data"]
    few = ["--set", "training.minutes=0.00001"]
    line = failure("train", "folder", "--root", shared_music_folder, *SMALLEST, *few, *places)
    check_facts(line, "training.minutes", "1e-05")
    assert not (tmp_path / "run").exists()


def test_train_leaves_a_whole_run_directory(trained):
    path, _ = trained
    for name in ("config.yaml", "tags.txt", "model.keras", "history.csv", "metrics.json", "predictions.parquet"):
        assert (path / name).is_file(), name
    assert {plot.name for plot in (path / "report").glob("*.png")} == {"tags.png", "curves.png", "history.png"}


def test_training_starts_from_another_run_with_its_configuration(trained, tmp_path, shared_music_folder):
    origin = shutil.copytree(trained[0], tmp_path / "origin")
    places = ["--root", shared_music_folder, "--data", trained[0].parent / "data", "--run", tmp_path / "again"]
    frozen = ["--freeze", "cascade", "--freeze", "wavenet"]
    output = run_command("train", "folder", *places, "--init", origin, *frozen, "--epochs", 1)
    before, after = load_tagger(origin / "model.keras"), load_tagger(tmp_path / "again" / "model.keras")
    assert len(after.layers) == len(before.layers)  # the configuration of that run, not the preset `small`
    layers = {layer.name: layer.weights for layer in before.layers if layer.weights}
    same = {
        name: all(np.array_equal(*pair) for pair in zip(weights, after.get_layer(name).weights, strict=True))
        for name, weights in layers.items()
    }
    kept = [name for name in layers if name.startswith(("cascade", "wavenet"))]
    assert kept and {name for name, is_same in same.items() if is_same} == set(kept)
    started = next(line for line in output.splitlines() if str(origin) in line)
    check_facts(started, f"{len(layers) - 1} layers", "2 of 2 tags", ", ".join(kept))
    record = json.loads((tmp_path / "again" / "data.json").read_text())["start"]
    assert (record["run"], record["source"]["source"]) == (str(origin), "folder")
    assert record["frozen"] == ["cascade", "wavenet"]
    origin.rename(tmp_path / "moved")  # once a run has begun, it does not need the other run
    config = ["--config", tmp_path / "again" / "config.yaml"]
    again = run_command("train", "folder", *places, *config, "--init", origin, *frozen)
    assert f"{len(layers) - 1} layers" not in again
    assert "macro ROC-AUC" in again


@pytest.mark.parametrize("value", [None, "head"])
def test_another_start_is_refused(trained, tmp_path, shared_music_folder, failure, value):
    """The run directory was created without --init."""
    copy = shutil.copytree(trained[0], tmp_path / "run")
    places = ["--root", shared_music_folder, "--data", trained[0].parent / "data", "--run", copy]
    start = ["--init", trained[0], *(["--freeze", value] if value else [])]
    line = failure("train", "folder", *places, "--config", trained[0] / "config.yaml", *start)
    check_facts(line, copy, trained[0], value or "")


def test_a_refused_configuration_leaves_the_run_directory_free(in_folder, music_folder, failure):
    common = ["train", "folder", "--root", music_folder, *SMALLEST, "--run", "run", "--workers", 1]
    check_facts(failure(*common, "--set", "model.cnn.pools=[[2, 2]]"), "pools", "'model.cnn'")
    assert not (in_folder / "data").exists()  # refused before anything long
    assert "macro ROC-AUC" in run_command(*common)


def test_a_run_of_another_configuration_is_refused(trained, shared_music_folder, failure):
    path, _ = trained
    places = ["--run", path, "--data", path.parent / "data"]
    common = ["train", "folder", "--root", shared_music_folder, *OVERRIDES, *places]
    check_facts(failure(*common, "--set", "training.alpha=1.5"), path, "training.alpha", "1.1", "1.5")


def test_stream_trains_without_preparing(in_folder, music_folder):
    (music_folder / "a1.wav").write_text("this is no audio")
    soundfile.write(music_folder / "a2.flac", np.zeros(12_000), 12_000)
    output = run_command("train", "folder", "--root", music_folder, *SMALLEST, "--run", "run", "--stream")
    assert not (in_folder / "data/prepared").exists()
    check_facts(output, "2 files", "rejected.csv", "2 clips", "0.6 s")
    assert pd.read_csv("run/rejected.csv")["id"].tolist() == ["a1.wav", "a2.flac"]
    assert json.loads(run_command("evaluate", "run", "--json"))["clips"] == 3


def test_a_file_that_breaks_while_streaming_is_named(in_folder, music_folder, monkeypatch, failure):
    create_run = training.create_run

    def break_a_file(*arguments):
        (music_folder / "a1.wav").write_text("this is no audio")
        return create_run(*arguments)

    monkeypatch.setattr(training, "create_run", break_a_file)
    line = failure("train", "folder", "--root", music_folder, *SMALLEST, "--run", "r", "--stream")
    check_facts(line, "--stream: ", "a1.wav")


def test_an_unwritable_run_is_refused(in_folder, music_folder, failure):
    (in_folder / "file").write_text("")
    line = failure("train", "folder", "--root", music_folder, *OVERRIDES, "--run", "file/run")
    check_facts(line, "file/run: ", "written")


@pytest.mark.parametrize("place", ["music", ""])
def test_a_run_is_not_put_among_other_files(in_folder, music_folder, failure, place):
    before = sorted(music_folder.rglob("*"))
    line = failure("train", "folder", "--root", music_folder, *OVERRIDES, "--run", place)
    check_facts(line, "--run: ", f"{place or '.'}: ", "'a1.wav'" if place else "'music'")
    assert sorted(music_folder.rglob("*")) == before


def test_a_split_where_nothing_can_be_ranked_is_refused(in_folder, music_folder, failure):
    table = pd.read_csv(music_folder / "tags.csv", dtype=str, keep_default_na=False)
    table.loc[table["split"] == "valid", ["drums", "loud"]] = "1"
    table.to_csv(music_folder / "tags.csv", index=False)
    line = failure("train", "folder", "--root", music_folder, *OVERRIDES, "--run", "run")
    check_facts(line, "'valid'", "positives", "negatives")


@pytest.mark.slow
def test_the_demo_goes_from_nothing_to_a_report_and_repeats_itself(in_folder):
    """The installed command renders, prepares, trains and evaluates. A second call repeats none of these steps."""
    command = ["train", "--songs", "10", *SMALLEST, "--set", "window.seconds=1"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    first = subprocess.run(
        ["genre-tagger", *command], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert first.returncode == 0, first.stderr
    assert "Traceback" not in first.stderr
    metrics = json.loads((in_folder / "runs/demo-small/metrics.json").read_text())
    check_facts(first.stdout, "runs/demo-small", "epoch 1/1  step", "macro ROC-AUC", "baseline", *metrics["families"])
    trained = (in_folder / "runs/demo-small/model.keras").stat().st_mtime_ns
    second = run_command(*command)
    assert "epoch 1/1  step" not in second
    assert second.splitlines()[-5:] == first.stdout.splitlines()[-5:]
    assert (in_folder / "runs/demo-small/model.keras").stat().st_mtime_ns == trained
