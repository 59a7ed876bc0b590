"""Oracles without any training: the score of a trial is a formula, so that a whole search takes almost no time."""

import itertools
import json
import threading

import pytest
from facts import expect_error
from threadpoolctl import threadpool_limits

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


@pytest.fixture(autouse=True)
def one_thread():
    """Compute the small matrices of Bayesian search in one thread; several slow each other down on busy cores."""
    with threadpool_limits(1):
        yield


def opened(path, algorithm: str, space: Space, max_trials=None, minutes=None, is_chief=False):
    """Return an oracle on its state file, as `tune` opens it."""
    budget = Budget(max_trials, minutes)
    oracle = make_oracle(algorithm, "val_auc", space, budget, seed=0, max_epochs=9)
    oracle.attach(path / "state.json", space, budget, lambda: None)
    oracle.is_chief = is_chief
    if oracle.file.exists():
        oracle.reload()
    return oracle


def figure(values) -> float:
    """Return the score of a trial."""
    return 1 - (values["training.batch_size"] / 100 - 0.37) ** 2 - (values.get("training.alpha", 1) - 1.2) ** 2


def end(oracle, space, trial, status="COMPLETED"):
    """Report a trial as a tuner does."""
    if status == "COMPLETED":
        oracle.update_trial(trial.trial_id, {"val_auc": figure(space.decode(trial.hyperparameters.values))})
    trial.status = status
    oracle.end_trial(trial)


def run(oracle, space, most=1000, fail=()):
    """Run trials to the end of the search, or `most` of them, and return the values of each."""
    tried = []
    while len(tried) < most:
        trial = oracle.create_trial("tuner0")
        if trial.status == "STOPPED":
            break
        tried.append(json.dumps({**space.decode(trial.hyperparameters.values), "id": trial.trial_id}))
        end(oracle, space, trial, "FAILED" if trial.trial_id in fail else "COMPLETED")
    return tried


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_search_killed_at_any_moment_ends_like_one_that_was_not(tmp_path, algorithm, monkeypatch):
    """Resume from every state that was ever on the disk: no trial is lost, and none is counted twice."""
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
        if algorithm in ("random", "grid"):  # the others depend on their random state or on the order
            again = {json.dumps(space.decode(trial.hyperparameters.values)) for trial in oracle.trials.values()}
            assert again == {json.dumps({k: v for k, v in json.loads(row).items() if k != "id"}) for row in whole}


def test_an_interrupted_write_keeps_the_previous_state(tmp_path, monkeypatch):
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
    # The minimum, and the middles of ten equal parts of the range.
    alphas = [0.5, *(round(0.575 + 0.15 * number, 3) for number in range(10))]
    assert combinations == set(itertools.product([0.0, 0.1, 0.2, 0.3], alphas, ["concat", "add"]))
    assert len(tried) == 88


def test_resuming_keeps_every_digit_of_the_drawn_values(tmp_path):
    """Grid and Bayesian search compare the drawn values."""
    oracle = opened(tmp_path, "grid", GRID)
    run(oracle, GRID, most=30)
    again = opened(tmp_path, "grid", GRID)
    assert again.trials.keys() == oracle.trials.keys()
    for name, trial in oracle.trials.items():
        assert again.trials[name].hyperparameters.values == trial.hyperparameters.values


def test_a_narrower_space_tries_exactly_the_values_that_were_not_tried(tmp_path):
    """In the narrower space, the same value has another number of steps."""
    dropout = "model.head.dropout"
    wide = parse_space({dropout: {"min": 0.0, "max": 0.9, "step": 0.1}, "training.batch_size": 3}, "")
    narrow = parse_space({dropout: {"min": 0.3, "max": 0.8, "step": 0.1}, "training.batch_size": 3}, "")
    first = [json.loads(row)[dropout] for row in run(opened(tmp_path, "random", wide, 4), wide)]
    then = [json.loads(row)[dropout] for row in run(opened(tmp_path, "random", narrow, 20), narrow)]
    assert sorted(then) == sorted({0.3, 0.4, 0.5, 0.6, 0.7, 0.8} - set(first))


def test_bayesian_search_finds_better_values_than_random_search(tmp_path):
    best = {}
    for algorithm in ("random", "bayesian"):
        oracle = opened(tmp_path / algorithm, algorithm, WIDE, 12)
        run(oracle, WIDE)
        best[algorithm] = oracle.get_best_trials()[0].score
    assert best["bayesian"] > best["random"]


def test_failures_in_a_row_do_not_end_the_search(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, 8)
    assert len(run(oracle, WIDE, fail=[f"{number:04d}" for number in range(6)])) == 8
    assert [trial.status for trial in oracle.trials.values()].count("FAILED") == 6


