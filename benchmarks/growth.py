"""How memory, time and disk grow with the number of clips, in preparing and in opening what was prepared.

    python -m benchmarks.growth [--quick]

Prepares 1,000, 5,000 and 25,000 clips of 2 s with two workers and opens each collection: short clips, so that
what is counted is what each clip costs beside its audio. Memory is the sum of the peaks of the main process and its
workers (`VmHWM`, Linux), each measurement in processes of its own.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks._clips import RepeatedFiles, write_clips
from benchmarks._common import Measurement, matrix_rate, options, print_table, say, seconds, stable_config
from benchmarks.reading import WORKERS, in_own_process, peak_of_preparing, peak_resident_mb
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.manifest import read_manifest
from genre_tagger.data.records import data_hash

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
    """Rate, memory and disk of a collection of so many clips."""
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
        Measurement(f"shards of {name}, a clip", "kB", shards / num_clips / 1e3),
        Measurement(f"everything else of {name}, a clip", "kB", tables / num_clips / 1e3),
    ]


def peak_and_seconds(paths: Sequence[Path], num_clips: int, directory: Path) -> tuple[float, float]:
    """Peak resident MB of preparing and its seconds."""
    peaks: list[float] = []
    taken = seconds(lambda: peaks.append(peak_of_preparing(paths, num_clips, directory)))
    return peaks[0], taken


def peak_of_opening(paths: Sequence[Path], num_clips: int, directory: Path) -> tuple[float, float]:
    """Peak resident MB of opening prepared data with all labels, and the seconds that its hash takes."""
    Dataset.of_manifest(read_manifest(directory))
    peak_mb = peak_resident_mb(os.getpid())
    source = RepeatedFiles.of(paths, num_clips)
    return peak_mb, seconds(lambda: data_hash(source, stable_config(quick=False).frontend.sample_rate))


if __name__ == "__main__":
    main()
