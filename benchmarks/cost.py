"""What a track costs a server, and how well it is tagged: one centre window, some windows, or all of them.

    python -m benchmarks.cost RUN MODELS [--name tagger]

RUN is a run on prepared data with groups (the demo's songs), MODELS what `genre-tagger export RUN MODELS` wrote. The
clips of each group of the test split, joined, are a track; a tag is true of a track that is true of one of its clips,
and known where it is known of all. The newest version answers in this process, one request a track: some windows
evenly spaced as `pcm16`, their mean taken here; all windows as `wav`, at the run's rate and resampled from 44.1 kHz in
the graph. Core-seconds are processor time of all threads for one request: the mean over the tracks, the median of five
rounds after one that is not counted.
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
from genre_tagger.data.dataset import Dataset, LabelledClips
from genre_tagger.data.manifest import read_manifest
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.export.contract import MODEL_NAME
from genre_tagger.export.serving import versions_of
from genre_tagger.run import open_run, read_data

SOME_WINDOWS = (2, 4)
ROUNDS = 5
OTHER_RATE_HZ = 44_100

Request = tuple[str, list[bytes]]


@dataclass(frozen=True)
class Track:
    """int16 samples, labels [tags]."""

    samples: np.ndarray
    labels: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("models", type=Path)
    parser.add_argument("--name", default=MODEL_NAME)
    arguments = parser.parse_args()
    run, config = open_run(arguments.run)
    dataset = Dataset.of_manifest(read_manifest(Path(read_data(run)["prepared"])))
    tracks = joined_groups(dataset.splits["test"])
    model = tf.saved_model.load(str(versions_of(arguments.models / arguments.name)[-1]))
    rows = [(what, *measure(model, dataset, tracks, make)) for what, make in requests(config).items()]
    print_rows(tracks, config, rows)


def joined_groups(clips: LabelledClips) -> list[Track]:
    """One track for each group."""
    samples = samples_of(clips)
    tracks = []
    for group in np.unique(clips.groups):
        rows = np.flatnonzero(clips.groups == group)
        labels = clips.labels[rows].max(axis=0)
        labels[(clips.labels[rows] < 0).any(axis=0)] = -1
        tracks.append(Track(np.concatenate([samples[row] for row in rows]), labels))
    return tracks


def samples_of(clips: LabelledClips) -> list[np.ndarray]:
    """int16 samples of the clips, in the order of their labels."""
    loaded = clips.reader.load(clips.reader.entries(None)).as_numpy_iterator()
    samples = {int(index): pcm for pcm, _, index in loaded}
    return [samples[int(number)] for number in clips.numbers]


def requests(config: Config) -> dict[str, Callable[[Track], Request]]:
    """The ways to ask, by their names in the table."""
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
    """Windows with equal gaps between them and to the track's ends; one is the centre."""
    size = config.window_samples
    gap = (len(track.samples) - count * size) / (count + 1)  # negative where they overlap
    starts = np.rint([gap + number * (size + gap) for number in range(count)])
    starts = starts.clip(0, len(track.samples) - size).astype(int)
    return "pcm16", [track.samples[start : start + size].astype("<i2").tobytes() for start in starts]


def wav(samples: np.ndarray, rate: int) -> bytes:
    """A 16-bit WAV file."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def measure(model, dataset: Dataset, tracks: list[Track], make: Callable) -> tuple[float, float]:
    """Core-seconds a track, and macro ROC-AUC."""
    made = [make(track) for track in tracks]
    scores = np.stack([ask(model, *request) for request in made])
    rounds = [core_seconds(lambda: [ask(model, *request) for request in made]) for _ in range(ROUNDS)]
    seconds = statistics.median(rounds) / len(tracks)
    return seconds, compute_metrics(np.stack([track.labels for track in tracks]), scores, dataset.tags).roc_auc


def core_seconds(function: Callable[[], object]) -> float:
    """Processor time of one call."""
    started = time.process_time()
    function()
    return time.process_time() - started


def ask(model, signature: str, items: list[bytes]) -> np.ndarray:
    """Mean probabilities [tags] of the items; raises ValueError where one has an error."""
    answer = model.signatures[signature](audio=tf.constant(items))
    if any(answer["error"].numpy()):
        raise ValueError(answer["error"].numpy())
    return answer["probabilities"].numpy().mean(axis=0)


def print_rows(tracks: list[Track], config: Config, rows: list[tuple[str, float, float]]) -> None:
    """The table, costs beside that of one window."""
    lengths = np.array([len(track.samples) for track in tracks]) / config.frontend.sample_rate
    title = f"{len(tracks)} tracks of {lengths.mean():.1f} s, windows of {config.window.seconds:g} s"
    table = Table(title=f"{title} ({matrix_rate():.0f} GFLOP/s)", title_justify="left")
    table.add_column("asked")
    for name in ("core-seconds a track", "times the centre window's", "macro ROC-AUC"):
        table.add_column(name, justify="right")
    for what, seconds, auc in rows:
        table.add_row(what, f"{seconds:.4f}", f"{seconds / rows[0][1]:.1f}", f"{auc:.4f}")
    Console(highlight=False, width=TABLE_WIDTH).print(table)


if __name__ == "__main__":
    main()
