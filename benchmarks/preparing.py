"""Compare the speed of `prepare` with that of bare decoding and that of `librosa.load`.

    python -m benchmarks.preparing [--clip FILE] [--quick]

`prepare` decodes clips, resamples them to 12 kHz and writes them. Each worker prepares 800 clips of 29.12 s. The clips
are MP3s at 16 kHz made by the script, or FILE, read repeatedly. The time of `prepare` is that from the call to the
finished manifest and includes the start of its processes. The bare rates are those of `soundfile.read` and
`soxr.resample` in processes that are warmed up and write nothing. Values are medians of three rounds.
"""

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

import librosa
import numpy as np
import soundfile
import soxr

from benchmarks._clips import RepeatedFiles, write_clips
from benchmarks._common import Measurement, matrix_rate, options, print_table, say, seconds
from genre_tagger.dataset.prepare import prepare

SAMPLE_RATE = 12_000
WORKERS = (1, 2)
SHARE_OF_BARE_RATE = 0.8  # the target
START_TIMEOUT_SECONDS = 120

Load = Callable[[Path], np.ndarray]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--clip", type=Path, metavar="FILE", help="audio file to decode instead of the clips made by the script"
    )
    arguments = parser.parse_args()
    num_clips, rounds = (40, 1) if arguments.quick else (800, 3)
    rate = matrix_rate()
    with TemporaryDirectory() as folder:
        paths = [arguments.clip] if arguments.clip else write_clips(Path(folder))
        rates = median_rates(paths, num_clips, rounds)
    rows = [row for workers in WORKERS for row in compared(workers, rates)]
    print_table(f"preparing, {num_clips} clips per worker and round", rate, rows)


def compared(workers: int, rates: dict[str, float]) -> list[Measurement]:
    """Return the rows that compare `prepare` with the alternatives, for a number of workers."""
    ours = f"prepare, {workers} worker{'s' * (workers > 1)}", "clips/s", rates[f"prepare {workers}"]
    cores_worth = workers * rates["bare 1"]
    target = SHARE_OF_BARE_RATE * cores_worth
    together = f"soundfile + soxr, {workers} at the same time"
    return [
        Measurement(*ours, target, rival=f"soundfile + soxr, one process x {workers}", rival_figure=cores_worth),
        Measurement(*ours, rival=together, rival_figure=rates[f"bare {workers}"]),
        Measurement(*ours, rival="librosa.load, one process", rival_figure=rates["librosa"]),
    ]


def median_rates(paths: Sequence[Path], num_clips: int, rounds: int) -> dict[str, float]:
    """Return the median clips per second of each measurement, by name. Every round makes all measurements."""
    measured = []
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        measured.append(one_round(paths, num_clips))
    return {name: statistics.median(rates[name] for rates in measured) for name in measured[0]}


def one_round(paths: Sequence[Path], num_clips: int) -> dict[str, float]:
    """Make all measurements once, and return the clips per second by name."""
    rates = {"librosa": bare_rate(load_by_librosa, paths, num_clips // 4, processes=1)}
    for workers in WORKERS:
        rates[f"bare {workers}"] = bare_rate(load_bare, paths, num_clips, workers)
        rates[f"prepare {workers}"] = prepare_rate(paths, num_clips * workers, workers)
    return rates


def prepare_rate(paths: Sequence[Path], num_clips: int, workers: int) -> float:
    """Return the clips per second of `prepare`."""
    source = RepeatedFiles.of(paths, num_clips)
    with TemporaryDirectory() as folder:
        taken = seconds(lambda: prepare(source, SAMPLE_RATE, Path(folder), workers=workers))
    return len(source.clips) / taken


def bare_rate(load: Load, paths: Sequence[Path], num_clips: int, processes: int) -> float:
    """Return the clips per second of several simultaneous processes that each load and discard `num_clips` clips."""
    share = [paths[number % len(paths)] for number in range(num_clips)]
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(processes + 1)
    with spawn.Pool(processes, get_ready, (load, paths[0], ready)) as pool:
        ready.wait(START_TIMEOUT_SECONDS)
        taken = seconds(lambda: pool.starmap(load_all, [(load, share)] * processes, chunksize=1))
    return processes * num_clips / taken


def get_ready(load: Load, path: Path, ready: Barrier) -> None:
    """Warm up a process and wait for the others."""
    load(path)
    ready.wait(START_TIMEOUT_SECONDS)


def load_all(load: Load, paths: Sequence[Path]) -> None:
    """Load files one after another."""
    for path in paths:
        load(path)


def load_bare(path: Path) -> np.ndarray:
    """Load a file with the two calls that any preparation needs."""
    waveform, source_rate = soundfile.read(path, dtype="float32")
    return soxr.resample(waveform, source_rate, SAMPLE_RATE)


def load_by_librosa(path: Path) -> np.ndarray:
    """Load a file with the usual call of librosa."""
    return librosa.load(path, sr=SAMPLE_RATE)[0]


if __name__ == "__main__":
    main()
