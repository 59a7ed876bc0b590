"""Compare the scores and ROC-AUC after resampling in an exported graph with those after resampling by soxr.

    python -m benchmarks.resampling RUN

RUN is a run on prepared data; training clips are prepared with soxr. The script resamples the test clips to 16, 24 and
44.1 kHz with soxr and writes them as 16-bit WAV files. The signature `wav` scores each file twice. The first time, the
graph resamples the file. The second time, soxr has already resampled it to the model's rate.
"""

import argparse
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks._common import TABLE_WIDTH
from benchmarks.cost import ask, samples_of, wav
from genre_tagger.dataset.dataset import Dataset, LabelledClips
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.export.folding import inference_model
from genre_tagger.export.savedmodel import write_savedmodel
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.models.tagger import load_tagger
from genre_tagger.runs.directory import open_run

RATES_HZ = (16_000, 24_000, 44_100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run, config = open_run(parser.parse_args().run)
    dataset = Dataset.of_manifest(read_manifest(run.read_record().prepared))
    clips, rate = dataset.splits["test"], config.frontend.sample_rate
    served = ServedTagger(inference_model(load_tagger(run.model)), config, dataset.tags)
    with TemporaryDirectory() as folder:
        write_savedmodel(Path(folder), served, {})
        model = tf.saved_model.load(folder)
        rows = [(hertz, *compared(model, clips, rate, hertz)) for hertz in RATES_HZ]
    print_rows(clips, dataset.tags, rows)


def compared(model, clips: LabelledClips, rate: int, file_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores [clips, tags] of the same files, resampled by the graph and by soxr."""
    files = [wav(soxr.resample(samples, rate, file_hz), file_hz) for samples in samples_of(clips)]
    by_graph = np.stack([ask(model, "wav", [file]) for file in files])
    by_soxr = np.stack([ask(model, "wav", [at_rate(file, rate)]) for file in files])
    return by_graph, by_soxr


def at_rate(file: bytes, rate: int) -> bytes:
    """Return a WAV file resampled to another rate by soxr."""
    samples, file_hz = soundfile.read(io.BytesIO(file), dtype="int16")
    return wav(soxr.resample(samples, file_hz, rate), rate)


def print_rows(clips: LabelledClips, tags: tuple[str, ...], rows: list[tuple[int, np.ndarray, np.ndarray]]) -> None:
    """Print the differences between the scores and the macro ROC-AUC, one row per rate."""
    table = Table(title=f"{len(clips.labels)} test clips, graph resampler compared with soxr", title_justify="left")
    for name in ("rate", "mean difference", "largest difference", "macro ROC-AUC", "with soxr", "difference"):
        table.add_column(name, justify="right")
    for hertz, by_graph, by_soxr in rows:
        difference = np.abs(by_graph - by_soxr)
        ours, theirs = (compute_metrics(clips.labels, scores, tags).roc_auc for scores in (by_graph, by_soxr))
        areas = f"{ours:.4f}", f"{theirs:.4f}", f"{ours - theirs:+.5f}"
        table.add_row(f"{hertz / 1000:g} kHz", f"{difference.mean():.4f}", f"{difference.max():.4f}", *areas)
    Console(highlight=False, width=TABLE_WIDTH).print(table)


if __name__ == "__main__":
    main()
