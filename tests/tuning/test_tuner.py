"""A search whose trials are not trained: the oracle, the table and the winner."""

import json

import grpc
import pandas as pd
import pytest
import yaml
from facts import check_facts, expect_error

from genre_tagger import files
from genre_tagger.config import load_config
from genre_tagger.runs.record import RunRecord
from genre_tagger.runs.run_data import OpenedData
from genre_tagger.tuning import search as search_module
from genre_tagger.tuning.cluster import Cluster
from genre_tagger.tuning.directory import Search, SearchDirectory, check_search, create_search
from genre_tagger.tuning.oracle import Budget, SearchOracle
from genre_tagger.tuning.search import TuneRequest, open_oracle, tune
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import Outcome, read_outcomes, write_outcome
from genre_tagger.tuning.trials_table import trials_table, winner
from genre_tagger.tuning.tuner import TaggerTuner

WIDE = parse_space({"training.batch_size": {"min": 1, "max": 100}, "training.alpha": {"min": 1.0, "max": 2.0}}, "")
NARROW = parse_space({"training.batch_size": {"min": 1, "max": 50}, "training.alpha": {"min": 1.0, "max": 2.0}}, "")
RECORD = RunRecord(hash="0123")
# Sections of the configuration that version 0.1.0 had elsewhere.
WAVENET = {"dilation_depth": 2, "blocks": 1, "kernel_size": 2, "residual_channels": 4, "dilation_channels": 4}
WAVENET |= {"skip_channels": 8, "gate": "elu", "mix_batch_norm": True, "dropout": 0.0, "output_width": 6}
CASCADE = {"width": 8, "kernel_size": 3, "first_batch_norm": True, "mix_batch_norm": True, "dropout": 0.0}
MASKS = {"masks": 1, "mel_share": 0.1, "frame_share": 0.1}


class Runner:
    """A runner whose score is the batch size. It records the values, and the files at the start of each trial."""

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


def identity(config=None, algorithm="random"):
    """Return the identity of a search."""
    return Search(algorithm, "val_auc", 1, config or load_config("small"), RECORD)


def searched(path, space, budget, algorithm="random", runner=None, config=None, cluster=None):
    """Search, or resume a search, and return (directory, oracle, runner)."""
    search, directory, runner = identity(config, algorithm), SearchDirectory(path), runner or Runner()
    create_search(directory, search, space)
    oracle = open_oracle(directory, search, space, budget)
    TaggerTuner(oracle, space, runner, path, lambda outcome: None, cluster).search()
    return directory, oracle, runner


@pytest.fixture
def untrained(monkeypatch):
    """Make `tune` use the runner above and no data."""
    monkeypatch.setattr(search_module, "TrialRunner", lambda *_: Runner())
    monkeypatch.setattr(search_module, "open_data", lambda *_: OpenedData(None, RECORD, None))
    monkeypatch.setattr(search_module, "plot_search", lambda *_: None)
    monkeypatch.setattr(search_module, "write_hparams", lambda *_: None)


@pytest.mark.parametrize("name", ["training.epochs", "training.epochs, training.patience"])
def test_hyperband_grants_at_most_the_epochs_of_the_space(tmp_path, untrained, request_for_data, tiny, name):
    space = parse_space({name: {"min": 2, "max": 9}, "training.batch_size": {"min": 1, "max": 100}}, "")
    result = tune(TuneRequest(request_for_data, tiny, space, tmp_path, "hyperband"))
    assert yaml.safe_load((tmp_path / "search.yaml").read_text())["config.training.epochs"] == 9
    outcomes = read_outcomes(tmp_path / "trials")
    assert {outcome.epochs for outcome in outcomes} == {1, 3, 9}
    assert result.table["in_space"].all()
    assert "protocol" not in result.table
    assert ("training.patience" in result.table) == ("training.patience" in name)
    assert result.best.scores["val_auc"] == max(outcome.scores["val_auc"] for outcome in outcomes)


def test_hyperband_without_epochs_in_the_space_grants_those_of_the_configuration(
    tmp_path, untrained, request_for_data, tiny
):
    result = tune(TuneRequest(request_for_data, tiny, WIDE, tmp_path, "hyperband"))
    assert tiny.training.epochs == 2
    assert result.table["epochs"].max() == 2
    epochs_only = parse_space({"training.epochs": 6}, "")
    with expect_error("space", "training.epochs"):
        tune(TuneRequest(request_for_data, tiny, epochs_only, tmp_path / "other", "hyperband"))


