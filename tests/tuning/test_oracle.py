"""Oracles without any training: a trial is a formula, so that what a search tries can be followed to its end."""

import itertools
import json
import re
import threading

import pytest

from genre_tagger.errors import UserError
from genre_tagger.tuning import oracle as oracle_module
from genre_tagger.tuning.oracle import ALGORITHMS, Budget, make_oracle
from genre_tagger.tuning.space import Space
from genre_tagger.tuning.space_file import parse_space

GRID = parse_space(
    {
        "training.batch_size": 3,
        "model.head.dropout": {"min": 0.0, "max": 0.3, "step": 0.1},
        "training.alpha": {"min": 0.5, "max": 2.0},
        "model.merge": {"values": ["concat", "add"]},
    },
    "",
)
WIDE = parse_space(
    {"training.batch_size": {"min": 1, "max": 100}, "training.alpha": {"min": 0.5, "max": 2.0}, "model.merge": "add"},
    "",
)


def opened(path, algorithm: str, space: Space, max_trials=None, minutes=None, is_chief=False):
    """An oracle on its state file, as `tune` opens it."""
    budget = Budget(max_trials, minutes)
    oracle = make_oracle(algorithm, "val_auc", space, budget, seed=0, max_epochs=9)
    oracle.attach(path / "state.json", space, budget, lambda: None)
    oracle.is_chief = is_chief
    if oracle.file.exists():
        oracle.reload()
    return oracle


def figure(values) -> float:
    """What a trial would reach."""
    return 1 - (values["training.batch_size"] / 100 - 0.37) ** 2 - (values.get("training.alpha", 1) - 1.2) ** 2


def end(oracle, space, trial, status="COMPLETED"):
    """Reports a trial as a tuner does."""
    if status == "COMPLETED":
        oracle.update_trial(trial.trial_id, {"val_auc": figure(space.decode(trial.hyperparameters.values))})
    trial.status = status
    oracle.end_trial(trial)


def run(oracle, space, most=1000, fail=()):
    """Runs trials to the end of the search, or `most` of them; returns the values of each."""
    tried = []
    while len(tried) < most:
        trial = oracle.create_trial("tuner0")
        if trial.status == "STOPPED":
            break
        tried.append(json.dumps({**space.decode(trial.hyperparameters.values), "id": trial.trial_id}))
        end(oracle, space, trial, "FAILED" if trial.trial_id in fail else "COMPLETED")
    return tried


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_search_killed_at_any_moment_ends_like_an_unbroken_one(tmp_path, algorithm, monkeypatch):
    """Every state that ever lay on the disk is gone on from; no trial is lost, none is counted twice."""
    space = GRID if algorithm == "grid" else WIDE
    limit = {"random": 6, "bayesian": 5}.get(algorithm)
    states = []
    write = oracle_module.write_text

    def recording(path, text):
        write(path, text)
        states.append(text)

    monkeypatch.setattr(oracle_module, "write_text", recording)
    whole = run(opened(tmp_path / "whole", algorithm, space, limit), space)
    monkeypatch.undo()
    assert len(whole) == len(set(whole)) >= 5
    few = {"bayesian": 8, "hyperband": 8, "grid": 80}.get(algorithm, 1)
    for number, state in enumerate(states[::few]):
        path = tmp_path / str(number)
        path.mkdir()
        (path / "state.json").write_text(state)
        oracle = opened(path, algorithm, space, limit)
        run(oracle, space)
        assert sorted(oracle.end_order) == sorted(oracle.trials), number
        assert len(oracle.trials) == len(whole), number
        assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}
        if algorithm in ("random", "grid"):  # the others draw on their random state or on the order
            again = {json.dumps(space.decode(trial.hyperparameters.values)) for trial in oracle.trials.values()}
            assert again == {json.dumps({k: v for k, v in json.loads(row).items() if k != "id"}) for row in whole}


