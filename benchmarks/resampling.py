"""The resampler inside an exported graph beside soxr, which prepares the training clips: do scores and ranks hold?

    python -m benchmarks.resampling RUN

RUN is a run on prepared data. Its test clips are brought to 16, 24 and 44.1 kHz by soxr and written as WAV files of 16
bits; each file is scored by the signature `wav` of the run, which resamples in the graph, and by the same signature
after soxr has brought it to the model's rate, where nothing is left to resample.
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
from genre_tagger.data.dataset import Dataset, LabelledClips
from genre_tagger.data.manifest import read_manifest
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.export.folding import inference_model
from genre_tagger.export.savedmodel import write_savedmodel
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.models.tagger import load_tagger
from genre_tagger.run import open_run, read_data

RATES_HZ = (16_000, 24_000, 44_100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run, config = open_run(parser.parse_args().run)
    dataset = Dataset.of_manifest(read_manifest(Path(read_data(run)["prepared"])))
    clips, rate = dataset.splits["test"], config.frontend.sample_rate
    served = ServedTagger(inference_model(load_tagger(run.model)), config, dataset.tags)
    with TemporaryDirectory() as folder:
        write_savedmodel(Path(folder), served, {})
        model = tf.saved_model.load(folder)
        rows = [(hertz, *compared(model, clips, rate, hertz)) for hertz in RATES_HZ]
    print_rows(clips, dataset.tags, rows)


def compared(model, clips: LabelledClips, rate: int, file_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores [clips, tags] by the graph's resampler and by soxr, of the same files."""
    files = [wav(soxr.resample(samples, rate, file_hz), file_hz) for samples in samples_of(clips)]
    by_graph = np.stack([ask(model, "wav", [file]) for file in files])
    by_soxr = np.stack([ask(model, "wav", [at_rate(file, rate)]) for file in files])
    return by_graph, by_soxr


def at_rate(file: bytes, rate: int) -> bytes:
    """A WAV file at another rate, by soxr."""
    samples, file_hz = soundfile.read(io.BytesIO(file), dtype="int16")
    return wav(soxr.resample(samples, file_hz, rate), rate)


def print_rows(clips: LabelledClips, tags: tuple[str, ...], rows: list[tuple[int, np.ndarray, np.ndarray]]) -> None:
    """Differences of scores and macro ROC-AUC, a row for each rate."""
    table = Table(title=f"{len(clips.labels)} test clips, the graph's resampler beside soxr", title_justify="left")
    for name in ("rate", "mean difference", "largest difference", "macro ROC-AUC", "by soxr", "difference"):
        table.add_column(name, justify="right")
    for hertz, by_graph, by_soxr in rows:
        difference = np.abs(by_graph - by_soxr)
        ours, theirs = (compute_metrics(clips.labels, scores, tags).roc_auc for scores in (by_graph, by_soxr))
        areas = f"{ours:.4f}", f"{theirs:.4f}", f"{ours - theirs:+.5f}"
        table.add_row(f"{hertz / 1000:g} kHz", f"{difference.mean():.4f}", f"{difference.max():.4f}", *areas)
    Console(highlight=False, width=TABLE_WIDTH).print(table)


if __name__ == "__main__":
    main()
