"""Failures of one training among several: the model does not fit into memory, or the process is repeatedly killed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from genre_tagger.errors import UserError
from genre_tagger.files import storage_errors, write_text

KILLS_NAME = "kills.json"
MOST_KILLS = 3  # kills of the process without a finished epoch between them


class TrainingFailed(Exception):  # noqa: N818, a result of this training and not a fault of the program
    """One training failed, but others can continue. The message is the reason."""


@contextmanager
def memory_faults() -> Iterator[None]:
    """Raise TrainingFailed if a model does not fit into memory.

    TensorFlow reports this by several kinds of errors, which only their messages identify.
    """
    try:
        yield
    except Exception as error:
        is_memory = isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)
        if isinstance(error, UserError) or not (is_memory or "out of memory" in str(error).lower()):
            raise
        raise TrainingFailed(f"out of memory: {' '.join(str(error).split())[:200]}") from error


@contextmanager
def counting_kills(path: Path) -> Iterator[None]:
    """Raise TrainingFailed for a run in which the process was killed repeatedly without finishing an epoch.

    The kernel kills a process that takes all memory, and no exception reports it.

    Args:
        path: the run directory. Those of further executions of the same trial are next to it and have its name with a
            number appended.
    """
    file = path / KILLS_NAME
    histories = [*path.glob("history.csv"), *path.parent.glob(f"{path.name}-*/history.csv")]
    progress = sum(history.stat().st_size for history in histories)
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kills = before["kills"] if before.get("progress") == progress else 0
    if kills >= MOST_KILLS:
        raise TrainingFailed(f"the process was killed {kills} times without finishing an epoch; out of memory?")
    with storage_errors(path):
        write_text(file, json.dumps({"progress": progress, "kills": kills + 1}))
    try:
        yield
    finally:  # not reached if the process is killed
        file.unlink(missing_ok=True)
