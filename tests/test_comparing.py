"""The command `compare`: a small comparison, interrupted and gone on with; a failing run; every mistake in one line."""

from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from genre_tagger import comparing, workflow
from genre_tagger.cli import app
from genre_tagger.run import RunDirectory
from genre_tagger.training.callbacks import BudgetError, DivergedError

SMALL = """
window: {seconds: 0.5, hop_seconds: 0.5}
model:
  {wavenet: none, cascade: none, head: {widths: [4]},
   cnn: {kernels: [4], pools: [[8, 8]], dropouts: [0], output_width: 4}}
training: {batch_size: 3}
"""
PRESETS = {
    "one": SMALL,
    "crnn_baseline": SMALL.replace("{seconds: 0.5, hop_seconds: 0.5}", "{seconds: 0.25, evaluate: all}")
    + "frontend: {sample_rate: 8000, n_mels: 40}\n",
    "wild": SMALL,
}


@pytest.fixture(scope="module", autouse=True)
def few_plots():
    """Leaves out what every run and every preparation draws, which takes longer than these trainings."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("genre_tagger.evaluation.evaluate.write_report", lambda *_: None)
        patched.setattr("genre_tagger.data.records.write_card", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with the presets."""
    work = tmp_path_factory.mktemp("work")
    for name, text in PRESETS.items():
        (work / f"{name}.yaml").write_text(text)
    return work


def arguments(work, root, names, *more):
    presets = ",".join(str(work / f"{name}.yaml") if name in PRESETS else name for name in names)
    places = ["--root", root, "--data", work / "data", "--run", work / "comparison", "--workers", 1]
    return [str(part) for part in ("compare", "folder", "--presets", presets, *places, *more)]


BUDGET = ("--seeds", 2, "--epochs", 2, "--reach", 0.0)


