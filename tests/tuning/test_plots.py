"""Table and plots of a search, compared with numbers computed by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from facts import check_facts
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from genre_tagger.tuning import plots
from genre_tagger.tuning.hparams import write_hparams
from genre_tagger.tuning.plots import importance, pareto_front, plot_search
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import Outcome
from genre_tagger.tuning.trials_table import trials_table, winner

SPACE = parse_space(
    {
        "training.alpha": {"min": 1.0, "max": 2.0},
        "model.merge": {"values": ["concat", "add"]},
        "model.cnn.kernels": {"values": [[8, 8, 8, 8], [4, 4, 4, 4]]},
    },
    "",
)


def outcomes(count: int) -> list[Outcome]:
    """Return trials whose score depends only on alpha. The second failed, and the third lies outside the space."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        alpha = 3.0 if number == 2 else round(float(rng.uniform(1, 2)), 3)
        values = {"training.alpha": alpha, "model.merge": "add", "model.cnn.kernels": [4, 4, 4, 4]}
        if rng.uniform() < 0.5:
            values |= {"model.merge": "concat", "model.cnn.kernels": [8, 8, 8, 8]}
        scores = {} if number == 1 else {"val_auc": alpha / 4, "val_pr_auc": 0.5}
        made.append(
            Outcome(
                f"{number:04d}",
                values,
                "failed" if number == 1 else "completed",
                "too large" if number == 1 else None,
                epochs=2,
                parameters=int(rng.integers(100, 10_000)),
                flops=5,
                inference_ms=float(rng.uniform(0.1, 2)),
                scores=scores,
                seconds=1.0,
            )
        )
    return made


def test_the_table_has_every_trial_and_the_reason_of_failure(tmp_path):
    trials_table(outcomes(4), SPACE).to_csv(tmp_path / "t.csv", index=False)
    table = pd.read_csv(tmp_path / "t.csv", dtype={"trial": str})
    assert table["trial"].tolist() == ["0000", "0001", "0002", "0003"]
    assert table["status"].tolist() == ["completed", "failed", "completed", "completed"]
    assert table["in_space"].tolist() == [True, True, False, True]
    assert table["reason"].dropna().tolist() == ["too large"]
    assert json.loads(table["model.cnn.kernels"][0]) in ([4, 4, 4, 4], [8, 8, 8, 8])
    assert table["val_auc"][3] == pytest.approx(table["training.alpha"][3] / 4)


def test_the_winner_is_the_best_within_the_space():
    made = outcomes(10)
    best = max((made[number] for number in (0, 3, 4, 5, 6, 7, 8, 9)), key=lambda outcome: outcome.scores["val_auc"])
    assert winner(made, SPACE, "val_auc") == best
    assert winner(made, SPACE, "val_pr_auc") == made[0]  # the first of equals
    assert winner(made[1:3], SPACE, "val_auc") is None


def test_the_pareto_front_by_brute_force():
    rng = np.random.default_rng(1)
    costs, values = rng.integers(0, 20, 60).astype(float), rng.integers(0, 20, 60).astype(float)
    front = pareto_front(costs, values)

    def is_beaten(row):
        no_worse = (costs <= costs[row]) & (values >= values[row])
        return (no_worse & ((costs < costs[row]) | (values > values[row]))).any()

    expected = {(costs[row], values[row]) for row in range(60) if not is_beaten(row)}
    assert {(costs[row], values[row]) for row in front} == expected
    assert len(front) == len(expected)
    assert (np.diff(costs[front]) > 0).all()


def test_importance_finds_the_only_field_that_matters():
    done = trials_table(outcomes(40), SPACE)
    done = done[done["status"] == "completed"].reset_index(drop=True)
    found = importance(done, ["model.merge", "training.alpha"], "val_auc")
    assert found["training.alpha"] > 0.9
    assert abs(found["model.merge"]) < 0.05
    assert found.index[-1] == "training.alpha"