def test_a_write_that_is_cut_short_leaves_the_state_before(tmp_path, monkeypatch):
    oracle = opened(tmp_path, "random", WIDE, 5)
    run(oracle, WIDE, most=2)
    before = oracle.file.read_text()

    def cut_short(path, text):
        path.with_name(f".{path.name}.tmp").write_text(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(oracle_module, "write_text", cut_short)
    with pytest.raises(KeyboardInterrupt):
        oracle.create_trial("tuner0")
    monkeypatch.undo()
    assert oracle.file.read_text() == before
    assert len(opened(tmp_path, "random", WIDE, 5).trials) == 2


def test_grid_tries_every_combination_once(tmp_path):
    tried = [json.loads(row) for row in run(opened(tmp_path, "grid", GRID), GRID)]
    combinations = {(row["model.head.dropout"], row["training.alpha"], row["model.merge"]) for row in tried}
    alphas = [0.5, *(round(0.575 + 0.15 * number, 3) for number in range(10))]  # the least and the middle of ten parts
    assert combinations == set(itertools.product([0.0, 0.1, 0.2, 0.3], alphas, ["concat", "add"]))
    assert len(tried) == 88


def test_going_on_changes_nothing(tmp_path):
    """Not even the last digit of what was drawn; grid and Bayesian search compare it."""
    oracle = opened(tmp_path, "grid", GRID)
    run(oracle, GRID, most=30)
    again = opened(tmp_path, "grid", GRID)
    assert again.trials.keys() == oracle.trials.keys()
    for name, trial in oracle.trials.items():
        assert again.trials[name].hyperparameters.values == trial.hyperparameters.values


def test_a_narrower_space_knows_what_was_tried(tmp_path):
    """The number of a step is another one there; what was tried is not tried again, what was not is."""
    dropout = "model.head.dropout"
    wide = parse_space({dropout: {"min": 0.0, "max": 0.9, "step": 0.1}, "training.batch_size": 3}, "")
    narrow = parse_space({dropout: {"min": 0.3, "max": 0.8, "step": 0.1}, "training.batch_size": 3}, "")
    first = [json.loads(row)[dropout] for row in run(opened(tmp_path, "random", wide, 4), wide)]
    then = [json.loads(row)[dropout] for row in run(opened(tmp_path, "random", narrow, 20), narrow)]
    assert sorted(then) == sorted({0.3, 0.4, 0.5, 0.6, 0.7, 0.8} - set(first))


def test_bayesian_search_finds_more_than_random_does(tmp_path):
    best = {}
    for algorithm in ("random", "bayesian"):
        oracle = opened(tmp_path / algorithm, algorithm, WIDE, 12)
        run(oracle, WIDE)
        best[algorithm] = oracle.get_best_trials()[0].score
    assert best["bayesian"] > best["random"]


def test_failures_in_a_row_do_not_end_it(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, 8)
    assert len(run(oracle, WIDE, fail=[f"{number:04d}" for number in range(6)])) == 8
    assert [trial.status for trial in oracle.trials.values()].count("FAILED") == 6


def test_more_trials_continue_the_search(tmp_path):
    first = run(opened(tmp_path, "random", WIDE, 3), WIDE)
    more = run(opened(tmp_path, "random", WIDE, 5), WIDE)
    assert first + more == run(opened(tmp_path / "at once", "random", WIDE, 5), WIDE)


def test_time_ends_it_before_a_trial_that_would_not_fit(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, minutes=10)
    assert run(oracle, WIDE, most=2)
    oracle.budget.note(9 * 60)
    assert run(oracle, WIDE, most=1)
    oracle.budget.note(11 * 60)
    assert not run(oracle, WIDE)


def test_a_narrower_space_keeps_what_lies_in_it(tmp_path):
    wide = opened(tmp_path, "random", WIDE, 12)
    run(wide, WIDE)
    narrow = parse_space(
        {
            "training.batch_size": {"min": 1, "max": 40},
            "training.alpha": {"min": 0.5, "max": 2.0},
            "model.merge": "add",
        },
        "",
    )
    oracle = opened(tmp_path, "random", narrow, 15)
    kept = {name for name, trial in oracle.trials.items() if trial.status == "COMPLETED"}
    expected = {
        name
        for name, trial in wide.trials.items()
        if WIDE.decode(trial.hyperparameters.values)["training.batch_size"] <= 40
    }
    assert 0 < len(kept) < 12
    assert kept == expected
    assert all(json.loads(row)["training.batch_size"] <= 40 for row in run(oracle, narrow))
    assert len(oracle.trials) == 15
    narrowest = parse_space({"training.batch_size": 3, "training.alpha": 1.0, "model.merge": "add"}, "")
    for _ in range(2):  # a state of two spaces ago is still read
        assert all(trial.status == "FAILED" for trial in opened(tmp_path, "random", narrowest, 15).trials.values())
        opened(tmp_path, "random", narrowest, 15).save()


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "state.json").write_text('{"trials": [')
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'state.json'}: cannot be read")):
        opened(tmp_path, "random", WIDE)


def test_a_silent_worker_is_given_up_and_its_trial_goes_to_another(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, 2, is_chief=True)
    lost, kept = oracle.create_trial("lost"), oracle.create_trial("kept")
    assert oracle.give_up(60) == []
    oracle.seen["lost"] -= 61
    oracle.get_trial(kept.trial_id)
    assert oracle.give_up(60) == ["lost"]
    end(oracle, WIDE, kept)
    taken = oracle.create_trial("kept")
    assert taken.trial_id == lost.trial_id
    end(oracle, WIDE, taken)
    end(oracle, WIDE, lost)  # it lived after all; too late
    assert oracle.end_order == [kept.trial_id, lost.trial_id]
    assert oracle.create_trial("kept").status == "STOPPED"
    assert not oracle.tuner_ids and not oracle.ongoing_trials


