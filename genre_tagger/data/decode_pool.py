"""Decodes many files in parallel processes, in order, with bounded memory."""

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np

from genre_tagger.data.decode import Undecodable, decode_into
from genre_tagger.errors import UserError

SLOTS_PER_WORKER = 4  # clips decoded or in work at a time: keeps workers busy, bounds memory
SCRATCH_PREFIX = ".pcm-"


def decode_many(paths: Iterable[Path], sample_rate: int, workers: int, scratch: Path) -> Iterator[bytes | Undecodable]:
    """Yields for each path, in order, its 16-bit mono PCM (see `to_pcm16`) or the reason why there is none.

    Processes are spawned, as forking after TensorFlow has started its threads may deadlock. Close the generator
    where it is not exhausted.

    Args:
        paths: the audio files.
        sample_rate: of the results, in Hz.
        workers: number of processes.
        scratch: folder for a few short-lived hidden files.

    Raises:
        UserError: a decoding process died, most likely for want of memory.
        OSError: `scratch` is full or cannot be written.
    """
    _keep_freed_memory()
    waiting: deque[tuple[Path, Future]] = deque()
    spawn = multiprocessing.get_context("spawn")
    with (
        _death_explained(),
        TemporaryDirectory(dir=scratch, prefix=SCRATCH_PREFIX) as folder,
        ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker) as pool,
    ):
        slots = _make_slots(Path(folder), workers * SLOTS_PER_WORKER)
        for path, slot in zip(paths, cycle(slots)):
            if len(waiting) == len(slots):
                yield _take(*waiting.popleft())
            with _without_main():
                waiting.append((slot, pool.submit(decode_into, slot, path, sample_rate)))
        while waiting:
            yield _take(*waiting.popleft())


def _make_slots(folder: Path, count: int) -> list[Path]:
    # Files overwritten in place stay in the page cache: a clip through them takes a tenth of the time that the
    # executor's pipe needs, and unlike shared memory they hold clips of any length.
    slots = [folder / str(number) for number in range(count)]
    for slot in slots:
        slot.touch()
    return slots


@contextmanager
def _without_main() -> Iterator[None]:
    # A spawned process imports the caller's script again, TensorFlow and all, though decoding needs nothing of it.
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _take(slot: Path, future: Future) -> bytes | Undecodable:
    result = future.result()
    if isinstance(result, Undecodable):
        return result
    with slot.open("rb", buffering=0) as file:
        return file.read(result)


@contextmanager
def _death_explained() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        raise UserError(
            "a decoding process was killed, most likely out of memory; the same command with fewer workers continues"
        ) from None


def _start_worker() -> None:
    # libmpg123 prints notes on harmless oddities of MP3 files straight to the terminal, through the progress bar.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _keep_freed_memory() -> None:
    # Freeing one large array makes glibc keep smaller ones for reuse: no page faults, a quarter less time a clip.
    np.empty(1 << 23, np.uint8)


def _end_with_parent() -> None:
    # A worker whose parent is killed would wait for the next file forever: it holds both ends of its own queue.
    multiprocessing.parent_process().join()
    os._exit(1)