@pytest.fixture(scope="module")
def compared(work, shared_music_folder):
    """(directory, what the second call printed): the first call was interrupted before its third run."""
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"), *BUDGET)
    train, runs = comparing.train_and_evaluate, []

    def interrupted(path, *more):
        if len(runs) == 2:
            raise KeyboardInterrupt
        runs.append(path.name)
        return train(path, *more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(comparing, "train_and_evaluate", interrupted)
        assert CliRunner().invoke(app, command).exit_code != 0
    assert runs == ["one-0", "crnn_baseline-0"]
    done = {path: path.stat().st_mtime_ns for path in work.glob("comparison/runs/*/metrics.json")}
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert len(done) == 2 and all(path.stat().st_mtime_ns == time for path, time in done.items())
    return work / "comparison", result.stdout


def macro_auc(predictions):
    """Of the test clips, by scikit-learn, straight from the file of a run."""
    test = predictions[predictions["split"] == "test"]
    areas = []
    for tag in ("drums", "loud"):
        known = test[test[f"label:{tag}"].notna()]
        if known[f"label:{tag}"].nunique() == 2:
            areas.append(roc_auc_score(known[f"label:{tag}"].astype(int), known[f"score:{tag}"]))
    return np.mean(areas)


def test_the_table_averages_the_runs(compared):
    path, _ = compared
    table = pd.read_csv(path / "table.csv").set_index("preset")
    assert table.index.tolist() == ["logistic-regression floor", "one", "crnn_baseline"]
    floor = pd.read_parquet(path / "runs/one-0/report/floor.parquet")
    assert table["roc_auc"].iloc[0] == pytest.approx(macro_auc(floor))
    for name in ("one", "crnn_baseline"):
        runs = [RunDirectory(path / f"runs/{name}-{seed}") for seed in (0, 1)]
        areas = [macro_auc(pd.read_parquet(run.predictions)) for run in runs]
        histories = [pd.read_csv(run.history) for run in runs]
        assert table["roc_auc"][name] == pytest.approx(np.mean(areas))
        assert table["roc_auc_deviation"][name] == pytest.approx(abs(areas[0] - areas[1]) / np.sqrt(2), abs=1e-9)
        assert table["seconds"][name] == pytest.approx(np.mean([history["seconds"][1] for history in histories]))
        # Every area is 0 or more, so the first epoch reaches it.
        assert table["reach_seconds"][name] == pytest.approx(np.mean([h["seconds"][0] for h in histories]))
        assert (table["runs"][name], table["reached"][name], table["epochs"][name]) == (2, 2, 2)
    times = table["reach_seconds"]
    assert table["reach_ratio"]["one"] == pytest.approx(times["one"] / times["crnn_baseline"])
    assert table["published_roc_auc_percent"]["crnn_baseline"] == 89.4


def test_costs_are_a_clips(compared):
    path, _ = compared
    table = pd.read_csv(path / "table.csv").set_index("preset")
    # The test clips are of 1.1, 0.5 and 0.75 s: in windows of 0.25 s 5, 2 and 3 (the last aligned to the end).
    assert table["windows"].tolist()[1:] == pytest.approx([1, 10 / 3])
    assert table["clip_flops"]["crnn_baseline"] == pytest.approx(table["window_flops"]["crnn_baseline"] * 10 / 3)
    convolutions = (9 * 1 * 4 + 3 * 4) + (9 * 4 * 4 + 3 * 4)  # with bias and batch norm
    assert table["parameters"]["one"] == convolutions + (4 * 4 + 4) + (4 * 2 + 2)


def test_files_and_print(compared):
    path, output = compared
    pairs = pd.read_csv(path / "pairs.csv")
    assert pairs["area"].tolist() == ["roc_auc", "pr_auc"]
    assert f"one above crnn_baseline: {pairs['verdict'][0]} (ROC-AUC {pairs['difference'][0]:+.4f}" in output
    markdown = (path / "table.md").read_text()
    assert (
        markdown.startswith("3 test clips of 2 groups\n") and "averages over seeds, 3 test clips of 2 groups" in output
    )
    assert markdown.count("\n| one |") == 3 and "| 89.40 |" in markdown
    names = {"scores.png", "pairs.png", "learning.png", "train_and_validation.png"}
    assert {plot.name for plot in (path / "report").iterdir()} == names
    floors = {run: (path / f"runs/{run}/report/floor.parquet").read_bytes() for run in ("one-0", "one-1")}
    assert floors["one-0"] == floors["one-1"]


def test_the_same_command_trains_and_measures_nothing_again(compared, work, shared_music_folder, monkeypatch):
    before = (work / "comparison/table.csv").read_text()
    monkeypatch.setattr(comparing, "train_and_evaluate", None)
    monkeypatch.setattr(comparing, "inference_ms", None)
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"), *BUDGET)
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert (work / "comparison/table.csv").read_text() == before


@pytest.mark.parametrize(
    ("names", "more", "expected"),
    [
        (("one", "smal"), (), "--presets: unknown preset 'smal'; did you mean small"),
        (("one",), (), "--presets: found 'one' alone, expected two or more"),
        (("one", "crnn_baseline", "one"), (), "--presets: found 'one' twice"),
        (("one", "nowhere.yaml"), (), "nowhere.yaml: cannot be read as a configuration"),
        (("one", "crnn_baseline"), ("--minutes", 1), "compare: expected --epochs or --minutes, found both"),
        (
            ("one", "crnn_baseline"),
            ("--epochs", 3),
            "one-0: holds a run of another configuration (training.epochs is 2",
        ),
        (("one", "wild"), (), "holds another comparison, with the run crnn_baseline-0"),
        (("one", "crnn_baseline"), ("--set", "model.cnn=none"), "expected a branch"),
    ],
)
def test_mistakes_are_one_line(compared, work, shared_music_folder, names, more, expected, failure):
    line = failure(*arguments(work, shared_music_folder, names, *BUDGET, *more))
    assert expected in line, line


def test_no_budget_and_a_directory_of_something_else(work, shared_music_folder, failure):
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"))
    assert "expected --epochs or --minutes, found neither" in failure(*command)
    line = failure(*command, "--epochs", 1, "--run", shared_music_folder)
    assert "found a directory with 'a1.wav' in it and no comparison" in line
    assert not (shared_music_folder / ".lock").exists()


def test_a_window_longer_than_the_clips_begins_nothing(work, shared_music_folder, tmp_path, failure):
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"), *BUDGET, "--set", "window.seconds=9")
    line = failure(*command, "--run", tmp_path / "new")
    assert "'window.seconds': found 9, and the longest clip has 1.5" in line
    assert not list((tmp_path / "new" / "runs").glob("*/*"))


@pytest.fixture(scope="module")
def one_tag(tmp_path_factory, shared_music_folder):
    """The folder's table without its second tag."""
    table = tmp_path_factory.mktemp("one") / "tags.csv"
    pd.read_csv(shared_music_folder / "tags.csv", dtype=str).drop(columns="loud").to_csv(table, index=False)
    return table


def test_other_data_is_refused(compared, work, shared_music_folder, one_tag, failure):
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"), *BUDGET, "--table", one_tag)
    assert "one-0: holds a run on other data" in failure(*command)


def failing(monkeypatch, name, error):
    """Makes the training of a preset fail."""
    train = comparing.train_and_evaluate

    def fail(path, *more):
        if path.name.startswith(name):
            raise error
        return train(path, *more)

    monkeypatch.setattr(comparing, "train_and_evaluate", fail)


def test_minutes_one_tag_and_a_run_that_diverges(work, shared_music_folder, one_tag, monkeypatch, tmp_path):
    """The cosine follows the minutes here, patience ends the training; the other preset is listed as failed."""
    failing(monkeypatch, "wild", DivergedError("training: the loss is nan"))
    budget = ["--seeds", 1, "--minutes", 30, "--set", "training.patience=1", "--set", "training.schedule=cosine"]
    more = [*budget, "--table", one_tag, "--run", tmp_path / "comparison"]
    command = arguments(work, shared_music_folder, ("wild", "one"), *more)
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "wild-0 failed: training: the loss is nan" in result.stdout
    table = pd.read_csv(tmp_path / "comparison/table.csv").set_index("preset")
    assert (table["failed"]["wild"], table["failed"]["one"], table["runs"]["one"]) == (1, 0, 1)
    assert table["reason"]["wild"] == "training: the loss is nan"
    assert np.isnan(table["roc_auc"]["wild"]) and 0 <= table["roc_auc"]["one"] <= 1
    assert pd.read_csv(tmp_path / "comparison/pairs.csv").empty
    rates = pd.read_csv(tmp_path / "comparison/runs/one-0/history.csv")["learning_rate"]
    assert (np.diff(rates, prepend=1e-3) < 0).all()


def test_minutes_too_few_for_an_epoch_name_the_preset(work, shared_music_folder, monkeypatch, tmp_path, failure):
    monkeypatch.setattr(workflow, "fit", Mock(side_effect=BudgetError("its first epoch alone took 9.0 s")))
    monkeypatch.setattr(comparing, "_cost", lambda *_: {})
    more = ["--minutes", 0.1, "--run", tmp_path / "comparison"]
    line = failure(*arguments(work, shared_music_folder, ("one", "crnn_baseline"), *more))
    assert line.endswith("--minutes: too few for one epoch of 'one': its first epoch alone took 9.0 s")
    assert not list((tmp_path / "comparison/runs").rglob("*.*"))


def test_a_comparison_of_which_every_run_fails_says_why(work, shared_music_folder, monkeypatch, tmp_path, failure):
    failing(monkeypatch, "", DivergedError("the loss is nan"))
    monkeypatch.setattr(comparing, "_cost", lambda *_: {})
    more = ["--seeds", 1, "--epochs", 2, "--run", tmp_path / "comparison"]
    command = arguments(work, shared_music_folder, ("one", "wild"), *more)
    for seeds in (1, 1, 2):  # what failed is read, and seeds may be added
        line = failure(*command, "--seeds", seeds)
        assert f"none of {2 * seeds} runs was completed, for example: the loss is nan" in line
    line = failure(*command)
    assert "holds another comparison, with the run one-1" in line