def test_a_sign_of_life_keeps_a_trial(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, 2, is_chief=True)
    trial = oracle.create_trial("slow")
    oracle.seen["slow"] -= 61
    oracle.get_trial(trial.trial_id)
    assert oracle.give_up(60) == []


def test_idle_hands_wait_for_a_trial_in_danger(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, 1, is_chief=True)
    oracle.create_trial("one")
    assert oracle.create_trial("other").status == "IDLE"


def test_a_chief_that_was_killed_leaves_trials_with_their_workers(tmp_path):
    running = opened(tmp_path, "random", WIDE, 3, is_chief=True).create_trial("alive")
    chief = opened(tmp_path, "random", WIDE, 3, is_chief=True)
    assert chief.create_trial("other").trial_id != running.trial_id
    assert chief.create_trial("alive").trial_id == running.trial_id
    alone = opened(tmp_path, "random", WIDE, 3)
    assert alone.create_trial("tuner0").trial_id in (running.trial_id, "0001")


def test_an_open_trial_is_taken_over_when_there_is_no_other(tmp_path):
    """The space is exhausted, or the time is up, while a worker dies."""
    single = parse_space({"training.batch_size": {"values": [1, 2]}, "model.merge": "add"}, "")
    for path, space, minutes in ((tmp_path / "space", single, None), (tmp_path / "time", WIDE, 10)):
        oracle = opened(path, "random", space, minutes=minutes, is_chief=True)
        lost, kept = oracle.create_trial("lost"), oracle.create_trial("kept")
        oracle.budget.note(11 * 60)
        end(oracle, space, kept)
        assert oracle.create_trial("kept").status == "IDLE"
        oracle.seen["lost"] -= 61
        oracle.give_up(60)
        taken = oracle.create_trial("kept")
        assert taken.trial_id == lost.trial_id
        end(oracle, space, taken)
        assert oracle.create_trial("kept").status == "STOPPED"


def test_a_chief_killed_between_a_figure_and_the_end_knows_the_figure(tmp_path):
    chief = opened(tmp_path, "random", WIDE, 3, is_chief=True)
    trial = chief.create_trial("worker")
    chief.update_trial(trial.trial_id, {"val_auc": 0.75})
    chief = opened(tmp_path, "random", WIDE, 3, is_chief=True)
    trial.status = "COMPLETED"
    chief.end_trial(trial)
    assert chief.trials[trial.trial_id].score == 0.75


def test_hyperband_begins_anew_while_it_may(tmp_path):
    sweep = len(run(opened(tmp_path / "once", "hyperband", WIDE), WIDE))
    assert len(run(opened(tmp_path / "time", "hyperband", WIDE, minutes=10), WIDE, most=sweep + 9)) == sweep + 9
    assert len(run(opened(tmp_path / "once", "hyperband", WIDE, sweep + 4), WIDE)) == 4
    rest = run(opened(tmp_path / "once", "hyperband", WIDE), WIDE)  # the sweep that has begun is ended
    assert len(rest) == sweep - 4
    assert not run(opened(tmp_path / "once", "hyperband", WIDE), WIDE)


@pytest.mark.parametrize("place", ["_random_values", "_check_objective_found", "on_end", "save"])
def test_an_error_in_the_oracle_is_noted_and_lets_go_of_the_lock(tmp_path, monkeypatch, place):
    oracle = opened(tmp_path, "random", WIDE, 3, is_chief=True)

    def fault(*_):
        raise RuntimeError("a typo")

    with monkeypatch.context() as patched, pytest.raises(RuntimeError, match="a typo"):
        patched.setattr(oracle, place, fault)
        end(oracle, WIDE, oracle.create_trial("worker"))
    assert str(oracle.fault) == "a typo"
    other = threading.Thread(target=oracle.create_trial, args=("other",), daemon=True)
    other.start()
    other.join(timeout=20)
    assert not other.is_alive()


def test_a_chiefs_full_disk_is_kept_for_whoever_watches(tmp_path, monkeypatch):
    oracle = opened(tmp_path, "random", WIDE, 3, is_chief=True)

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(oracle_module, "write_text", full)
    with pytest.raises(UserError, match="no space left"):
        oracle.create_trial("worker")
    assert isinstance(oracle.fault, UserError) and "no space left" in str(oracle.fault)
