"""Worker processes that end with their parent. If one of them dies, a UserError is raised."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType

from genre_tagger.errors import UserError


@contextmanager
def worker_pool(workers: int, prepare_worker: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of worker processes for the duration of a `with` block.

    The processes are spawned, because forking after TensorFlow has started threads may deadlock.

    Args:
        workers: number of processes.
        prepare_worker: module-level function that is called in each process before its first task.

    Yields:
        The executor of the pool.

    Raises:
        UserError: a process died, most likely because memory ran out.
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, spawn, initializer=_start_worker, initargs=(prepare_worker,)) as pool:
            yield pool
    except BrokenProcessPool as error:
        raise UserError(
            "a worker process was killed, most likely because memory ran out; rerun the command with fewer workers to "
            "resume"
        ) from error


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the main module from processes that are started in the `with` block.

    Otherwise a spawned process imports the caller's script again, TensorFlow included, which its tasks do not need.
    Use this context around each start of a process and each submission to a `worker_pool`, which may start one.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """Make this multiprocessing process end as soon as its parent does, even if the parent is killed."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _start_worker(prepare_worker: Callable[[], None] | None) -> None:
    # Otherwise, if the parent is killed, a worker waits forever for a task, because it holds both ends of the queue.
    end_with_parent()
    if prepare_worker:
        prepare_worker()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # only processes with a parent call this
    parent.join()
    os._exit(1)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