def test_more_trials_continue_the_search(tmp_path):
    first = run(opened(tmp_path, "random", WIDE, 3), WIDE)
    more = run(opened(tmp_path, "random", WIDE, 5), WIDE)
    assert first + more == run(opened(tmp_path / "at once", "random", WIDE, 5), WIDE)


def test_no_trial_starts_that_would_exceed_the_time(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, minutes=10)
    assert run(oracle, WIDE, most=2)
    oracle.budget.note(9 * 60)
    assert run(oracle, WIDE, most=1)
    oracle.budget.note(11 * 60)
    assert not run(oracle, WIDE)


def test_a_narrower_space_keeps_the_trials_inside_it(tmp_path):
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
    for _ in range(2):  # the second time, the state has values of two earlier spaces
        assert all(trial.status == "FAILED" for trial in opened(tmp_path, "random", narrowest, 15).trials.values())
        opened(tmp_path, "random", narrowest, 15).save()


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "state.json").write_text('{"trials": [')
    with expect_error(tmp_path / "state.json"):
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
    end(oracle, WIDE, lost)  # the first worker was still running, but its result comes too late
    assert oracle.end_order == [kept.trial_id, lost.trial_id]
    assert oracle.create_trial("kept").status == "STOPPED"
    assert not oracle.tuner_ids and not oracle.ongoing_trials


def test_a_sign_of_life_keeps_a_trial(tmp_path):
    oracle = opened(tmp_path, "random", WIDE, 2, is_chief=True)
    trial = oracle.create_trial("slow")
    oracle.seen["slow"] -= 61
    oracle.get_trial(trial.trial_id)
    assert oracle.give_up(60) == []


def test_an_idle_worker_waits_for_a_trial_that_may_lose_its_worker(tmp_path):
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


def test_an_unfinished_trial_goes_to_another_worker_if_there_is_no_new_one(tmp_path):
    """A worker is killed after the space is exhausted, or after the time is up."""
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


def test_a_chief_killed_before_the_end_of_a_trial_keeps_its_score(tmp_path):
    chief = opened(tmp_path, "random", WIDE, 3, is_chief=True)
    trial = chief.create_trial("worker")
    chief.update_trial(trial.trial_id, {"val_auc": 0.75})
    chief = opened(tmp_path, "random", WIDE, 3, is_chief=True)
    trial.status = "COMPLETED"
    chief.end_trial(trial)
    assert chief.trials[trial.trial_id].score == 0.75


def test_hyperband_starts_new_sweeps_within_its_limits(tmp_path):
    sweep = len(run(opened(tmp_path / "once", "hyperband", WIDE), WIDE))
    assert len(run(opened(tmp_path / "time", "hyperband", WIDE, minutes=10), WIDE, most=sweep + 9)) == sweep + 9
    assert len(run(opened(tmp_path / "once", "hyperband", WIDE, sweep + 4), WIDE)) == 4
    rest = run(opened(tmp_path / "once", "hyperband", WIDE), WIDE)  # the sweep that has begun is finished
    assert len(rest) == sweep - 4
    assert not run(opened(tmp_path / "once", "hyperband", WIDE), WIDE)


def unreported(oracle, trial):
    """Report a trial without its objective, which KerasTuner refuses."""
    oracle.update_trial(trial.trial_id, {})


@pytest.mark.parametrize("place", ["populate_space", "on_end", "save", "update_trial"])
def test_an_error_in_the_oracle_is_kept_and_releases_the_lock(tmp_path, monkeypatch, place):
    oracle = opened(tmp_path, "random", WIDE, 3, is_chief=True)

    def fault(*_):
        raise RuntimeError("a typo")

    with monkeypatch.context() as patched, pytest.raises(Exception) as raised:
        if place == "update_trial":
            unreported(oracle, oracle.create_trial("worker"))
        patched.setattr(oracle, place, fault)
        end(oracle, WIDE, oracle.create_trial("worker"))
    assert oracle.fault is raised.value
    assert isinstance(raised.value, ValueError if place == "update_trial" else RuntimeError)
    other = threading.Thread(target=oracle.create_trial, args=("other",), daemon=True)
    other.start()
    other.join(timeout=20)
    assert not other.is_alive()


def test_a_full_disk_of_the_chief_is_kept(tmp_path, monkeypatch):
    oracle = opened(tmp_path, "random", WIDE, 3, is_chief=True)

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(oracle_module, "write_text", full)
    with expect_error(tmp_path / "state.json") as raised:
        oracle.create_trial("worker")
    assert oracle.fault is raised.value
