"""The commands `evaluate` and `probe` on a trained run."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from command_line import SMALLEST, run_command
from facts import check_facts
from typer.testing import CliRunner

from genre_tagger.commands.app import app
from genre_tagger.commands.metrics_tables import print_robustness
from genre_tagger.evaluation.robustness import measure


def test_evaluate_finds_the_same_again_and_scores_its_own_predictions_file(trained):
    path, _ = trained
    report = json.loads(run_command("evaluate", path, "--json"))
    assert report == json.loads((path / "metrics.json").read_text())
    scored = json.loads(run_command("evaluate", "--predictions", path / "predictions.parquet", "--json"))
    assert scored["roc_auc"] == report["roc_auc"]
    assert scored["tags"] == report["tags"]
    table = run_command("evaluate", "--predictions", path / "predictions.parquet").split("macro")[0]
    check_facts(table, *report["tags"])


def test_evaluate_measures_robustness(trained, tmp_path, monkeypatch, capsys):
    names = ["MP3 32 kbps", "gain -12 dB", "length 1 s"]  # the other conditions have tests of their own
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
    left_out = next(line for line in result.stderr.splitlines() if line.startswith("length 1 s: "))
    check_facts(left_out, "0.75 s")  # the median length of the test clips
    assert pd.read_csv(copy / "report/robustness.csv")["condition"].tolist() == ["clean", *names[:2]]
    assert (copy / "report/robustness.png").exists()
    print_robustness([clean, *perturbed])
    check_facts(capsys.readouterr().out, f"{clean['roc_auc']:.4f}", *names[:2])


def test_robustness_needs_audio(trained, tmp_path, failure):
    line = failure("evaluate", "--predictions", trained[0] / "predictions.parquet", "--robustness")
    check_facts(line, "--robustness: ", "predictions file")
    copy = shutil.copytree(trained[0], tmp_path / "run")
    (copy / "data.json").write_text('{"source": null, "hash": null, "stream": false}')  # as an imported run has it
    check_facts(failure("evaluate", copy, "--robustness"), copy, "imported", "SOURCE")


def test_a_trained_run_is_evaluated_on_its_own_data_only(trained, failure):
    check_facts(failure("evaluate", trained[0], "folder", "--root", "nowhere"), trained[0], "SOURCE", "trained on")


@pytest.mark.parametrize("options", [["--json"], []])
def test_probe_reports_a_linear_head_on_other_data(trained, shared_music_folder, options):
    arguments = ["probe", trained[0], "folder", "--root", shared_music_folder, "--data", trained[0].parent / "data"]
    result = CliRunner().invoke(app, [*map(str, arguments), *options], catch_exceptions=False)
    note = "6 train, 3 valid, 3 test"  # printed by the library when it opens the data
    if options:
        report = json.loads(result.stdout)
        assert report["clips"] == 3 and set(report["tags"]) == {"drums", "loud"}
        assert note in result.stderr
    else:
        check_facts(result.stdout, note, "3 clips", "drums", "loud", "macro ROC-AUC")
        assert note not in result.stderr


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
    assert str(copy / name) in failure("evaluate", copy)


def test_removed_prepared_data_is_prepared_again(in_folder, music_folder):
    places = ["--run", "run", "--data", "data", "--workers", 1]
    run_command("train", "folder", "--root", music_folder, *SMALLEST, *places)
    shutil.rmtree("data")
    report = json.loads(run_command("evaluate", "run", "--json"))
    assert report == json.loads(Path("run/metrics.json").read_text())
