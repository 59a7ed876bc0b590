"""Measure how memory, time and disk use grow with the number of clips, for preparing data and for opening it.

    python -m benchmarks.growth [--quick]

The script prepares 1,000, 5,000 and 25,000 clips of 2 s with two workers and opens each collection. The clips are
short, so that the fixed cost per clip is visible. Memory is the sum of the peaks of the main process and its workers
(`VmHWM`, Linux). Each measurement runs in separate processes.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._clips import RepeatedFiles, write_clips
from benchmarks._common import Measurement, matrix_rate, options, print_table, say, seconds, stable_config
from benchmarks.reading import WORKERS, in_own_process, peak_of_preparing, peak_resident_mb
from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.dataset.prepare import data_hash

SHORT_CLIP_SECONDS = 2.0


def main() -> None:
    counts = (100, 500) if options(__doc__).parse_args().quick else (1000, 5000, 25_000)
    rate = matrix_rate()
    with TemporaryDirectory() as folder:
        paths = write_clips(Path(folder), SHORT_CLIP_SECONDS)
        by_count = [measured(paths, num_clips) for num_clips in counts]
    print_table(
        f"growth, clips of {SHORT_CLIP_SECONDS} s, {WORKERS} workers", rate, [row for rows in by_count for row in rows]
    )


def measured(paths: Sequence[Path], num_clips: int) -> list[Measurement]:
    """Return the rows of a collection of `num_clips` clips: its rate, memory and disk use."""
    say(f"preparing {num_clips:,} clips")
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        prepare_mb, taken = in_own_process(peak_and_seconds, paths, num_clips, directory)
        open_mb, hashing = in_own_process(peak_of_opening, paths, num_clips, directory)
        shards = sum(file.stat().st_size for file in directory.glob("*.tfrecord"))
        tables = sum(file.stat().st_size for file in directory.iterdir()) - shards
    name = f"{num_clips:,} clips"
    return [
        Measurement(f"prepare {name}", "clips/s", num_clips / taken),
        Measurement(f"peak memory, prepare {name}", "MB", prepare_mb),
        Measurement(f"peak memory, open {name} prepared", "MB", open_mb),
        Measurement(f"hash of the source, {name}", "s", hashing),
        Measurement(f"shards of {name}, per clip", "kB", shards / num_clips / 1e3),
        Measurement(f"other files of {name}, per clip", "kB", tables / num_clips / 1e3),
    ]


def peak_and_seconds(paths: Sequence[Path], num_clips: int, directory: Path) -> tuple[float, float]:
    """Return the peak resident memory of preparing, in MB, and the seconds that it takes."""
    peaks: list[float] = []
    taken = seconds(lambda: peaks.append(peak_of_preparing(paths, num_clips, directory)))
    return peaks[0], taken


def peak_of_opening(paths: Sequence[Path], num_clips: int, directory: Path) -> tuple[float, float]:
    """Return the peak resident MB of opening prepared data with all labels, and the seconds for hashing the source."""
    Dataset.of_manifest(read_manifest(directory))
    peak_mb = peak_resident_mb(os.getpid())
    source = RepeatedFiles.of(paths, num_clips)
    return peak_mb, seconds(lambda: data_hash(source, stable_config(quick=False).frontend.sample_rate))


if __name__ == "__main__":
    main()