def test_the_protocol_of_the_data_is_in_the_table(tmp_path):
    directory, _, _ = searched(tmp_path, WIDE, Budget(2, None))
    outcomes = read_outcomes(directory.trials)
    assert "protocol" not in trials_table(outcomes, WIDE)
    assert set(trials_table(outcomes, WIDE, "full")["protocol"]) == {"full"}
    assert winner(outcomes, WIDE, "val_auc") == max(outcomes, key=lambda outcome: outcome.scores["val_auc"])


def test_the_table_and_the_winner_are_written_after_each_trial(tmp_path):
    directory, _, runner = searched(tmp_path, WIDE, Budget(4, None))
    assert [files for _, files in runner.seen] == [["search.yaml"], *[["best.yaml", "search.yaml", "trials.csv"]] * 3]
    best = max(values["training.batch_size"] for values, _ in runner.seen)
    assert yaml.safe_load(directory.best.read_text())["training.batch_size"] == best


def test_a_trial_without_the_objective_ends_the_search(tmp_path):
    """This is an error in the code and not a failure of the trial. KerasTuner would continue."""
    with expect_error("val_auc", kind=ValueError):
        searched(tmp_path, WIDE, Budget(4, None), runner=Runner({"val_pr_auc": 0.5}))
    assert len(read_outcomes(tmp_path / "trials")) == 1


class Refused(grpc.RpcError):
    """The error that gRPC raises in a worker."""

    def __init__(self, code, details):
        self.code, self.details = lambda: code, lambda: details


@pytest.mark.parametrize(
    ("code", "fact"), [(grpc.StatusCode.UNKNOWN, "a typo"), (grpc.StatusCode.DEADLINE_EXCEEDED, "within 5 s")]
)
def test_a_worker_reports_the_error_of_the_chief(tmp_path, monkeypatch, code, fact):
    """The trial stays unfinished, so that another worker can resume it."""

    def refuse(*_, **__):
        raise Refused(code, "a typo")

    ended = []
    monkeypatch.setattr(SearchOracle, "update_trial", refuse)
    monkeypatch.setattr(SearchOracle, "end_trial", lambda oracle, trial: ended.append(trial))
    with expect_error("chief", "127.0.0.1:8000", fact):
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
        check_facts(outcomes[0].reason, "interrupted", "space")
        assert sorted(oracle.end_order) == sorted(oracle.trials)


def test_the_end_of_a_trial_without_any_outcome_on_the_disk_writes_an_empty_table(tmp_path):
    directory = SearchDirectory(tmp_path)
    create_search(directory, identity(), WIDE)
    open_oracle(directory, identity(), WIDE, Budget(4, None)).on_end()
    table = pd.read_csv(directory.table)
    assert table.columns.tolist()[:3] == ["trial", "status", "in_space"] and table.empty


def test_a_worker_needs_the_space_of_the_chief(tmp_path):
    directory = SearchDirectory(tmp_path)
    create_search(directory, identity(), WIDE)
    check_search(directory, identity(), NARROW)
    check_search(directory, identity(), WIDE, may_narrow=False)
    with expect_error("space", directory.search, "chief"):
        check_search(directory, identity(), NARROW, may_narrow=False)


def test_only_some_algorithms_resume_with_a_narrower_space(tmp_path):
    directory = SearchDirectory(tmp_path)
    create_search(directory, identity(algorithm="grid"), WIDE)
    check_search(directory, identity(algorithm="grid"), WIDE)
    with expect_error("space", directory.search, "grid", "random and bayesian"):
        check_search(directory, identity(algorithm="grid"), NARROW)


def test_a_directory_that_cannot_be_locked_is_named(tmp_path, untrained, request_for_data, tiny, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path / ".lock"))

    monkeypatch.setattr(files, "locked", refused)
    with expect_error(tmp_path, "Permission denied"):
        tune(TuneRequest(request_for_data, tiny, WIDE, tmp_path))
    assert not list(tmp_path.iterdir())


