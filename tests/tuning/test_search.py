"""The command `tune`: a whole search, killed and resumed, narrowed, trained with its winner, and refused."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from facts import check_facts
from typer.testing import CliRunner

from genre_tagger.commands.app import app
from genre_tagger.files import locked
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.tuning import trial as trial_module
from genre_tagger.tuning.trial import read_outcomes

SPACE = """
model.cnn.output_width: {min: 2, max: 8}
training.learning_rate: {min: 1.0e-3, max: 1.0e-1, sampling: log}
"""


@pytest.fixture(scope="session")
def arguments(shared_music_folder, data_folder, tiny_options):
    """Function that returns a `tune` command for the 12 files, with directory WORK/search and space WORK/space.yaml."""

    def command(work: Path, *more: object) -> list[str]:
        places = ["--root", shared_music_folder, "--run", work / "search", "--data", data_folder]
        return list(map(str, ["tune", "folder", *places, "--space", work / "space.yaml", *tiny_options, *more]))

    return command


def run(command: list[str]) -> str:
    """Run a command that must succeed and return what it printed."""
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def searched(tmp_path_factory, arguments):
    """(working directory, what the search of three trials printed)."""
    work = tmp_path_factory.mktemp("work")
    (work / "space.yaml").write_text(SPACE)
    return work, run(arguments(work, "--max-trials", 3))


@pytest.fixture
def work(searched, tmp_path):
    """A copy of that working directory, for tests that continue the search."""
    return Path(shutil.copytree(searched[0], tmp_path / "work"))


def test_a_search_prints_its_winner_and_writes_all_files(searched):
    work, output = searched
    path = work / "search"
    table = pd.read_csv(path / "trials.csv", dtype={"trial": str})
    assert table["status"].tolist() == ["completed"] * 3
    best = table.loc[table["val_auc"].idxmax()]
    check_facts(output, f"trial {best['trial']}, val_auc {best['val_auc']:.4f}")
    check_facts(output, f"genre-tagger train --config {path / 'best.yaml'}\n")
    for name in ("config.yaml", "history.csv", "model.keras", "tags.txt", "trial.json"):
        assert (path / "trials/0001" / name).is_file()
    assert len(list((path / "report").glob("*.png"))) == 4
    assert yaml.safe_load((path / "best.yaml").read_text())["training"]["learning_rate"] == pytest.approx(
        best["training.learning_rate"]
    )


def test_train_with_best_yaml_gives_the_score_of_the_winner(searched, shared_music_folder, data_folder, tmp_path):
    work, _ = searched
    places = ["--root", shared_music_folder, "--data", data_folder, "--run", tmp_path / "run"]
    run(list(map(str, ["train", "folder", *places, "--config", work / "search/best.yaml"])))
    history = pd.read_csv(tmp_path / "run/history.csv")
    table = pd.read_csv(work / "search/trials.csv")
    assert history["val_roc_auc"].max() == table["val_auc"].max()


def test_the_same_command_changes_nothing_and_more_trials_continue(work, arguments, monkeypatch):
    before = {file: file.stat().st_mtime_ns for file in work.glob("search/trials/*/trial.json")}
    with monkeypatch.context() as patched:
        patched.setattr(trial_module, "train_only", None)
        assert "trial 0000: " not in run(arguments(work, "--max-trials", 3))
    run(arguments(work, "--max-trials", 4, "--train-best"))
    after = {file: file.stat().st_mtime_ns for file in work.glob("search/trials/*/trial.json")}
    assert len(after) == 4
    assert before.items() <= after.items()
    assert len(list(work.glob("search/best-*/metrics.json"))) == 1


def test_a_search_continues_in_a_narrower_space_and_its_winner_lies_there(work, arguments, tmp_path):
    widths = pd.read_csv(work / "search/trials.csv")["model.cnn.output_width"]
    (tmp_path / "narrow.yaml").write_text(SPACE.replace("{min: 2, max: 8}", str(widths[0])))
    output = run(arguments(work, "--max-trials", 4, "--space", tmp_path / "narrow.yaml"))
    table = pd.read_csv(work / "search/trials.csv")
    assert len(table) == 4
    assert table["in_space"].tolist() == (table["model.cnn.output_width"] == widths[0]).tolist()
    assert table["in_space"].iloc[-1]
    check_facts(output, f"model.cnn.output_width: {widths[0]}")


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        (["--algorithm", "grid"], ("--run", "search", "algorithm", "'random' there", "'grid' here")),
        (["--set", "training.alpha=1.5"], ("--run", "config.training.alpha", "1.1 there", "1.5 here")),
        (["--objective", "val_pr_auc"], ("--run", "objective", "'val_auc' there", "'val_pr_auc' here")),
        (["--executions-per-trial", "2"], ("--run", "executions_per_trial", "1 there", "2 here")),
        (["--space", "demo"], ("--space", "search/search.yaml")),
        (["--objective", "val_f1"], ("--objective", "'val_f1'", "val_auc, val_pr_auc")),
        (["--algorithm", "annealing"], ("--algorithm", "'annealing'", "random, bayesian, hyperband, grid")),
        (["--space", "none.yaml"], ("--space", "none.yaml", "demo, seed")),
        (["--set", "model.cnn=none"], ("'model'", "wavenet, cnn")),
        (["--worker", "one"], ("--worker", "--chief HOST:PORT")),
        (["--chief", "8000"], ("--chief", "'8000'", "HOST:PORT")),
        (["--chief", "127.0.0.1:8000", "--worker", "chief2"], ("--worker", "'chief2'")),
        (
            ["--chief", "127.0.0.1:9", "--worker", "one", "--give-up-seconds", "1"],
            ("--chief", "127.0.0.1:9", "within 1 s"),
        ),
        (["--max-trials", "0"], ("--max-trials", 1)),
        (["--freeze", "cnn"], ("--freeze", "'cnn'", "init")),
    ],
)
def test_mistakes_are_one_line(searched, arguments, failure, more, facts):
    check_facts(failure(*arguments(searched[0], *more)), *facts)


def test_two_searches_in_one_directory_are_refused(searched, arguments, failure):
    with locked(searched[0] / "search"):
        check_facts(failure(*arguments(searched[0])), searched[0] / "search", "process")


def test_a_search_from_a_run_starts_every_trial_from_it(searched, arguments, failure, tmp_path):
    """The weights of that run and the frozen layers are part of the identity of the search."""
    first = searched[0] / "search/trials/0000"
    (tmp_path / "space.yaml").write_text("training.learning_rate: {min: 1.0e-3, max: 1.0e-1, sampling: log}")
    command = arguments(tmp_path, "--config", first / "config.yaml", "--max-trials", 1)
    start = ("--init", first, "--freeze", "cnn_block")
    check_facts(failure(*command, "--init", tmp_path), tmp_path, "config.yaml")
    output = run([*command, *map(str, start)])
    check_facts(output, f"--config {tmp_path / 'search/best.yaml'} --init {first} --freeze cnn_block\n")
    record = RunDirectory(tmp_path / "search/trials/0000").read_record().start
    assert (record.run, record.frozen) == (str(first), ("cnn_block",))
    assert yaml.safe_load((tmp_path / "search/search.yaml").read_text())["start.digest"] == record.digest
    check_facts(failure(*command), "--run", "start.digest", "None here")
    check_facts(failure(*command, "--init", first), "--run", "start.frozen", "['cnn_block'] there", "[] here")
    check_facts(failure(*command, "--init", first, "--freeze", "rnn"), "--freeze", "'rnn'")


def test_labels_without_an_objective_are_refused(music_folder, arguments, failure, tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    table = pd.read_csv(music_folder / "tags.csv", dtype=str)
    table.loc[table["split"] == "valid", ["drums", "loud"]] = "1"
    table.to_csv(music_folder / "tags.csv", index=False)
    places = ("--root", music_folder, "--data", tmp_path / "data", "--workers", 1)
    check_facts(failure(*arguments(tmp_path, *places)), "'valid'")


def test_a_damaged_search_is_named(arguments, failure, tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search/search.yaml").write_text("{")
    (tmp_path / "space.yaml").write_text(SPACE)
    check_facts(failure(*arguments(tmp_path)), tmp_path / "search/search.yaml", "line 1, column 2")


def test_a_search_whose_trials_all_fail_names_the_reason(arguments, failure, tmp_path):
    (tmp_path / "space.yaml").write_text("model.cnn.pools: {values: [[[2, 2], [2, 2]], [[2, 2], [3, 3]]]}")
    line = failure(*arguments(tmp_path, "--max-trials", 2))
    check_facts(line, tmp_path / "search/trials.csv", "2 trials", "'model.cnn'")
    assert pd.read_csv(tmp_path / "search/trials.csv")["status"].tolist() == ["failed", "failed"]


@pytest.mark.parametrize("place", ["genre_tagger.tuning.trial.train_only", "genre_tagger.tuning.search.write_hparams"])
def test_a_typo_in_the_code_stops_the_search_at_once(arguments, monkeypatch, tmp_path, place):
    (tmp_path / "space.yaml").write_text(SPACE)
    error = AttributeError("a typo")

    def typo(*_):
        raise error

    monkeypatch.setattr(place, typo)
    with pytest.raises(AttributeError) as raised:
        run(arguments(tmp_path))
    assert raised.value is error
    assert [path.name for path in tmp_path.glob("search/trials/*")] == ["0000"]


@pytest.mark.slow
def test_a_killed_search_resumes_with_the_same_command(arguments, tmp_path, waiting_command, let_go):
    """kill -9, twice: during the epochs of the first trial, and during those of the second one."""
    epochs = 30
    (tmp_path / "space.yaml").write_text(SPACE)
    command = arguments(tmp_path, "--max-trials", 2, "--set", f"training={{epochs: {epochs}, batch_size: 3}}")
    trials = tmp_path / "search/trials"
    processes = [waiting_command(name, *command) for name in ("first", "second")]
    for process, trial in zip(processes, (trials / "0000", trials / "0001"), strict=True):
        let_go(process)
        moment = trial / "checkpoint/state.npz"
        deadline = time.monotonic() + 120
        while not moment.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert moment.exists(), [log.read_text() for log in tmp_path.glob("*.log")]
        rows = len(pd.read_csv(trial / "history.csv"))
        assert not (trial / "trial.json").exists() and rows < epochs
    output = run(command)
    (resumed,) = re.findall(r"resum\w+ after epoch (\d+)", output)
    # The process may have been killed after it wrote the history of an epoch and before it wrote the state.
    assert int(resumed) in (rows - 1, rows)
    assert re.findall(r"^trial (\d+): model", output, re.MULTILINE) == ["0001"]
    assert [outcome.status for outcome in read_outcomes(trials)] == ["completed"] * 2
    assert pd.read_csv(tmp_path / "search/trials.csv")["val_auc"].notna().all()
    assert pd.read_csv(trials / "0001/history.csv")["epoch"].is_unique
    state = json.loads((tmp_path / "search/oracle/state.json").read_text())
    assert state["oracle"]["end_order"] == ["0000", "0001"]
