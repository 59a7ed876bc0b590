"""The command `compare`: a small comparison, interrupted and resumed; a failing run; and one line for every mistake."""

import gc
import json
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from facts import check_facts
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from genre_tagger.commands.app import app
from genre_tagger.comparison import compare as comparing
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.training import train
from genre_tagger.training.callbacks import BudgetError, DivergedError

SMALL = """
window: {seconds: 0.5, hop_seconds: 0.5}
model: {head: {widths: [4]}, cnn: {kernels: [4], pools: [[8, 8]], dropouts: [0], output_width: 4}}
training: {batch_size: 3}
"""
PRESETS = {
    "one": SMALL,
    "crnn_baseline": SMALL.replace("{seconds: 0.5, hop_seconds: 0.5}", "{seconds: 0.25, evaluate: all}")
    + "frontend: {sample_rate: 8000, n_mels: 40}\n",
    "wild": SMALL,
}
COST = {"parameters": 100, "windows": 1.0, "window_flops": 1000, "window_ms": 0.5}


@pytest.fixture(scope="module", autouse=True)
def few_plots():
    """Leave out the plots of preparation and evaluation, which take longer than these trainings."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("genre_tagger.evaluation.evaluate_run.write_plots_and_tables", lambda *_: None)
        patched.setattr("genre_tagger.dataset.prepare.write_card", lambda *_: None)
        gc.freeze()  # Keras collects garbage before each run, which is slow with the objects of all imports
        yield
        gc.unfreeze()


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
    train_and_evaluate, runs = comparing.train_and_evaluate, []

    def interrupted(path, *more):
        if len(runs) == 2:
            raise KeyboardInterrupt
        runs.append(path.name)
        return train_and_evaluate(path, *more)

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
    """Return the macro ROC-AUC of the test clips by scikit-learn, computed from the predictions of a run."""
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
    assert table.index.tolist() == ["logistic-regression baseline", "one", "crnn_baseline"]
    baseline = pd.read_parquet(path / "runs/one-0/report/baseline.parquet")
    assert table["roc_auc"].iloc[0] == pytest.approx(macro_auc(baseline))
    for name in ("one", "crnn_baseline"):
        runs = [RunDirectory(path / f"runs/{name}-{seed}") for seed in (0, 1)]
        areas = [macro_auc(pd.read_parquet(run.predictions)) for run in runs]
        histories = [pd.read_csv(run.history) for run in runs]
        assert table["roc_auc"][name] == pytest.approx(np.mean(areas))
        assert table["roc_auc_deviation"][name] == pytest.approx(abs(areas[0] - areas[1]) / np.sqrt(2), abs=1e-9)
        assert table["seconds"][name] == pytest.approx(np.mean([history["seconds"][1] for history in histories]))
        # Every ROC-AUC is 0 or more, so the first epoch reaches it.
        assert table["reach_seconds"][name] == pytest.approx(np.mean([h["seconds"][0] for h in histories]))
        assert (table["runs"][name], table["reached"][name], table["epochs"][name]) == (2, 2, 2)
    times = table["reach_seconds"]
    assert table["reach_ratio"]["one"] == pytest.approx(times["one"] / times["crnn_baseline"])
    assert table["published_roc_auc_percent"]["crnn_baseline"] == 89.4


def test_costs_per_clip(compared):
    path, _ = compared
    table = pd.read_csv(path / "table.csv").set_index("preset")
    # The test clips have 1.1, 0.5 and 0.75 s: 5, 2 and 3 windows of 0.25 s (the last one aligned to the end).
    assert table["windows"].tolist()[1:] == pytest.approx([1, 10 / 3])
    assert table["clip_flops"]["crnn_baseline"] == pytest.approx(table["window_flops"]["crnn_baseline"] * 10 / 3)
    convolutions = (9 * 1 * 4 + 3 * 4) + (9 * 4 * 4 + 3 * 4)  # with bias and batch norm
    assert table["parameters"]["one"] == convolutions + (4 * 4 + 4) + (4 * 2 + 2)


def test_files_and_print(compared):
    path, output = compared
    pairs = pd.read_csv(path / "pairs.csv")
    assert pairs["area"].tolist() == ["roc_auc", "pr_auc"]
    (line,) = (line for line in output.splitlines() if line.startswith("one above crnn_baseline"))
    check_facts(line, pairs["verdict"][0], *(f"{pairs[name][0]:+.4f}" for name in ("difference", "low", "high")))
    markdown = (path / "table.md").read_text()
    headline = markdown.splitlines()[0]
    check_facts(headline, "3 test clips", "2 groups")
    check_facts(output, headline, path / "table.md", path / "table.csv", path / "pairs.csv", path / "report")
    assert markdown.count("\n| one |") == 3 and "| 89.40 |" in markdown
    names = {"scores.png", "pairs.png", "learning.png", "train_and_validation.png"}
    assert {plot.name for plot in (path / "report").iterdir()} == names
    baselines = {run: (path / f"runs/{run}/report/baseline.parquet").read_bytes() for run in ("one-0", "one-1")}
    assert baselines["one-0"] == baselines["one-1"]


def test_the_same_command_trains_and_measures_nothing_again(compared, work, shared_music_folder, monkeypatch):
    before = (work / "comparison/table.csv").read_text()
    monkeypatch.setattr(comparing, "train_and_evaluate", None)
    monkeypatch.setattr(comparing, "inference_ms", None)
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"), *BUDGET)
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert (work / "comparison/table.csv").read_text() == before


@pytest.mark.parametrize(
    ("names", "more", "facts"),
    [
        (("one", "smal"), (), ("--presets", "'smal'", "'small'")),
        (("one",), (), ("--presets", "'one'", "two")),
        (("one", "crnn_baseline", "one"), (), ("--presets", "'one' twice")),
        (("one", "nowhere.yaml"), (), ("nowhere.yaml",)),
        (("one", "crnn_baseline"), ("--minutes", 1), ("--epochs or --minutes", "both")),
        (("one", "crnn_baseline"), ("--epochs", 3), ("runs/one-0", "training.epochs", "2 there", "3 here")),
        (("one", "wild"), (), ("--run", "comparison", "crnn_baseline-0")),
        (("one", "crnn_baseline"), ("--set", "model.cnn=none"), ("'model'", "wavenet, cnn")),
    ],
)
def test_mistakes_are_one_line(compared, work, shared_music_folder, names, more, facts, failure):
    check_facts(failure(*arguments(work, shared_music_folder, names, *BUDGET, *more)), *facts)


def test_no_budget_and_a_directory_of_other_files(work, shared_music_folder, failure):
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"))
    check_facts(failure(*command), "--epochs or --minutes", "neither")
    line = failure(*command, "--epochs", 1, "--run", shared_music_folder)
    check_facts(line, "--run", shared_music_folder, "'a1.wav'")
    assert not (shared_music_folder / ".lock").exists()


def test_a_window_longer_than_the_clips_starts_nothing(work, shared_music_folder, tmp_path, failure):
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"), *BUDGET, "--set", "window.seconds=9")
    check_facts(failure(*command, "--run", tmp_path / "new"), "'window.seconds'", "found 9", "1.50 s")
    assert not list((tmp_path / "new" / "runs").glob("*/*"))


@pytest.fixture(scope="module")
def one_tag(tmp_path_factory, shared_music_folder):
    """The folder's table without its second tag."""
    table = tmp_path_factory.mktemp("one") / "tags.csv"
    pd.read_csv(shared_music_folder / "tags.csv", dtype=str).drop(columns="loud").to_csv(table, index=False)
    return table


