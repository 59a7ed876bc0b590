"""Measure the rate of reading prepared shards without a model, and the memory for preparing and reading.

    python -m benchmarks.reading [--quick]

The script prepares 1,000, 2,000 and 4,000 clips of 29.12 s with two workers. It reads each of the three collections
three times through the training pipeline in batches of 16. Each measurement runs in a separate process. Memory is the
peak resident set size (`VmHWM`, Linux). For several processes it is the sum of their peaks, with shared libraries
counted once per process. The script needs 3 GB of temporary disk space.
"""

import multiprocessing
import os
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from benchmarks._clips import RepeatedFiles, write_clips
from benchmarks._common import Measurement, matrix_rate, options, print_table, say, seconds, stable_config
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.dataset.pipeline import RecordReader, steps_per_epoch, training_windows
from genre_tagger.dataset.prepare import prepare
from genre_tagger.progress import shown_by

WORKERS = 2
PASSES = 3
CLIPS_PER_SECOND = 1000.0
RESIDENT_MB = 1500.0

Result = TypeVar("Result")


def main() -> None:
    counts = (50, 100, 200) if options(__doc__).parse_args().quick else (1000, 2000, 4000)
    rate = matrix_rate()
    with TemporaryDirectory() as folder:
        paths = write_clips(Path(folder))
        by_count = [measured(paths, num_clips) for num_clips in counts]
    rows = [row for kind in zip(*by_count, strict=True) for row in kind]
    print_table("reading, and memory of preparing and reading", rate, rows)


def measured(paths: Sequence[Path], num_clips: int) -> list[Measurement]:
    """Return the rows of a collection of `num_clips` clips: rate, memory for reading, memory for preparing."""
    say(f"preparing and reading {num_clips:,} clips")
    with TemporaryDirectory() as folder:
        prepare_mb = in_own_process(peak_of_preparing, paths, num_clips, Path(folder))
        rate, read_mb = in_own_process(rate_and_peak_of_reading, Path(folder))
    return [
        Measurement(f"read {num_clips:,} clips", "clips/s", rate, CLIPS_PER_SECOND),
        Measurement(f"peak memory, read {num_clips:,} clips", "MB", read_mb, RESIDENT_MB),
        Measurement(f"peak memory, prepare {num_clips:,} clips", "MB", prepare_mb, RESIDENT_MB),
    ]


def in_own_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a new process, so that its peak memory is not affected by earlier work."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_of_preparing(paths: Sequence[Path], num_clips: int, directory: Path) -> float:
    """Prepare data, and return the peak resident MB of this process and its workers together."""
    peak_mb = 0.0

    def note_peak(done: int, total: int) -> None:
        nonlocal peak_mb
        workers = [worker.pid for worker in multiprocessing.active_children()]
        peak_mb = max(peak_mb, sum(peak_resident_mb(pid) for pid in (os.getpid(), *workers)))

    source = RepeatedFiles.of(paths, num_clips)
    rate = stable_config(quick=False).frontend.sample_rate
    with shown_by(lambda title, in_bytes: nullcontext(note_peak)):
        prepare(source, rate, directory, workers=WORKERS)
    return max(peak_mb, peak_resident_mb(os.getpid()))


def rate_and_peak_of_reading(directory: Path) -> tuple[float, float]:
    """Return the clips per second of the median pass, and the peak resident MB after all passes."""
    config, manifest = stable_config(quick=False), read_manifest(directory)
    reader = RecordReader.of(manifest, "train")
    steps = steps_per_epoch(reader, config)
    windows = training_windows(reader, config, len(manifest.tags)).take(steps)

    def read_all() -> None:
        for _ in windows:
            pass

    taken = statistics.median(seconds(read_all) for _ in range(PASSES))
    return steps * config.training.batch_size / taken, peak_resident_mb(os.getpid())


def peak_resident_mb(pid: int) -> float:
    """Return the peak resident MB of a process. Unlike the value of `getrusage`, it is reset when a program starts."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"/proc/{pid}/status: found no VmHWM; the process has ended")


if __name__ == "__main__":
    main()
