"""Decode many files in parallel processes, in order and with bounded memory."""

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from genre_tagger.audio.archive import PackedFile
from genre_tagger.audio.decode import MIN_SECONDS, Undecodable, decode_into
from genre_tagger.audio.processes import without_main, worker_pool

SLOTS_PER_WORKER = 4  # clips being decoded or waiting to be read; keeps workers busy and bounds memory
SCRATCH_PREFIX = ".pcm-"


def decode_many(
    paths: Iterable[Path | PackedFile], sample_rate: int, workers: int, scratch: Path, min_seconds: float = MIN_SECONDS
) -> Generator[bytes | Undecodable, None, None]:
    """Decode audio files in parallel and yield the results in the order of the paths.

    A caller that does not exhaust the generator must close it.

    Args:
        paths: the audio files.
        sample_rate: sample rate of the results, in Hz.
        workers: number of processes.
        scratch: folder for a few temporary hidden files.
        min_seconds: minimum length of a clip, in seconds.

    Yields:
        For each path its mono 16-bit PCM (see `to_pcm16`), or the error if it cannot be used.

    Raises:
        UserError: a worker process died, most likely because memory ran out.
        OSError: `scratch` is full or cannot be written.
    """
    _keep_freed_memory()
    waiting: deque[tuple[Path, Future[int | Undecodable]]] = deque()
    with (
        TemporaryDirectory(dir=scratch, prefix=SCRATCH_PREFIX) as folder,
        worker_pool(workers, _prepare_worker) as pool,
    ):
        slots = _make_slots(Path(folder), workers * SLOTS_PER_WORKER)
        for path, slot in zip(paths, cycle(slots)):
            if len(waiting) == len(slots):
                yield _take(*waiting.popleft())
            with without_main():
                waiting.append((slot, pool.submit(decode_into, slot, path, sample_rate, min_seconds)))
        while waiting:
            yield _take(*waiting.popleft())


def _make_slots(folder: Path, count: int) -> list[Path]:
    # Files that are overwritten in place stay in the page cache. They are ten times as fast as the executor's pipe and,
    # unlike shared memory, hold clips of any length.
    slots = [folder / str(number) for number in range(count)]
    for slot in slots:
        slot.touch()
    return slots


def _take(slot: Path, future: "Future[int | Undecodable]") -> bytes | Undecodable:
    result = future.result()
    if isinstance(result, Undecodable):
        return result
    with slot.open("rb", buffering=0) as file:
        return file.read(result)


def _prepare_worker() -> None:
    # libmpg123 prints notes about harmless flaws of MP3 files to standard error, which would garble the progress bar.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    # After one large array is freed, glibc keeps the memory of smaller arrays for reuse. There are then fewer page
    # faults, which saves a quarter of the time.
    np.empty(1 << 23, np.uint8)