def test_other_data_is_refused(compared, work, shared_music_folder, one_tag, failure):
    command = arguments(work, shared_music_folder, ("one", "crnn_baseline"), *BUDGET, "--table", one_tag)
    check_facts(failure(*command), "runs/one-0", "data")


def failing(monkeypatch, name, error):
    """Make the training of a preset fail."""
    train_and_evaluate = comparing.train_and_evaluate

    def fail(path, *more):
        if path.name.startswith(name):
            raise error
        return train_and_evaluate(path, *more)

    monkeypatch.setattr(comparing, "train_and_evaluate", fail)


@pytest.fixture
def measured(tmp_path):
    """The directory of a new comparison whose models are already measured."""
    (tmp_path / "comparison/runs").mkdir(parents=True)
    (tmp_path / "comparison/costs.json").write_text(json.dumps(dict.fromkeys(PRESETS, COST)))
    return tmp_path / "comparison"


def test_minutes_one_tag_and_a_run_that_diverges(work, shared_music_folder, one_tag, monkeypatch, measured):
    """The cosine schedule follows the minutes, and patience ends the training. The other preset is listed as failed."""
    failing(monkeypatch, "wild", DivergedError("training: the loss is nan"))
    budget = ["--seeds", 1, "--minutes", 30, "--set", "training.patience=1", "--set", "training.schedule=cosine"]
    more = [*budget, "--table", one_tag, "--run", measured]
    command = arguments(work, shared_music_folder, ("wild", "one"), *more)
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    check_facts(result.stdout, "wild-0", "training: the loss is nan")
    table = pd.read_csv(measured / "table.csv").set_index("preset")
    assert (table["failed"]["wild"], table["failed"]["one"], table["runs"]["one"]) == (1, 0, 1)
    assert table["reason"]["wild"] == "training: the loss is nan"
    assert np.isnan(table["roc_auc"]["wild"]) and 0 <= table["roc_auc"]["one"] <= 1
    assert table["parameters"].tolist()[1:] == [COST["parameters"]] * 2
    assert pd.read_csv(measured / "pairs.csv").empty
    rates = pd.read_csv(measured / "runs/one-0/history.csv")["learning_rate"]
    assert (np.diff(rates, prepend=1e-3) < 0).all()


def test_minutes_too_few_for_an_epoch_name_the_preset(work, shared_music_folder, monkeypatch, measured, failure):
    monkeypatch.setattr(train, "fit", Mock(side_effect=BudgetError("its first epoch alone took 9.0 s")))
    more = ["--minutes", 0.1, "--run", measured]
    line = failure(*arguments(work, shared_music_folder, ("one", "crnn_baseline"), *more))
    check_facts(line, "--minutes", "'one'", "its first epoch alone took 9.0 s")
    assert not list((measured / "runs").rglob("*.*"))


def test_a_comparison_whose_runs_all_fail_names_the_reason(work, shared_music_folder, monkeypatch, measured, failure):
    failing(monkeypatch, "", DivergedError("the loss is nan"))
    command = arguments(work, shared_music_folder, ("one", "wild"), "--seeds", 1, "--epochs", 2, "--run", measured)
    for seeds in (1, 1, 2):  # failed runs are only read, and seeds may be added
        check_facts(failure(*command, "--seeds", seeds), f"{2 * seeds} runs", "the loss is nan")
    check_facts(failure(*command), "--run", "one-1")
