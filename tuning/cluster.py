"""Several machines: KerasTuner's chief, which holds the oracle, and its workers, which train; gRPC between them.

KerasTuner's own serving loop waits for every worker that ever asked, and for ever. This one gives up who is silent.
All share the directory of the search. The connection is neither encrypted nor authenticated: a trusted network only.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from genre_tagger.errors import UserError
from genre_tagger.tuning.oracle import SearchOracle

GIVE_UP_SECONDS = 300.0
BEATS = 10  # signs of life in the time after which a worker is given up
POLL_SECONDS = 0.5
SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Cluster:
    """One process among several.

    Attributes:
        address: HOST:PORT of the chief.
        worker: its own name, or None for the chief.
        give_up_seconds: after so long without a sign of life a worker's trial goes to another; a worker without a
            chief ends, and so does a chief without workers.
    """

    address: str
    worker: str | None = None
    give_up_seconds: float = GIVE_UP_SECONDS

    def __post_init__(self):
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise UserError(f"--chief: found {self.address!r}, expected HOST:PORT, for example 127.0.0.1:8000")
        name = self.worker
        if name is not None and (not re.fullmatch(r"[\w.-]+", name) or "chief" in name):
            raise UserError(f"--worker: found {name!r}, expected letters, digits, '-', '_', '.', and no 'chief' in it")


def serve(oracle: SearchOracle, cluster: Cluster, say: Callable[[str], None]) -> None:
    """Hands trials out until all are done and every worker has been told so.

    Raises:
        UserError: the address cannot be had, no worker is left, or the state cannot be written.
    """
    oracle.look_ahead()
    if oracle.is_over:
        return
    # Of many threads, a sign of life needs not wait for the trials of others.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        server.add_insecure_port(cluster.address)
    except RuntimeError:
        raise UserError(
            f"--chief {cluster.address}: cannot listen there; expected a free port of this machine"
        ) from None
    server.start()
    say(f"chief at {cluster.address}, waiting for workers")
    try:
        _watch(oracle, cluster, say)
    finally:
        server.stop(grace=2).wait()


def _watch(oracle: SearchOracle, cluster: Cluster, say: Callable[[str], None]) -> None:
    alone_since = time.monotonic()
    while True:
        time.sleep(POLL_SECONDS)
        if oracle.fault:
            raise oracle.fault
        for name in oracle.give_up(cluster.give_up_seconds):
            say(f"worker {name} is given up, silent for {cluster.give_up_seconds:g} s; its trial goes to another")
        if oracle.tuner_ids:
            alone_since = time.monotonic()
        elif oracle.is_over:
            return
        elif time.monotonic() - alone_since > cluster.give_up_seconds:
            raise UserError(
                f"--chief {cluster.address}: no worker for {cluster.give_up_seconds:g} s; what is done is kept, the "
                "same command and a worker go on"
            )


def join(cluster: Cluster) -> None:
    """Makes this process a worker in KerasTuner's eyes, once the chief answers.

    Raises:
        UserError: it does not, within the time after which a chief is given up.
    """
    with grpc.insecure_channel(cluster.address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=cluster.give_up_seconds)
        except grpc.FutureTimeoutError:
            raise no_chief(cluster) from None
    host, _, port = cluster.address.rpartition(":")
    os.environ.update(KERASTUNER_TUNER_ID=cluster.worker, KERASTUNER_ORACLE_IP=host, KERASTUNER_ORACLE_PORT=port)
    oracle_client.TIMEOUT = cluster.give_up_seconds  # of each question, an hour by itself


def chief_fault(cluster: Cluster, error: grpc.RpcError) -> UserError:
    """What to say where a chief answers with an error, or not at all."""
    if error.code() in SILENT:
        return no_chief(cluster)
    return UserError(f"--chief {cluster.address}: the chief ended with an error: {error.details()}")


def no_chief(cluster: Cluster) -> UserError:
    """What to say when nobody answers."""
    return UserError(
        f"--chief {cluster.address}: no chief answered within {cluster.give_up_seconds:g} s; expected one started with "
        "--chief and without --worker"
    )


@contextmanager
def signs_of_life(ask: Callable[[], object], cluster: Cluster | None) -> Iterator[None]:
    """Calls `ask`, which the chief takes as a sign of life, again and again while a worker is busy."""
    if cluster is None:
        yield
        return
    done = threading.Event()

    def beat() -> None:
        while not done.wait(cluster.give_up_seconds / BEATS):
            with suppress(grpc.RpcError):  # the trial goes on; whether there is a chief shows at its end
                ask()

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        done.set()
