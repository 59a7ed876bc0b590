"""A chief and its workers as real processes on loopback."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pandas as pd
import pytest
from keras_tuner.src import protos

from genre_tagger.errors import UserError
from genre_tagger.tuning.cluster import Cluster, chief_fault, serve
from genre_tagger.tuning.oracle import Budget, make_oracle
from genre_tagger.tuning.space_file import parse_space
from genre_tagger.tuning.trial import read_outcomes

COMMAND = str(Path(sys.executable).with_name("genre-tagger"))
SETTINGS = (
    "window={seconds: 0.5, hop_seconds: 0.5}",
    "model={wavenet: none, cascade: none, head: {widths: [4]}}",
    "model.cnn={kernels: [4], pools: [[8, 8]], dropouts: [0], output_width: 4}",
    "training={batch_size: 3, epochs: 40, patience: 40}",
)
SPACE = "model.cnn.output_width: {min: 2, max: 8}\ntraining.learning_rate: {min: 1.0e-3, max: 1.0e-1, sampling: log}\n"
GIVE_UP_SECONDS = 15
TRIALS = 3


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Processes:
    """The processes of one search; whatever still runs at the end is killed."""

    def __init__(self, work: Path, root: Path, port: int):
        self.work, self.running = work, []
        places = ["--run", work / "search", "--data", work / "data", "--space", work / "space.yaml"]
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        cluster = ["--chief", f"127.0.0.1:{port}", "--give-up-seconds", GIVE_UP_SECONDS, "--max-trials", TRIALS]
        self.command = [COMMAND, "tune", "folder", "--root", root, *places, *settings, *cluster]

    def start(self, name: str, *more: str) -> subprocess.Popen:
        """Starts a process that prints into NAME.log."""
        with (self.work / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [str(part) for part in (*self.command, *more)], stdout=log, stderr=log, cwd=self.work, env=os.environ
            )
        self.running.append(process)
        return process

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.work / f"{name}.log").read_text()

    def trial_in_training(self, name: str) -> str:
        """Waits until a worker has trained an epoch and returns the trial's name."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            for trial in re.findall(r"^trial (\d+): model", self.log(name), re.MULTILINE)[-1:]:
                if (self.work / "search/trials" / trial / "checkpoint/state.npz").exists():
                    return trial
            time.sleep(0.05)
        raise AssertionError(f"{name} trains nothing: {self.log(name)}")


@pytest.fixture
def processes(tmp_path, shared_music_folder, port):
    (tmp_path / "space.yaml").write_text(SPACE)
    prepare = [COMMAND, "prepare", "folder", "--root", shared_music_folder, "--data", tmp_path / "data"]
    subprocess.run([str(part) for part in prepare], check=True, capture_output=True)
    started = Processes(tmp_path, shared_music_folder, port)
    yield started
    for process in started.running:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_no_trial_is_lost_when_workers_are_killed(processes):
    """One worker is killed in the middle of a trial and comes back, the other one is killed for good."""
    chief = processes.start("chief")
    back, gone = processes.start("back", "--worker", "back"), processes.start("gone", "--worker", "gone")
    interrupted, abandoned = processes.trial_in_training("back"), processes.trial_in_training("gone")
    for process in (back, gone):
        process.send_signal(signal.SIGKILL)
        process.wait()
    trials = processes.work / "search/trials"
    assert not (trials / interrupted / "trial.json").exists() and not (trials / abandoned / "trial.json").exists()
    again = processes.start("again", "--worker", "back")
    assert chief.wait(timeout=180) == 0, processes.log("chief")
    assert again.wait(timeout=30) == 0, processes.log("again")

    outcomes = read_outcomes(trials)
    assert [outcome.status for outcome in outcomes] == ["completed"] * TRIALS
    assert len(pd.read_csv(processes.work / "search/trials.csv")) == TRIALS
    ended = json.loads((processes.work / "search/oracle/state.json").read_text())["oracle"]["end_order"]
    assert sorted(ended) == sorted({outcome.trial for outcome in outcomes})
    log = processes.log("again")
    begun = re.findall(r"^trial (\d+): model", log, re.MULTILINE)
    assert begun[0] == interrupted, log  # its own trial, where it was
    assert abandoned in begun[1:], log
    assert log.count("going on after epoch") == 2
    assert "worker gone is given up" in processes.log("chief")
    assert f"winner: trial {max(outcomes, key=lambda o: o.scores['val_auc']).trial}" in processes.log("chief")


def chief_oracle(path):
    """The oracle of a chief that has nothing to do with any data."""
    space = parse_space({"training.alpha": {"min": 1.0, "max": 2.0}}, "")
    budget = Budget(2, None)
    oracle = make_oracle("random", "val_auc", space, budget, seed=0, max_epochs=2)
    oracle.attach(path / "state.json", space, budget, lambda: None)
    oracle.is_chief = True
    if oracle.file.exists():
        oracle.reload()
    return oracle


def test_a_chief_without_workers_ends(tmp_path, port):
    with pytest.raises(UserError, match="no worker for 1 s; what is done is kept"):
        serve(chief_oracle(tmp_path), Cluster(f"127.0.0.1:{port}", None, 1.0), print)


def test_a_chiefs_fault_ends_it(tmp_path, port):
    oracle = chief_oracle(tmp_path)
    oracle.fault = UserError("no space left")
    with pytest.raises(UserError, match="no space left"):
        serve(oracle, Cluster(f"127.0.0.1:{port}"), print)


def test_an_error_in_the_oracle_ends_the_chief_and_is_told_to_the_worker(tmp_path, port):
    cluster, service = Cluster(f"127.0.0.1:{port}", None, 30.0), protos.get_service()
    with ThreadPoolExecutor() as pool, grpc.insecure_channel(cluster.address) as channel:
        chief = pool.submit(serve, chief_oracle(tmp_path), cluster, print)
        stub = protos.get_service_grpc().OracleStub(channel)
        wait = {"wait_for_ready": True, "timeout": 20}
        trial = stub.CreateTrial(service.CreateTrialRequest(tuner_id="one"), **wait).trial
        with pytest.raises(grpc.RpcError) as told:
            stub.UpdateTrial(service.UpdateTrialRequest(trial_id=trial.trial_id, metrics={}), **wait)
        with pytest.raises(ValueError, match="Objective value missing"):
            chief.result(timeout=20)
        assert re.search(
            "the chief ended with an error: .*Objective value missing", str(chief_fault(cluster, told.value))
        )
        with pytest.raises(grpc.RpcError) as told:
            stub.CreateTrial(service.CreateTrialRequest(tuner_id="one"), timeout=2)
        assert "no chief answered" in str(chief_fault(cluster, told.value))


def test_a_chief_that_finds_all_done_ends_at_once(tmp_path, port):
    oracle = chief_oracle(tmp_path)
    for _ in range(2):
        trial = oracle.create_trial("one")
        oracle.update_trial(trial.trial_id, {"val_auc": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    restarted, started = chief_oracle(tmp_path), time.monotonic()
    serve(restarted, Cluster(f"127.0.0.1:{port}", None, 30.0), print)
    assert time.monotonic() - started < 10  # it waits for no worker
    assert restarted.end_order == oracle.end_order
    assert len(restarted.end_order) == 2


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"--chief {address}: cannot listen there"):
            serve(chief_oracle(tmp_path), Cluster(address), print)
