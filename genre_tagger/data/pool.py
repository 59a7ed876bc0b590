"""Worker processes that end with their parent and whose death is explained."""

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
    """Yields an executor of processes; they are spawned, as forking after TensorFlow started threads may deadlock.

    Args:
        workers: number of processes.
        prepare_worker: called in each process before its first task; a function of a module.

    Raises:
        UserError: a process died, most likely for want of memory.
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, spawn, initializer=_start_worker, initargs=(prepare_worker,)) as pool:
            yield pool
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, most likely out of memory; the same command with fewer workers continues"
        ) from None


@contextmanager
def without_main() -> Iterator[None]:
    """Belongs around each submission to a `worker_pool`, as that is when processes are spawned, and each other start.

    A spawned process imports the caller's script again, TensorFlow and all, though its tasks need nothing of it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """Lets this process, one of multiprocessing, end as soon as the one that started it does, killed ones too."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _start_worker(prepare_worker: Callable[[], None] | None) -> None:
    # A worker whose parent is killed would wait for the next task forever: it holds both ends of its own queue.
    end_with_parent()
    if prepare_worker:
        prepare_worker()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