@pytest.mark.parametrize("count", [1, 3, 12])
def test_plots_show_every_completed_trial(tmp_path, drawn, count):
    done = [outcome for outcome in outcomes(count) if outcome.status == "completed"]
    values = [outcome.scores["val_auc"] for outcome in done]
    plot_search(tmp_path / "report", trials_table(outcomes(count), SPACE), list(SPACE.entries), "val_auc")
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert written == {"progress.png", "costs.png", "parallel.png", "importance.png"}
    progress, _, parallel, importances = (figure.axes[0] for figure in drawn)
    assert [line.get_ydata().tolist() for line in progress.lines] == [values, np.maximum.accumulate(values).tolist()]

    for axes, cost in zip(drawn[1].axes, ("parameters", "inference_ms"), strict=True):
        pairs = {outcome.trial: (getattr(outcome, cost), outcome.scores["val_auc"]) for outcome in done}
        assert [tuple(pair) for pair in axes.lines[0].get_xydata()] == list(pairs.values())
        beaten = {name for name, (x, y) in pairs.items() if any(a <= x and b > y for a, b in pairs.values())}
        assert {text.get_text() for text in axes.texts} == set(pairs) - beaten

    trials = [line for line in parallel.lines if line.get_color() != "0.85"]  # that is an axis
    (best,) = (line for line in trials if line.get_color() == "black")
    assert len(trials) == len(done)
    assert count == 1 or best.get_ydata()[0] == 1  # the highest alpha is the best
    if count == 12:
        assert importances.get_yticklabels()[-1].get_text() == "training.alpha"
        assert max(bar.get_width() for bar in importances.patches) == importances.patches[-1].get_width() > 0.5
    else:
        check_facts(importances.texts[0].get_text(), 5)
        assert not importances.patches


def test_words_and_numbers_are_drawn_together(tmp_path, drawn):
    """As in {values: [null, 80]} or {values: [none, {width: 8}]}."""
    table = trials_table(outcomes(12), SPACE)
    table["model.merge"] = ["null", 80] * 6
    plot_search(tmp_path / "report", table, list(SPACE.entries), "val_auc")
    assert "model.merge" in [label.get_text() for label in drawn[3].axes[0].get_yticklabels()]
    assert {"null", "80"} <= {text.get_text() for text in drawn[2].axes[0].texts}


def test_searched_epochs_are_drawn_once(tmp_path, monkeypatch):
    table = trials_table(outcomes(12), SPACE)
    table["epochs"] = table["training.epochs"] = [2, 3] * 6
    drawn = []
    for other in ("plot_progress", "plot_costs", "plot_importance"):
        monkeypatch.setattr(plots, other, lambda *_: None)
    monkeypatch.setattr(plots, "plot_parallel", lambda path, done, varied, objective: drawn.append(varied))
    plot_search(tmp_path, table, ["training.epochs"], "val_auc")
    plot_search(tmp_path, table, ["training.alpha"], "val_auc")
    assert drawn == [["training.epochs"], ["training.alpha", "epochs"]]


def test_tensorboard_reads_the_hyper_parameters(tmp_path):
    (outcome,) = outcomes(1)
    write_hparams(tmp_path, outcome, SPACE, "full")
    write_hparams(tmp_path, outcome, SPACE, "full")  # a second time changes nothing
    (events,) = (tmp_path / "0000/tensorboard/full").glob("events.*")
    log = EventAccumulator(str(events)).Reload()
    data = plugin_data_pb2.HParamsPluginData.FromString(
        log.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    read = data.session_start_info.hparams
    assert read["training.alpha"].number_value == outcome.values["training.alpha"]
    assert read["model.merge"].string_value == outcome.values["model.merge"]
    assert json.loads(read["model.cnn.kernels"].string_value) == outcome.values["model.cnn.kernels"]
    assert {"val_auc", "val_pr_auc", "parameters"} <= set(log.Tags()["tensors"])
