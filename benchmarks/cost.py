"""Measure the cost and the ROC-AUC of tagging a track on a server, by its centre window, some windows or all windows.

    python -m benchmarks.cost RUN MODELS [--name tagger]

RUN is a run on prepared data with groups (the demo's songs). MODELS is the directory that `genre-tagger export RUN
MODELS` wrote. The script joins the clips of each group of the test split to a track. A tag holds for a track if it
holds for any of its clips. It is known for a track if it is known for all of its clips. The newest version runs in this
process, with one request per track.

A request with some windows sends evenly spaced windows as `pcm16`, and the script averages their probabilities. A
request with all windows sends the track as `wav`, at the run's rate or at 44.1 kHz, which the graph resamples.
Core-seconds are the processor time of all threads for one request, averaged over the tracks. The table shows the median
of five rounds after a warm-up round.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks._common import TABLE_WIDTH, matrix_rate
from genre_tagger.config import Config
from genre_tagger.dataset.dataset import Dataset, LabelledClips
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.export.contract import MODEL_NAME
from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.runs.directory import open_run

SOME_WINDOWS = (2, 4)
ROUNDS = 5
OTHER_RATE_HZ = 44_100

Request = tuple[str, list[bytes]]


@dataclass(frozen=True)
class Track:
    """The int16 samples and the labels [tags] of a track."""

    samples: np.ndarray
    labels: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--name", default=MODEL_NAME)
    arguments = parser.parse_args()
    run, config = open_run(arguments.run)
    dataset = Dataset.of_manifest(read_manifest(run.read_record().prepared))
    tracks = joined_groups(dataset.splits["test"])
    model = ExportedVersion.all_in(arguments.models / arguments.name)[-1].load()
    rows = [(what, *measure(model, dataset, tracks, make)) for what, make in requests(config).items()]
    print_rows(tracks, config, rows)


def joined_groups(clips: LabelledClips) -> list[Track]:
    """Return one track per group."""
    samples = samples_of(clips)
    tracks = []
    for group in np.unique(clips.groups):
        rows = np.flatnonzero(clips.groups == group)
        labels = clips.labels[rows].max(axis=0)
        labels[(clips.labels[rows] < 0).any(axis=0)] = -1
        tracks.append(Track(np.concatenate([samples[row] for row in rows]), labels))
    return tracks


def samples_of(clips: LabelledClips) -> list[np.ndarray]:
    """Return the int16 samples of the clips, in the order of their labels."""
    loaded = clips.reader.load(clips.reader.entries(None)).as_numpy_iterator()
    samples = {int(index): pcm for pcm, _, index in loaded}
    return [samples[int(number)] for number in clips.numbers]


def requests(config: Config) -> dict[str, Callable[[Track], Request]]:
    """Return the functions that make each kind of request, by the name in the table."""
    rate = config.frontend.sample_rate
    some = {
        f"{count} windows, pcm16": lambda track, count=count: spaced(track, count, config) for count in SOME_WINDOWS
    }
    return {
        "centre window, pcm16": lambda track: spaced(track, 1, config),
        **some,
        f"all windows, wav at {rate / 1000:g} kHz": lambda track: ("wav", [wav(track.samples, rate)]),
        f"all windows, wav at {OTHER_RATE_HZ / 1000:g} kHz": lambda track: (
            "wav",
            [wav(soxr.resample(track.samples, rate, OTHER_RATE_HZ), OTHER_RATE_HZ)],
        ),
    }


def spaced(track: Track, count: int, config: Config) -> Request:
    """Return a request of `count` windows, with equal gaps between them and at both ends of the track."""
    size = config.window_samples
    gap = (len(track.samples) - count * size) / (count + 1)  # negative if the windows overlap
    starts = np.rint([gap + number * (size + gap) for number in range(count)])
    starts = starts.clip(0, len(track.samples) - size).astype(int)
    return "pcm16", [track.samples[start : start + size].astype("<i2").tobytes() for start in starts]


def wav(samples: np.ndarray, rate: int) -> bytes:
    """Return the samples as a 16-bit WAV file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def measure(model, dataset: Dataset, tracks: list[Track], make: Callable) -> tuple[float, float]:
    """Return the core-seconds per track and the macro ROC-AUC."""
    made = [make(track) for track in tracks]
    scores = np.stack([ask(model, *request) for request in made])
    rounds = [core_seconds(lambda: [ask(model, *request) for request in made]) for _ in range(ROUNDS)]
    seconds = statistics.median(rounds) / len(tracks)
    return seconds, compute_metrics(np.stack([track.labels for track in tracks]), scores, dataset.tags).roc_auc


def core_seconds(function: Callable[[], object]) -> float:
    """Return the processor time of one call, in seconds."""
    started = time.process_time()
    function()
    return time.process_time() - started


def ask(model, signature: str, items: list[bytes]) -> np.ndarray:
    """Return the mean probabilities [tags] of the items; raise ValueError if any item has an error."""
    answer = model.signatures[signature](audio=tf.constant(items))
    if any(answer["error"].numpy()):
        raise ValueError(answer["error"].numpy())
    return answer["probabilities"].numpy().mean(axis=0)


def print_rows(tracks: list[Track], config: Config, rows: list[tuple[str, float, float]]) -> None:
    """Print the table, with each cost also relative to that of the centre window."""
    lengths = np.array([len(track.samples) for track in tracks]) / config.frontend.sample_rate
    title = f"{len(tracks)} tracks of {lengths.mean():.1f} s, windows of {config.window.seconds:g} s"
    table = Table(title=f"{title} ({matrix_rate():.0f} GFLOP/s)", title_justify="left")
    table.add_column("request")
    for name in ("core-seconds per track", "relative to the centre window", "macro ROC-AUC"):
        table.add_column(name, justify="right")
    for what, seconds, auc in rows:
        table.add_row(what, f"{seconds:.4f}", f"{seconds / rows[0][1]:.1f}", f"{auc:.4f}")
    Console(highlight=False, width=TABLE_WIDTH).print(table)


if __name__ == "__main__":
    main()
