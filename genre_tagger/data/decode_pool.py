"""Decodes many files in parallel processes, in order, with bounded memory."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from genre_tagger.data.archive import PackedFile
from genre_tagger.data.decode import MIN_SECONDS, Undecodable, decode_into
from genre_tagger.data.pool import without_main, worker_pool

SLOTS_PER_WORKER = 4  # clips decoded or in work at a time: keeps workers busy, bounds memory
SCRATCH_PREFIX = ".pcm-"


def decode_many(
    paths: Iterable[Path | PackedFile], sample_rate: int, workers: int, scratch: Path, min_seconds: float = MIN_SECONDS
) -> Iterator[bytes | Undecodable]:
    """Yields for each path, in order, its 16-bit mono PCM (see `to_pcm16`) or the reason why there is none.

    Close the generator where it is not exhausted.

    Args:
        paths: the audio files.
        sample_rate: of the results, in Hz.
        workers: number of processes.
        scratch: folder for a few short-lived hidden files.
        min_seconds: the shortest clip that counts as usable.

    Raises:
        UserError: a worker process died, most likely for want of memory.
        OSError: `scratch` is full or cannot be written.
    """
    _keep_freed_memory()
    waiting: deque[tuple[Path, Future]] = deque()
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
    # Files overwritten in place stay in the page cache: a clip through them takes a tenth of the time that the
    # executor's pipe needs, and unlike shared memory they hold clips of any length.
    slots = [folder / str(number) for number in range(count)]
    for slot in slots:
        slot.touch()
    return slots


def _take(slot: Path, future: Future) -> bytes | Undecodable:
    result = future.result()
    if isinstance(result, Undecodable):
        return result
    with slot.open("rb", buffering=0) as file:
        return file.read(result)


def _prepare_worker() -> None:
    # libmpg123 prints notes on harmless oddities of MP3 files straight to the terminal, through the progress bar.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    # Freeing one large array makes glibc keep smaller ones for reuse: no page faults, a quarter less time a clip.
    np.empty(1 << 23, np.uint8)
