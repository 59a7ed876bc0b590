"""A search whose trials are not trained: what reaches the oracle, the table and the winner."""

import grpc
import pytest
import yaml

from genre_tagger.config import load_config
from genre_tagger.errors import UserError
from genre_tagger.tuning import directory as directory_module
from genre_tagger.tuning.cluster import Cluster
from genre_tagger.tuning.directory import Search, SearchDirectory, check_search, create_search, working_in
from genre_tagger.tuning.oracle import Budget, SearchOracle
from genre_tagger.tuning.search import _epochs_to_grant, open_oracle
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.table import trials_table, winner
from genre_tagger.tuning.trial import Outcome, read_outcomes, write_outcome
from genre_tagger.tuning.tuner import TaggerTuner

WIDE = parse_space({"training.batch_size": {"min": 1, "max": 100}, "training.alpha": {"min": 1.0, "max": 2.0}}, "")


class Runner:
    """Its figure is the batch size; it notes what is searched and what is there when a trial begins."""

    def __init__(self, scores=None):
        self.scores, self.seen = scores, []

    def run(self, path, values):
        self.seen.append((values, sorted(file.name for file in path.parent.parent.glob("*.*"))))
        scores = {"val_auc": values["training.batch_size"] / 100} if self.scores is None else self.scores
        outcome = Outcome(
            path.name, values, "completed", scores=scores, epochs=values.get("training.epochs"), seconds=1
        )
        write_outcome(path, outcome)
        (path / "config.yaml").write_text(yaml.safe_dump(values))
        return outcome


def searched(path, space, budget, algorithm="random", runner=None, config=None, cluster=None):
    """Searches, or goes on, and returns (directory, oracle, runner)."""
    search = Search(algorithm, "val_auc", 1, config or load_config("small"), {"hash": "", "stream": False})
    directory, runner = SearchDirectory(path), runner or Runner()
    create_search(directory, search, space)
    oracle = open_oracle(directory, search, space, budget)
    TaggerTuner(oracle, space, runner, path, lambda outcome: None, lambda line: None, cluster).search()
    return directory, oracle, runner


@pytest.mark.parametrize("line", ["training.epochs", "training.epochs, training.patience"])
def test_hyperband_grants_the_epochs_of_the_space_at_most(tmp_path, line):
    space = parse_space({line: {"min": 2, "max": 9}, "training.batch_size": {"min": 1, "max": 100}}, "")
    config, rest = _epochs_to_grant(load_config("small"), space)
    assert config.training.epochs == 9
    directory, _, _ = searched(tmp_path, rest, Budget(None, None), "hyperband", config=config)
    outcomes = read_outcomes(directory.trials)
    assert {outcome.epochs for outcome in outcomes} == {1, 3, 9}
    assert trials_table(outcomes, rest)["in_space"].all()
    assert "protocol" not in trials_table(outcomes, rest)
    assert set(trials_table(outcomes, rest, "full")["protocol"]) == {"full"}
    assert winner(outcomes, rest, "val_auc").scores["val_auc"] == max(outcome.scores["val_auc"] for outcome in outcomes)


def test_hyperband_without_epochs_in_the_space_keeps_those_of_the_configuration():
    config = load_config("small")
    assert _epochs_to_grant(config, WIDE) == (config, WIDE)
    with pytest.raises(UserError, match=r"--space: has training\.epochs only"):
        _epochs_to_grant(config, parse_space({"training.epochs": 6}, ""))


def test_the_table_and_the_winner_are_written_after_each_trial(tmp_path):
    directory, _, runner = searched(tmp_path, WIDE, Budget(4, None))
    assert [files for _, files in runner.seen] == [["search.yaml"], *[["best.yaml", "search.yaml", "trials.csv"]] * 3]
    best = max(values["training.batch_size"] for values, _ in runner.seen)
    assert yaml.safe_load(directory.best.read_text())["training.batch_size"] == best


def test_a_trial_without_the_objective_ends_the_search(tmp_path):
    """An error in the code, not of the trial; KerasTuner by itself goes on."""
    with pytest.raises(ValueError, match="val_auc"):
        searched(tmp_path, WIDE, Budget(4, None), runner=Runner({"val_pr_auc": 0.5}))
    assert len(read_outcomes(tmp_path / "trials")) == 1


class Refused(grpc.RpcError):
    """What gRPC raises at a worker."""

    def __init__(self, code, details):
        self.code, self.details = lambda: code, lambda: details


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNKNOWN, "the chief ended with an error: a typo"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "no chief answered within 5 s"),
    ],
)
def test_a_worker_says_what_the_chief_said(tmp_path, monkeypatch, code, expected):
    """The trial stays open for whoever takes it up."""

    def refuse(*_, **__):
        raise Refused(code, "a typo")

    ended = []
    monkeypatch.setattr(SearchOracle, "update_trial", refuse)
    monkeypatch.setattr(SearchOracle, "end_trial", lambda oracle, trial: ended.append(trial))
    with pytest.raises(UserError, match=f"--chief 127.0.0.1:8000: {expected}"):
        searched(tmp_path, WIDE, Budget(4, None), cluster=Cluster("127.0.0.1:8000", "one", 5.0))
    assert not ended


def test_an_interrupted_trial_outside_a_narrower_space_stays_in_the_table(tmp_path):
    class Killed(Runner):
        def run(self, path, values):
            self.seen.append(values)
            raise KeyboardInterrupt

    killed = Killed()
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path, WIDE, Budget(4, None), runner=killed)
    drawn = killed.seen[0]["training.batch_size"]
    others = {"min": 1, "max": drawn - 1} if drawn > 50 else {"min": drawn + 1, "max": 100}
    narrow = parse_space({"training.batch_size": others, "training.alpha": {"min": 1.0, "max": 2.0}}, "")
    for _ in range(2):
        directory, oracle, _ = searched(tmp_path, narrow, Budget(4, None))
        outcomes = read_outcomes(directory.trials)
        assert [outcome.status for outcome in outcomes] == ["failed", "completed", "completed", "completed"]
        assert outcomes[0].values == killed.seen[0]
        assert outcomes[0].reason == "interrupted, and outside the narrower space"
        assert sorted(oracle.end_order) == sorted(oracle.trials)


def test_an_end_without_any_outcome_on_the_disk_writes_an_empty_table(tmp_path):
    search = Search("random", "val_auc", 1, load_config("small"), {"hash": "", "stream": False})
    create_search(SearchDirectory(tmp_path), search, WIDE)
    open_oracle(SearchDirectory(tmp_path), search, WIDE, Budget(4, None)).on_end()
    assert (tmp_path / "trials.csv").read_text().startswith("trial,status,in_space")


def test_a_worker_needs_the_chiefs_space(tmp_path):
    search = Search("random", "val_auc", 1, load_config("small"), {"hash": "", "stream": False})
    directory = SearchDirectory(tmp_path)
    create_search(directory, search, WIDE)
    narrow = parse_space({"training.batch_size": {"min": 1, "max": 50}, "training.alpha": {"min": 1.0, "max": 2.0}}, "")
    check_search(directory, search, narrow)
    check_search(directory, search, WIDE, may_narrow=False)
    with pytest.raises(UserError, match="the chief searches another space"):
        check_search(directory, search, narrow, may_narrow=False)


def test_a_directory_that_cannot_be_locked_is_named(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path / ".lock"))

    monkeypatch.setattr(directory_module, "locked", refused)
    with pytest.raises(UserError, match="cannot be written"), working_in(tmp_path):
        pass
