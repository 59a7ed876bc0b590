"""A connection to a Ray cluster, quiet, without a dashboard and without reports to anybody."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from genre_tagger.errors import UserError

CONNECT_SECONDS = 10
# Of each lost machine Ray says that it is, and why; this is its log, and what is begun anew.
NOT_TOLD = r"^Raylet is terminated|will be retried\. Error: Task failed because the node"


@contextmanager
def ray_cluster() -> Iterator[ModuleType]:
    """Yields Ray, connected to the cluster of RAY_ADDRESS or of this machine, or else to one that it starts here.

    One that it starts is reached from this machine alone and ends with it.

    Raises:
        UserError: Ray is not installed, does not answer, does not take the command line, or fails while it is used.
    """
    _refuse_odd_command_line()
    ray = import_ray()
    _connect(ray)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    try:
        yield ray
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        first = next((line for line in str(cause).splitlines() if line.strip()), "")
        raise UserError(
            f"--runner ray: the cluster failed ({type(cause).__name__}: {first}); the same command goes on from there"
        ) from error
    finally:
        ray.shutdown()


def import_ray() -> ModuleType:
    """Ray, quiet: it reads these settings while it is imported. Raises UserError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # notes on what is being done about a lost machine
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", NOT_TOLD)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError(f"--runner ray: {error}; install it with `pip install 'genre-tagger[ray]'`") from None
    return ray


def _refuse_odd_command_line() -> None:
    """Ray notes it, and fails over names that are no UTF-8."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        raise UserError(
            "--runner ray: found names on the command line that are no UTF-8; expected their folder, or a "
            "--catalogue FILE with them"
        ) from None


def _connect(ray: ModuleType) -> None:
    address, quiet = os.environ.get("RAY_ADDRESS", "auto"), {"log_to_driver": False, "logging_level": logging.ERROR}
    host, _, port = address.rpartition(":")
    try:
        if host:  # Ray itself would try for a quarter of an hour
            socket.create_connection((host, port), CONNECT_SECONDS).close()
        ray.init(address, **quiet)
    except OSError as error:
        if host:
            raise UserError(f"RAY_ADDRESS: no cluster answers at {address} ({error}); expected HOST:PORT") from None
        ray.init("local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
