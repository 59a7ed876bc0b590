"""The command `tune`: a whole search, killed and gone on with, narrowed, trained from, and refused."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from genre_tagger.cli import app
from genre_tagger.files import locked
from genre_tagger.tuning import trial as trial_module
from genre_tagger.tuning.trial import read_outcomes

TINY = (
    "window={seconds: 0.5, hop_seconds: 0.5}",
    "model={wavenet: none, cascade: none, head: {widths: [4]}}",
    "model.cnn={kernels: [4], pools: [[8, 8]], dropouts: [0], output_width: 4}",
    "training.batch_size=3",
    "training.epochs=2",
)
OVERRIDES = [part for override in TINY for part in ("--set", override)]
SPACE = """
model.cnn.output_width: {min: 2, max: 8}
training.learning_rate: {min: 1.0e-3, max: 1.0e-1, sampling: log}
"""


def arguments(work: Path, root: Path, *more: object) -> list[str]:
    """A `tune` command over the folder, into `work`."""
    places = ["--run", work / "search", "--data", work / "data", "--space", work / "space.yaml"]
    return [str(part) for part in ("tune", "folder", "--root", root, *places, *OVERRIDES, *more)]


def run(*command: str) -> str:
    """Runs a command that must succeed and returns what it printed."""
    result = CliRunner().invoke(app, list(command), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def searched(tmp_path_factory, shared_music_folder):
    """(working directory, what the search of three trials printed)."""
    work = tmp_path_factory.mktemp("work")
    (work / "space.yaml").write_text(SPACE)
    return work, run(*arguments(work, shared_music_folder, "--max-trials", 3))


def test_a_search_prints_its_winner_and_leaves_everything(searched):
    work, output = searched
    path = work / "search"
    table = pd.read_csv(path / "trials.csv", dtype={"trial": str})
    assert table["status"].tolist() == ["completed"] * 3
    best = table.loc[table["val_auc"].idxmax()]
    assert f"winner: trial {best['trial']}, val_auc {best['val_auc']:.4f}" in output
    assert f"genre-tagger train --config {path / 'best.yaml'}" in output
    for name in ("config.yaml", "history.csv", "model.keras", "tags.txt", "trial.json"):
        assert (path / "trials/0001" / name).is_file()
    assert len(list((path / "report").glob("*.png"))) == 4
    assert yaml.safe_load((path / "best.yaml").read_text())["training"]["learning_rate"] == pytest.approx(
        best["training.learning_rate"]
    )


def test_train_with_best_yaml_gives_the_winners_figure(searched, shared_music_folder, tmp_path):
    work, _ = searched
    best = work / "search/best.yaml"
    run(
        *map(str, ["train", "folder", "--root", shared_music_folder, "--config", best, "--run", tmp_path / "run"]),
        "--data",
        str(work / "data"),
    )
    history = pd.read_csv(tmp_path / "run/history.csv")
    table = pd.read_csv(work / "search/trials.csv")
    assert history["val_roc_auc"].max() == table["val_auc"].max()


def test_the_same_command_changes_nothing_and_more_trials_go_on(searched, shared_music_folder, monkeypatch):
    work, _ = searched
    before = {file: file.stat().st_mtime_ns for file in work.glob("search/trials/*/trial.json")}
    with monkeypatch.context() as patched:
        patched.setattr(trial_module, "train_run", None)
        assert "trial 0000: " not in run(*arguments(work, shared_music_folder, "--max-trials", 3))
    run(*arguments(work, shared_music_folder, "--max-trials", 4, "--train-best"))
    after = {file: file.stat().st_mtime_ns for file in work.glob("search/trials/*/trial.json")}
    assert len(after) == 4
    assert before.items() <= after.items()
    assert len(list(work.glob("search/best-*/metrics.json"))) == 1


def test_a_narrower_space_goes_on_and_the_winner_lies_in_it(searched, shared_music_folder, tmp_path):
    work, _ = searched
    widths = pd.read_csv(work / "search/trials.csv")["model.cnn.output_width"]
    (tmp_path / "narrow.yaml").write_text(SPACE.replace("{min: 2, max: 8}", str(widths[0])))
    output = run(*arguments(work, shared_music_folder, "--max-trials", 5, "--space", tmp_path / "narrow.yaml"))
    table = pd.read_csv(work / "search/trials.csv")
    assert len(table) == 5
    assert table["in_space"].tolist() == (table["model.cnn.output_width"] == widths[0]).tolist()
    assert table["in_space"].iloc[-1]
    assert f"model.cnn.output_width: {widths[0]}" in output


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--algorithm", "grid"], "holds another search .algorithm is 'random' there, 'grid' here."),
        (["--set", "training.alpha=1.5"], "holds another search .config.training.alpha is 1.1 there, 1.5 here."),
        (["--objective", "val_pr_auc"], "holds another search .objective is 'val_auc' there"),
        (["--executions-per-trial", "2"], "holds another search .executions_per_trial is 1 there"),
        (["--space", "demo"], "holds a search of another space; expected the same one or a narrower one"),
        (["--objective", "val_f1"], "--objective: found 'val_f1', expected one of val_auc, val_pr_auc"),
        (["--algorithm", "annealing"], "--algorithm: found 'annealing', expected one of random, bayesian"),
        (["--space", "none.yaml"], "--space none.yaml: no such file"),
        (["--set", "model.cnn=none"], "expected a cnn or a wavenet branch"),
        (["--worker", "one"], "--worker: needs --chief HOST:PORT"),
        (["--chief", "8000"], "--chief: found '8000', expected HOST:PORT"),
        (["--chief", "127.0.0.1:8000", "--worker", "chief2"], "--worker: found 'chief2'"),
        (["--chief", "127.0.0.1:9", "--worker", "one", "--give-up-seconds", "1"], "no chief answered within 1 s"),
        (["--max-trials", "0"], "Invalid value for '--max-trials'"),
    ],
)
def test_mistakes_are_one_line(searched, shared_music_folder, failure, more, expected):
    line = failure(*arguments(searched[0], shared_music_folder, *more))
    assert re.search(expected, line), line


def test_two_searches_in_one_directory_are_refused(searched, shared_music_folder, failure):
    with locked(searched[0] / "search"):
        line = failure(*arguments(searched[0], shared_music_folder))
    assert "another process is working here" in line


def test_labels_without_an_objective_are_refused(music_folder, failure, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    table = pd.read_csv(music_folder / "tags.csv", dtype=str)
    table.loc[table["split"] == "valid", ["drums", "loud"]] = "1"
    table.to_csv(music_folder / "tags.csv", index=False)
    line = failure(*arguments(tmp_path, music_folder, "--workers", 1))
    assert "split 'valid': no tag has both positives and negatives" in line


def test_a_damaged_search_is_named(searched, shared_music_folder, failure, tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search/search.yaml").write_text("{")
    (tmp_path / "space.yaml").write_text(SPACE)
    command = arguments(tmp_path, shared_music_folder, "--data", searched[0] / "data")
    assert "search.yaml: cannot be read" in failure(*command)


def test_a_search_of_which_every_trial_fails_says_why(searched, shared_music_folder, failure, tmp_path):
    (tmp_path / "space.yaml").write_text("model.cnn.pools: {values: [[[2, 2], [2, 2]], [[2, 2], [3, 3]]]}")
    command = arguments(tmp_path, shared_music_folder, "--data", searched[0] / "data", "--max-trials", 2)
    assert (
        "none of 2 trials was completed in this space (see trials.csv), for example: config key 'model.cnn'"
        in failure(*command)
    )
    assert pd.read_csv(tmp_path / "search/trials.csv")["status"].tolist() == ["failed", "failed"]


@pytest.mark.parametrize("place", ["genre_tagger.tuning.trial.train_run", "genre_tagger.tuning.search.write_hparams"])
def test_a_typo_in_the_code_stops_the_search_at_once(searched, shared_music_folder, monkeypatch, tmp_path, place):
    (tmp_path / "space.yaml").write_text(SPACE)

    def typo(*_):
        raise AttributeError("a typo")

    monkeypatch.setattr(place, typo)
    command = arguments(tmp_path, shared_music_folder, "--data", searched[0] / "data")
    with pytest.raises(AttributeError, match="a typo"):
        run(*command)
    assert [path.name for path in tmp_path.glob("search/trials/*")] == ["0000"]


@pytest.mark.slow
def test_a_killed_search_goes_on_with_the_same_command(searched, shared_music_folder, tmp_path):
    """kill -9, twice: with a trial finished, and in the middle of the next one's epochs."""
    (tmp_path / "space.yaml").write_text(SPACE)
    more = ["--data", searched[0] / "data", "--max-trials", 2, "--set", "training.epochs=30"]
    command = [str(Path(sys.executable).with_name("genre-tagger")), *arguments(tmp_path, shared_music_folder, *more)]
    trials = tmp_path / "search/trials"
    for moment in (trials / "0000/checkpoint/state.npz", trials / "0001/checkpoint/state.npz"):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not moment.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert moment.exists()
        trial = moment.parents[1]
        rows = len(pd.read_csv(trial / "history.csv"))
        assert not (trial / "trial.json").exists() and rows < 30
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=200)
    assert result.returncode == 0, result.stderr
    (resumed,) = re.findall(r"going on after epoch (\d+)", result.stdout)
    assert int(resumed) in (rows - 1, rows)  # the kill may fall between the history and the state of an epoch
    assert "trial 0000" not in result.stdout.split("winner")[0].replace("│ 0000", "")
    assert [outcome.status for outcome in read_outcomes(trials)] == ["completed"] * 2
    assert pd.read_csv(tmp_path / "search/trials.csv")["val_auc"].notna().all()
    assert len(pd.read_csv(trials / "0001/history.csv")) == len(set(pd.read_csv(trials / "0001/history.csv")["epoch"]))
