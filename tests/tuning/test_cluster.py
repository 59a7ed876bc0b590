"""A chief and its workers as real processes on loopback."""

import json
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import grpc
import pandas as pd
import pytest
from facts import check_facts, expect_error
from keras_tuner.src import protos

from genre_tagger.errors import UserError
from genre_tagger.tuning.cluster import Cluster, chief_fault, serve
from genre_tagger.tuning.oracle import Budget, make_oracle
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import read_outcomes

SPACE = "model.cnn.output_width: {min: 2, max: 8}\ntraining.learning_rate: {min: 1.0e-3, max: 1.0e-1, sampling: log}\n"
GIVE_UP_SECONDS = 10
TRIALS, EPOCHS = 2, 30


@pytest.fixture
def address() -> str:
    """An address on loopback whose port was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@dataclass
class Logs:
    """The output of the processes of one search."""

    work: Path

    def __getitem__(self, name: str) -> str:
        return (self.work / f"{name}.log").read_text()

    def started_trials(self, name: str) -> list[str]:
        """Return the names of the trials that a process has started or resumed, in order."""
        return re.findall(r"^trial (\d+): model", self[name], re.MULTILINE)

    def wait_for(self, found, name: str):
        """Return the first result of `found` that is not empty."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if result := found():
                return result
            time.sleep(0.02)
        raise AssertionError(f"{name}: {self[name]}")

    def trial_in_training(self, name: str) -> str:
        """Wait until a worker has trained an epoch, and return the name of the trial."""

        def found() -> list[str]:
            last = self.started_trials(name)[-1:]
            return [trial for trial in last if (self.work / "search/trials" / trial / "checkpoint/state.npz").exists()]

        return self.wait_for(found, name)[0]


@pytest.fixture
def command(tmp_path, shared_music_folder, data_folder, tiny_options, address) -> list[object]:
    """The command of the chief. Workers get further options."""
    (tmp_path / "space.yaml").write_text(SPACE)
    places = ["--root", shared_music_folder, "--run", tmp_path / "search", "--data", data_folder]
    options = ["--set", f"training={{batch_size: 3, epochs: {EPOCHS}, patience: {EPOCHS}}}", "--max-trials", TRIALS]
    cluster = ["--chief", address, "--give-up-seconds", GIVE_UP_SECONDS]
    return ["tune", "folder", *places, "--space", tmp_path / "space.yaml", *tiny_options, *options, *cluster]


@pytest.mark.slow
def test_no_trial_is_lost_when_workers_are_killed(tmp_path, command, waiting_command, let_go):
    """One worker is killed in the middle of a trial and comes back. The other one is killed and does not."""
    workers = {"back": "back", "gone": "gone", "again": "back"}  # the name of each process and that of its worker
    chief = waiting_command("chief", *command)
    processes = {name: waiting_command(name, *command, "--worker", worker) for name, worker in workers.items()}
    logs, trials = Logs(tmp_path), tmp_path / "search/trials"
    let_go(chief)
    for name in ("back", "gone"):
        let_go(processes[name])
    interrupted, abandoned = logs.trial_in_training("back"), logs.trial_in_training("gone")
    for name in ("back", "gone"):
        kill(processes[name])
    assert not (trials / interrupted / "trial.json").exists() and not (trials / abandoned / "trial.json").exists()
    let_go(processes["again"])
    assert chief.wait(timeout=180) == 0, logs["chief"]
    assert processes["again"].wait(timeout=30) == 0, logs["again"]

    outcomes = read_outcomes(trials)
    assert [outcome.status for outcome in outcomes] == ["completed"] * TRIALS
    table = pd.read_csv(tmp_path / "search/trials.csv", dtype={"trial": str})
    assert len(table) == TRIALS
    ended = json.loads((tmp_path / "search/oracle/state.json").read_text())["oracle"]["end_order"]
    assert sorted(ended) == sorted({outcome.trial for outcome in outcomes})
    # The worker that came back resumes its own trial first.
    assert logs.started_trials("again") == [interrupted, abandoned]
    assert [int(epoch) > 0 for epoch in re.findall(r"after epoch (\d+)", logs["again"])] == [True] * TRIALS
    check_facts(logs["chief"], "worker gone ", f"trial {table['trial'][table['val_auc'].idxmax()]}, val_auc")


def kill(process: Popen) -> None:
    """Kill a process at once, as the kernel does if memory is short."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def chief_oracle(path):
    """Return the oracle of a chief, without any data."""
    space = parse_space({"training.alpha": {"min": 1.0, "max": 2.0}}, "")
    budget = Budget(2, None)
    oracle = make_oracle("random", "val_auc", space, budget, seed=0, max_epochs=2)
    oracle.attach(path / "state.json", space, budget, lambda: None)
    oracle.is_chief = True
    if oracle.file.exists():
        oracle.reload()
    return oracle


def test_a_chief_without_workers_ends(tmp_path, address):
    with expect_error("chief", address, "worker", "1 s"):
        serve(chief_oracle(tmp_path), Cluster(address, None, 1.0))


def test_an_error_of_the_oracle_ends_the_chief(tmp_path, address):
    oracle = chief_oracle(tmp_path)
    oracle.fault = UserError("no space left")
    with pytest.raises(UserError) as raised:
        serve(oracle, Cluster(address))
    assert raised.value is oracle.fault


def test_an_error_in_the_oracle_ends_the_chief_and_is_reported_to_the_worker(tmp_path, address):
    """A trial without its objective is such an error."""
    cluster, service = Cluster(address, None, 30.0), protos.get_service()
    with ThreadPoolExecutor() as pool, grpc.insecure_channel(cluster.address) as channel:
        oracle = chief_oracle(tmp_path)
        chief = pool.submit(serve, oracle, cluster)
        stub = protos.get_service_grpc().OracleStub(channel)
        wait = {"wait_for_ready": True, "timeout": 20}
        trial = stub.CreateTrial(service.CreateTrialRequest(tuner_id="one"), **wait).trial
        with pytest.raises(grpc.RpcError) as refused:
            stub.UpdateTrial(service.UpdateTrialRequest(trial_id=trial.trial_id, metrics={}), **wait)
        with pytest.raises(ValueError) as raised:
            chief.result(timeout=20)
        check_facts(raised.value, "val_auc")
        assert raised.value is oracle.fault
        check_facts(chief_fault(cluster, refused.value), "chief", address, raised.value)
        with pytest.raises(grpc.RpcError) as refused:
            stub.CreateTrial(service.CreateTrialRequest(tuner_id="one"), timeout=2)
        check_facts(chief_fault(cluster, refused.value), "chief", address, "within 30 s")


def test_a_chief_whose_trials_are_all_done_ends_at_once(tmp_path, address):
    oracle = chief_oracle(tmp_path)
    for _ in range(2):
        trial = oracle.create_trial("one")
        oracle.update_trial(trial.trial_id, {"val_auc": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    restarted, started = chief_oracle(tmp_path), time.monotonic()
    serve(restarted, Cluster(address, None, 30.0))
    assert time.monotonic() - started < 10  # it does not wait for workers
    assert restarted.end_order == oracle.end_order
    assert len(restarted.end_order) == 2


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with expect_error("chief", address):
            serve(chief_oracle(tmp_path), Cluster(address))