def old_search(**changes):
    """Return the content of search.yaml as version 0.1.0 wrote it for the overrides of `tiny`."""
    values = {
        "algorithm": "random",
        "objective": "val_auc",
        "executions_per_trial": 1,
        "data.hash": "0123",
        "data.stream": False,
        "config.seed": 0,
        "config.frontend.sample_rate": 12000,
        "config.frontend.n_fft": 512,
        "config.frontend.hop_length": 256,
        "config.frontend.n_mels": 96,
        "config.frontend.fmin_hz": 0.0,
        "config.frontend.fmax_hz": None,
        "config.frontend.center": True,
        "config.frontend.mel_exponent": 2.0,
        "config.frontend.compression": "db",
        "config.frontend.amin": 1e-10,
        "config.frontend.top_db": 80.0,
        "config.window.seconds": 0.5,
        "config.window.train": "center",
        "config.window.evaluate": "center",
        "config.window.hop_seconds": 0.5,
        "config.window.pooling": "mean",
        "config.model.cnn.block": "plain",
        "config.model.cnn.kernels": [4],
        "config.model.cnn.kernel_size": 3,
        "config.model.cnn.cardinality": 32,
        "config.model.cnn.squeeze_excite": None,
        "config.model.cnn.pools": [[8, 8]],
        "config.model.cnn.dropouts": [0.0],
        "config.model.cnn.activation": "relu",
        "config.model.cnn.output_width": 4,
        "config.model.cnn.output_activation": None,
        "config.model.cnn.output_dropout": 0.0,
        "config.model.cascade": None,
        "config.model.wavenet": None,
        "config.model.crnn": None,
        "config.model.short_chunk": None,
        "config.model.musicnn": None,
        "config.model.merge": "concat",
        "config.model.head.widths": [4],
        "config.model.head.batch_norm": False,
        "config.model.head.activation": "relu",
        "config.model.head.dropout": 0.3,
        "config.model.batch_norm_momentum": 0.99,
        "config.training.batch_size": 3,
        "config.training.epochs": 2,
        "config.training.minutes": None,
        "config.training.learning_rate": 0.001,
        "config.training.schedule": "constant",
        "config.training.alpha": 1.1,
        "config.training.augment.gain_db": 0.0,
        "config.training.augment.noise_snr_db": None,
        "config.training.augment.mixup": 0.0,
        "config.training.augment.spectrogram": None,
        "config.training.patience": 5,
        "config.training.init": None,
        "config.training.freeze": 0,
        "config.training.precision": "float32",
        "config.training.jit": False,
    }
    values |= {key: value for key, value in changes.items() if value != "removed"}
    return {**{key: value for key, value in values.items() if changes.get(key) != "removed"}, "space": WIDE.to_dict()}


def test_a_search_of_version_0_1_0_resumes(tmp_path, tiny):
    """The batch size of inference was that of training. It changes no score, so another one is the same search."""
    directory = SearchDirectory(tmp_path)
    directory.search.write_text(yaml.safe_dump(old_search(), sort_keys=False))
    assert tiny.inference.batch_size != tiny.training.batch_size
    check_search(directory, identity(tiny), WIDE)
    create_search(directory, identity(tiny), WIDE)
    assert yaml.safe_load(directory.search.read_text())["config.schema_version"] == 2
    check_search(directory, identity(tiny), WIDE)


def test_sections_of_version_0_1_0_are_moved(tmp_path, tiny):
    values = json.loads(tiny.model_dump_json())
    branch = {f"config.model.wavenet.{key}": value for key, value in WAVENET.items()}
    masks = {f"config.training.augment.spectrogram.{key}": value for key, value in MASKS.items()}
    cascade = {f"config.model.cascade.{key}": value for key, value in CASCADE.items()}
    removed = ("config.model.wavenet", "config.model.cascade", "config.training.augment.spectrogram")
    directory = SearchDirectory(tmp_path)
    old = old_search(**branch, **masks, **cascade, **dict.fromkeys(removed, "removed"))
    directory.search.write_text(yaml.safe_dump(old, sort_keys=False))
    values["model"] |= {"wavenet": {**WAVENET, "cascade": CASCADE}, "spec_augment": MASKS}
    check_search(directory, identity(type(tiny).model_validate(values)), WIDE)
    with expect_error("run", tmp_path, "config.model.", "None here"):
        check_search(directory, identity(tiny), WIDE)


@pytest.mark.parametrize(
    ("key", "found", "facts"),
    [
        ("config.training.alpha", 1.5, ("1.5 there", "1.1 here")),
        ("data.hash", "4567", ("'4567' there", "'0123' here")),
        ("config.training.init", "runs/first", ("start.init", "'runs/first' there", "None here")),
    ],
)
def test_another_search_of_version_0_1_0_is_refused(tmp_path, tiny, key, found, facts):
    """A search that started from a run must not resume from random weights."""
    directory = SearchDirectory(tmp_path)
    directory.search.write_text(yaml.safe_dump(old_search(**{key: found}), sort_keys=False))
    with expect_error("run", tmp_path, *facts):
        check_search(directory, identity(tiny), WIDE)


def test_a_search_of_an_unknown_configuration_is_named(tmp_path, tiny):
    directory = SearchDirectory(tmp_path)
    directory.search.write_text(yaml.safe_dump(old_search(**{"config.training.alhpa": 1.0})))
    with expect_error(directory.search, "'training.alhpa'"):
        check_search(directory, identity(tiny), WIDE)
