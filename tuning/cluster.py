"""Search on several machines: KerasTuner's chief holds the oracle, and its workers train. They communicate by gRPC.

KerasTuner's own serving loop waits forever for every worker that has ever asked for a trial. This loop drops workers
that send no heartbeat. All processes share the directory of the search. The connection is neither encrypted nor
authenticated, so use a trusted network.
"""

import logging
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

from genre_tagger.errors import FieldError, UserError
from genre_tagger.tuning.oracle import SearchOracle

_logger = logging.getLogger(__name__)

GIVE_UP_SECONDS = 300.0
BEATS = 10  # heartbeats within the time after which a silent worker is dropped
POLL_SECONDS = 0.5
SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Cluster:
    """One process among several.

    Attributes:
        address: HOST:PORT of the chief.
        worker: name of this worker; None for the chief.
        give_up_seconds: if a worker sends no heartbeat for this time, its trial goes to another worker. A worker that
            cannot reach the chief for this time ends, and so does a chief without workers.

    Raises:
        FieldError: an invalid address or name.
    """

    address: str
    worker: str | None = None
    give_up_seconds: float = GIVE_UP_SECONDS

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise FieldError("chief", f"found {self.address!r}, expected HOST:PORT, for example 127.0.0.1:8000")
        name = self.worker
        if name is not None and (not re.fullmatch(r"[\w.-]+", name) or "chief" in name):
            raise FieldError("worker", f"found {name!r}, expected letters, digits, '-', '_', '.', and no 'chief' in it")


def serve(oracle: SearchOracle, cluster: Cluster) -> None:
    """Hand out trials until all are done and every worker has been told so.

    Args:
        oracle: oracle of the search.
        cluster: this process, the chief.

    Raises:
        UserError: the address cannot be used, there is no worker, or the state cannot be written.
    """
    oracle.look_ahead()
    if oracle.is_over:
        return
    # With many threads, a heartbeat does not wait for the requests of other workers.
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        server.add_insecure_port(cluster.address)
    except RuntimeError as error:
        raise FieldError("chief", f"{cluster.address}: cannot be used; expected a free port of this machine") from error
    server.start()
    _logger.info("chief at %s, waiting for workers", cluster.address)
    try:
        _watch(oracle, cluster)
    finally:
        server.stop(grace=2).wait()


def _watch(oracle: SearchOracle, cluster: Cluster) -> None:
    alone_since = time.monotonic()
    while True:
        time.sleep(POLL_SECONDS)
        if oracle.fault:
            raise oracle.fault
        for name in oracle.give_up(cluster.give_up_seconds):
            _logger.info(
                "worker %s sent no heartbeat for %g s and is dropped; its trial goes to another worker",
                name,
                cluster.give_up_seconds,
            )
        if oracle.tuner_ids:
            alone_since = time.monotonic()
        elif oracle.is_over:
            return
        elif time.monotonic() - alone_since > cluster.give_up_seconds:
            raise FieldError(
                "chief",
                f"{cluster.address}: no worker for {cluster.give_up_seconds:g} s; finished trials are kept: rerun the "
                "command and start a worker to resume",
            )


def join(cluster: Cluster) -> None:
    """Wait for the chief and make this process a worker of KerasTuner.

    Args:
        cluster: this process, a worker.

    Raises:
        UserError: the chief does not answer in time.
    """
    with grpc.insecure_channel(cluster.address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=cluster.give_up_seconds)
        except grpc.FutureTimeoutError as error:
            raise no_chief(cluster) from error
    host, _, port = cluster.address.rpartition(":")
    os.environ.update(KERASTUNER_TUNER_ID=str(cluster.worker), KERASTUNER_ORACLE_IP=host, KERASTUNER_ORACLE_PORT=port)
    oracle_client.TIMEOUT = cluster.give_up_seconds  # of each request; one hour by default


def chief_fault(cluster: Cluster, error: grpc.RpcError) -> UserError:
    """Return the error of a worker whose chief answers with an error, or not at all."""
    if error.code() in SILENT:
        return no_chief(cluster)
    return FieldError("chief", f"{cluster.address}: the chief ended with an error: {error.details()}")


def no_chief(cluster: Cluster) -> UserError:
    """Return the error of a worker whose chief does not answer."""
    return FieldError(
        "chief",
        f"{cluster.address}: no chief answered within {cluster.give_up_seconds:g} s; expected a running chief",
    )


@contextmanager
def signs_of_life(ask: Callable[[], object], cluster: Cluster | None) -> Iterator[None]:
    """Send regular heartbeats to the chief inside the `with` block.

    Args:
        ask: sends one heartbeat.
        cluster: this process, a worker; None if there is no chief.
    """
    if cluster is None:
        yield
        return
    done = threading.Event()

    def beat() -> None:
        while not done.wait(cluster.give_up_seconds / BEATS):
            with suppress(grpc.RpcError):  # the trial continues; its end shows whether the chief still runs
                ask()

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        done.set()
