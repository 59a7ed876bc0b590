"""A connection to a Ray cluster, with little log output, without a dashboard and without usage reports."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from genre_tagger.errors import FieldError, UserError

CONNECT_SECONDS = 10
# Ray prints one line that names a lost machine. Its further lines, about the log and the repeated tasks, are hidden.
HIDDEN_LOGS = r"^Raylet is terminated|will be retried\. Error: Task failed because the node"


@contextmanager
def ray_cluster() -> Iterator[ModuleType]:
    """Yield Ray, connected to the cluster at RAY_ADDRESS, to one that runs on this machine, or to a new one.

    A new cluster can be reached from this machine only, and is shut down at the end of the `with` block.

    Raises:
        UserError: Ray is not installed, an argument on the command line is not UTF-8, the cluster does not answer, or
            it fails inside the block.
    """
    _refuse_undecodable_arguments()
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
        raise FieldError(
            "runner", f"ray: the cluster failed ({type(cause).__name__}: {first}); rerun the command to resume"
        ) from error
    finally:
        ray.shutdown()


def import_ray() -> ModuleType:
    """Set the environment variables that Ray reads when it is imported, and return the module `ray`.

    Raises:
        UserError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # otherwise Ray logs every step after it loses a machine
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", HIDDEN_LOGS)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise FieldError("runner", f"ray: {error}; install it with `pip install 'genre-tagger[ray]'`") from error
    module: ModuleType = ray
    return module


def _refuse_undecodable_arguments() -> None:
    """Refuse arguments that are not UTF-8. Ray records the command line and fails on such arguments."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError as error:
        raise FieldError(
            "runner",
            "ray: found names on the command line that are not UTF-8; expected the folder of these files, or a "
            "--catalogue FILE that lists them",
        ) from error


def _connect(ray: ModuleType) -> None:
    address = os.environ.get("RAY_ADDRESS", "auto")
    host, _, port = address.rpartition(":")
    try:
        if host:  # checked first, because Ray would retry for a quarter of an hour
            socket.create_connection((host, port), CONNECT_SECONDS).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except OSError as error:
        if host:
            raise UserError(f"RAY_ADDRESS: no cluster answers at {address} ({error}); expected HOST:PORT") from error
        ray.init(
            "local",
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
