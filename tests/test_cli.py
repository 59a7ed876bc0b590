"""The commands as a user meets them: help is quick, the whole path works, mistakes are one line and exit code 2."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.main import get_command
from typer.testing import CliRunner

from genre_tagger import __version__, console, workflow
from genre_tagger.cli import app
from genre_tagger.evaluation.robustness import measure
from genre_tagger.models.tagger import load_tagger

TINY = [
    "window.seconds=0.6",
    "window.hop_seconds=0.25",
    "model.cnn={kernels: [4, 4], pools: [[2, 2], [4, 4]], dropouts: [0, 0], output_width: 4}",
    "model.cascade.width=8",
    "model.wavenet={dilation_depth: 2, blocks: 1, skip_channels: 8, output_width: 4}",
    "model.head.widths=[8]",
    "training.batch_size=4",
    "training.epochs=2",
]
OVERRIDES = [part for override in TINY for part in ("--set", override)]


def run(*arguments: str) -> str:
    """Runs a command that must succeed and returns what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = (
    "prepare",
    "train",
    "tune",
    "compare",
    "import",
    "evaluate",
    "report",
    "probe",
    "tag",
    "demo",
    "export",
    "serve",
)


def test_no_command_is_left_out_here():
    assert set(COMMANDS) == set(get_command(app).commands)


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_help_answers_without_anything_heavy(command):
    code = (
        "import sys; from genre_tagger.cli import app\n"
        f"try: app({[*command, '--help']!r})\n"
        "except SystemExit as ending: code = ending.code\n"
        "heavy = {'tensorflow', 'keras', 'librosa', 'sklearn', 'pandas', 'numpy', 'soundfile'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    assert "--help" in result.stdout
    # Processor time: what a second of it becomes on a busy machine is not the command's doing.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_version_is_the_installed_one():
    assert run("--version").strip() == __version__


@pytest.fixture(scope="module")
def trained(tmp_path_factory, shared_music_folder):
    """(folder of the run, what training printed)."""
    work = tmp_path_factory.mktemp("work")
    places = ["--run", work / "run", "--data", work / "data"]
    return work / "run", run("train", "folder", "--root", shared_music_folder, *OVERRIDES, *places)


def test_train_prints_what_was_learned_and_what_is_next(trained):
    _, output = trained
    assert re.search(r"data in \S+/prepared/folder-12000hz-\w+: 6 train, 3 valid, 3 test clips, 2 tags", output)
    assert "2 clips are shorter than the window of 0.6 s: filled with zeros at the end" in output
    for words in ("epoch 2/2", "macro ROC-AUC", "logistic-regression floor", "best tags", "next:"):
        assert words in output, words
    assert ("f1.mp3" in output) + ("f2.wav" in output) == 1  # one example a group
    assert "sub/g1.wav" in output


def test_a_window_longer_than_every_clip_is_refused(trained, shared_music_folder, tmp_path, failure):
    places = ["--run", tmp_path / "run", "--data", trained[0].parent / "data"]
    line = failure("train", "folder", "--root", shared_music_folder, *OVERRIDES, "--set", "window.seconds=4", *places)
    longest = float(re.search(r"'window.seconds': found 4, and the longest clip has (\S+) s; expected", line)[1])
    assert 1.5 <= longest < 1.6  # b2.mp3, with the encoder's padding
    suggested = float(re.search(r"--set window.seconds=(\S+)$", line)[1])
    assert longest - 0.01 <= suggested <= longest
    assert not (tmp_path / "run").exists()


def test_minutes_too_few_for_an_epoch_leave_nothing(trained, shared_music_folder, tmp_path, failure):
    places = ["--run", tmp_path / "run", "--data", trained[0].parent / "data"]
    few = ["--set", "training.minutes=0.00001"]
    line = failure("train", "folder", "--root", shared_music_folder, *OVERRIDES, *few, *places)
    assert re.search(r"training\.minutes is 1e-05, and its first epoch alone took \S+ s; expected more than", line)
    assert not (tmp_path / "run").exists()


def test_train_leaves_a_whole_run_directory(trained):
    path, _ = trained
    for name in ("config.yaml", "tags.txt", "model.keras", "history.csv", "metrics.json", "predictions.parquet"):
        assert (path / name).is_file(), name
    assert {plot.name for plot in (path / "report").glob("*.png")} == {"tags.png", "curves.png", "history.png"}


def test_evaluate_finds_the_same_again_and_scores_its_own_predictions_file(trained):
    path, _ = trained
    report = json.loads(run("evaluate", path, "--json"))
    assert report == json.loads((path / "metrics.json").read_text())
    scored = json.loads(run("evaluate", "--predictions", path / "predictions.parquet", "--json"))
    assert scored["roc_auc"] == report["roc_auc"]
    assert scored["tags"] == report["tags"]
    table = run("evaluate", "--predictions", path / "predictions.parquet").split("macro")[0]
    assert all(tag in table for tag in report["tags"])


def test_evaluate_measures_robustness(trained, tmp_path, monkeypatch, capsys):
    names = ["MP3 32 kbps", "stretch 1.1", "length 1 s"]  # all of them are tested on their own
    monkeypatch.setattr(measure, "CONDITIONS", {name: measure.CONDITIONS[name] for name in names})
    copy = shutil.copytree(trained[0], tmp_path / "run")
    result = CliRunner().invoke(app, ["evaluate", str(copy), "--robustness", "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    clean, *perturbed = report.pop("robustness")
    assert report == json.loads((copy / "metrics.json").read_text())
    assert {area: clean[area] for area in ("roc_auc", "pr_auc")} == {
        area: report[area]["value"] for area in ("roc_auc", "pr_auc")
    }
    assert (clean["condition"], clean["roc_auc_difference"]) == ("clean", None)
    assert [row["condition"] for row in perturbed] == names[:2]
    assert "length 1 s: left out, half of the test clips are not longer than 0.75 s" in result.stderr
    assert pd.read_csv(copy / "report/robustness.csv")["condition"].tolist() == ["clean", *names[:2]]
    assert (copy / "report/robustness.png").exists()
    console.print_robustness([clean, *perturbed])
    output = capsys.readouterr().out
    assert f"ROC-AUC, clean {clean['roc_auc']:.4f}" in output
    assert all(name in output for name in names[:2])


def test_robustness_needs_audio(trained, tmp_path, failure):
    predictions = trained[0] / "predictions.parquet"
    assert "a predictions file has no audio" in failure("evaluate", "--predictions", predictions, "--robustness")
    copy = shutil.copytree(trained[0], tmp_path / "run")
    (copy / "data.json").write_text('{"source": null, "hash": null, "stream": false}')  # as an imported run has it
    assert "imported, so without data of its own" in failure("evaluate", copy, "--robustness")


def test_a_trained_run_is_evaluated_on_its_own_data_alone(trained, failure):
    line = failure("evaluate", trained[0], "folder", "--root", "nowhere")
    assert "is evaluated on what it was trained on; expected no SOURCE" in line


def test_training_starts_from_another_run_with_its_configuration(trained, tmp_path, shared_music_folder):
    path, _ = trained
    places = ["--root", shared_music_folder, "--data", path.parent / "data", "--run", tmp_path / "again"]
    output = run("train", "folder", *places, "--init", path, "--freeze", 3, "--epochs", 1)
    assert re.search(r"starting from \S+/run: \d+ layers, and the output of 2 of 2 tags", output)
    before, after = load_tagger(path / "model.keras"), load_tagger(tmp_path / "again" / "model.keras")
    pairs = [(layer.weights, after.get_layer(layer.name).weights) for layer in before.layers if layer.weights]
    same = [all(np.array_equal(*pair) for pair in zip(*weights, strict=True)) for weights in pairs]
    assert same[:3] == [True] * 3 and not any(same[3:])
    assert "frozen: " in output
    record = json.loads((tmp_path / "again" / "data.json").read_text())
    assert record["init"]["run"] == str(path) and record["init"]["source"]["source"] == "folder"
    shutil.rmtree(path.parent / "moved", ignore_errors=True)
    path.rename(path.parent / "moved")
    try:  # what has begun needs the other run no more
        config = ["--config", tmp_path / "again" / "config.yaml"]
        assert "starting from" not in run("train", "folder", *places, *config)
    finally:
        (path.parent / "moved").rename(path)


def test_probe_reports_a_linear_head_on_other_data(trained, shared_music_folder):
    path, _ = trained
    report = json.loads(
        run("probe", path, "folder", "--root", shared_music_folder, "--data", path.parent / "data", "--json")
    )
    assert report["clips"] == 3 and set(report["tags"]) == {"drums", "loud"}


def test_tag_scores_a_file_as_evaluation_scored_its_clip(trained, shared_music_folder):
    path, _ = trained
    expected = pd.read_parquet(path / "predictions.parquet").set_index("clip").loc["f1.mp3"]
    (line,) = run("tag", path, shared_music_folder / "f1.mp3", "--json").splitlines()
    scores = json.loads(line)["tags"]
    assert set(scores) == {"drums", "loud"}
    for tag, score in scores.items():
        assert score == pytest.approx(expected[f"score:{tag}"], abs=2e-3)  # prepared audio is rounded to 16 bits
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert "probability" in run("tag", path, shared_music_folder / "f1.mp3", "--top", 1)


def test_a_broken_file_among_others_is_named_and_makes_exit_code_1(trained, tmp_path, shared_music_folder):
    broken = tmp_path / "broken.mp3"
    broken.write_text("this is no audio")
    files = [str(broken), str(shared_music_folder / "f2.wav")]
    result = CliRunner().invoke(app, ["tag", str(trained[0]), *files, "--json"])
    assert result.exit_code == 1
    assert "broken.mp3: " in result.stderr
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["path"] == str(broken) and first["reason"] and not first["tags"]
    assert second["path"].endswith("f2.wav") and second["tags"]


def test_the_installed_command_tags_in_a_process_of_its_own(trained, shared_music_folder, tmp_path):
    named = tmp_path / "odd [live].wav"
    shutil.copy(shared_music_folder / "f2.wav", named)
    command = Path(sys.executable).with_name("genre-tagger")
    result = subprocess.run([command, "tag", trained[0], named], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "odd [live].wav" in result.stdout
    assert "probability" in result.stdout


def test_a_refused_configuration_leaves_the_run_directory_free(in_folder, music_folder, failure):
    common = ["train", "folder", "--root", music_folder, *OVERRIDES, "--run", "run", "--workers", 1]
    assert "pools" in failure(*common, "--set", "model.cnn.pools=[[2, 2]]")
    assert not (in_folder / "data").exists()  # refused before anything long
    assert "macro ROC-AUC" in run(*common)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.keras", b""),
        ("model.keras", b"no model"),
        ("data.json", b"{"),
        ("config.yaml", b"- 1"),
        ("config.yaml", b"\xff"),
    ],
)
def test_damaged_files_of_a_run_are_named(trained, tmp_path, failure, name, content):
    copy = shutil.copytree(trained[0], tmp_path / "run")
    (copy / name).write_bytes(content)
    assert name in failure("evaluate", copy)


def test_removed_prepared_data_is_prepared_again(in_folder, music_folder):
    places = ["--run", "run", "--data", "data", "--workers", 1]
    run("train", "folder", "--root", music_folder, *OVERRIDES, *places)
    shutil.rmtree("data")
    report = json.loads(run("evaluate", "run", "--json"))
    assert report == json.loads(Path("run/metrics.json").read_text())


def test_a_run_of_another_configuration_is_refused(trained, shared_music_folder, failure):
    path, _ = trained
    places = ["--run", path, "--data", path.parent / "data"]
    common = ["train", "folder", "--root", shared_music_folder, *OVERRIDES, *places]
    line = failure(*common, "--set", "training.alpha=1.5")
    assert "training.alpha is 1.1 there, 1.5 here" in line


def test_stream_trains_without_preparing(in_folder, music_folder):
    (music_folder / "a1.wav").write_text("this is no audio")
    soundfile.write(music_folder / "a2.flac", np.zeros(12_000), 12_000)
    output = run("train", "folder", "--root", music_folder, *OVERRIDES, "--run", "run", "--stream")
    assert not (in_folder / "data/prepared").exists()
    assert "2 files cannot be used" in output
    assert "2 clips are shorter than the window of" in output
    assert pd.read_csv("run/rejected.csv")["id"].tolist() == ["a1.wav", "a2.flac"]
    assert json.loads(run("evaluate", "run", "--json"))["clips"] == 3


def test_prepare_lists_what_it_rejects(in_folder, music_folder):
    (music_folder / "b2.mp3").write_text("this is no audio")
    output = run("prepare", "folder", "--root", music_folder, "--workers", 1)
    assert "1 clips rejected" in output
    (listed,) = in_folder.glob("data/prepared/*/rejected.csv")
    assert pd.read_csv(listed)["id"].tolist() == ["b2.mp3"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--preset", "smal"], r"--preset: unknown preset 'smal'; did you mean small"),
        (["train", "--set", "model.wavnet.blocks=2"], r"'model\.wavnet': unknown; did you mean wavenet"),
        (["train", "--set", "training.alpha=loud"], r"'training\.alpha': found 'loud', expected"),
        (["train", "--preset", "small", "--config", "c.yaml"], r"--preset and --config"),
        (["train", "--config", "none.yaml"], r"none\.yaml: cannot be read"),
        (["train", "dmeo"], r"SOURCE: unknown source 'dmeo'; expected one of demo, folder"),
        (["train", "folder"], r"--root: the source 'folder' needs"),
        (["train", "demo", "--root", "."], r"--root: the source 'demo' does not take it"),
        (["train", "folder", "--root", "nowhere"], r"nowhere: no such folder"),
        (["train", "--workers", "0"], r"Invalid value for '--workers'"),
        (["train", "--set", "frontend.fmax_hz=9000"], r"'frontend': found .*half the sample rate, 6000 Hz"),
        (["train", "--set", "frontend.n_fft=511"], r"'frontend\.n_fft': found 511, expected an even number"),
        (["train", "--set", "window.hop_seconds=1e-9"], r"'window': found .*hop_seconds between"),
        (["train", "--set", "model.cnn=3"], r"'model\.cnn': found 3, expected a section of keys"),
        (["train", "--set", "seed=99999999999"], r"'seed': found 99999999999, expected less than"),
        (
            ["train", "--set", "model.cnn.pools=[[2,2]]"],
            r"as many pools and dropouts as kernels, found 4 kernels, 1 pools",
        ),
        (["train", "--init", "nowhere"], r"nowhere: not a run directory"),
        (["train", "--init", "nowhere", "--preset", "small"], r"nowhere: not a run directory"),
        (["train", "--freeze", "2"], r"--freeze 2: goes with --init RUN"),
        (["probe", "nowhere", "demo"], r"nowhere: not a run directory"),
        (["evaluate", "run", "--split", "test"], r"--split: goes with --predictions"),
        (["evaluate"], r"expected either a run directory or --predictions"),
        (["evaluate", "nowhere"], r"nowhere: not a run directory"),
        (["evaluate", "--predictions", "none.parquet"], r"none\.parquet"),
        (["tag", "nowhere", "none.wav"], r"none\.wav: no such file"),
    ],
)
def test_mistakes_are_one_line(in_folder, failure, arguments, expected):
    assert re.search(expected, failure(*arguments))


def test_an_unwritable_run_is_refused(in_folder, music_folder, failure):
    (in_folder / "file").write_text("")
    line = failure("train", "folder", "--root", music_folder, *OVERRIDES, "--run", "file/run")
    assert "file/run: cannot be written" in line


@pytest.mark.parametrize("place", ["music", ""])
def test_a_run_is_not_laid_among_other_files(in_folder, music_folder, failure, place):
    there = sorted(music_folder.rglob("*"))
    line = failure("train", "folder", "--root", music_folder, *OVERRIDES, "--run", place)
    assert "and no run; expected a new or empty one" in line
    assert sorted(music_folder.rglob("*")) == there


def test_a_split_where_nothing_can_be_ranked_is_refused(in_folder, music_folder, failure):
    table = pd.read_csv(music_folder / "tags.csv", dtype=str, keep_default_na=False)
    table.loc[table["split"] == "valid", ["drums", "loud"]] = "1"
    table.to_csv(music_folder / "tags.csv", index=False)
    line = failure("train", "folder", "--root", music_folder, *OVERRIDES, "--run", "run")
    assert "split 'valid': no tag has both positives and negatives" in line


def test_nothing_usable_is_refused(in_folder, music_folder, failure):
    for path in music_folder.rglob("*.*"):
        if path.suffix != ".csv":
            path.write_text("this is no audio")
    line = failure("prepare", "folder", "--root", music_folder, "--workers", 1)
    assert "no usable clip in train, valid, test, 12 rejected" in line


def test_a_file_that_breaks_while_streaming_is_named(in_folder, music_folder, monkeypatch, failure):
    create_run = workflow.create_run

    def break_a_file(*arguments):
        (music_folder / "a1.wav").write_text("this is no audio")
        return create_run(*arguments)

    monkeypatch.setattr(workflow, "create_run", break_a_file)
    line = failure("train", "folder", "--root", music_folder, *OVERRIDES, "--run", "r", "--stream")
    assert re.search(r"--stream: a file cannot be decoded any more: .*a1\.wav", line)


@pytest.mark.slow
def test_the_demo_goes_from_nothing_to_a_report_and_repeats_itself(in_folder):
    """The command as installed, killed by nobody: renders, prepares, trains, reports; again: nothing is redone."""
    command = ["genre-tagger", "train", "--songs", "20", *OVERRIDES, "--set", "window.seconds=1"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    first, second = (
        subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300) for _ in range(2)
    )
    assert first.returncode == 0, first.stderr
    assert "logistic-regression floor" in first.stdout
    assert "worst tags" in first.stdout
    assert "Traceback" not in first.stderr
    assert "epoch 1/2  step" in first.stdout
    assert "epoch 1/2  step" not in second.stdout
    assert second.stdout.splitlines()[-5:] == first.stdout.splitlines()[-5:]
