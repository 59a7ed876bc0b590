"""Robustness of a simulated model that scores the brightness of windows.

A condition that removes high frequencies must lower its scores; other conditions must not.
"""

import logging
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from facts import check_facts, expect_error

from genre_tagger.config import load_config
from genre_tagger.dataset.dataset import Dataset, LabelledClips
from genre_tagger.dataset.pipeline import evaluation_windows
from genre_tagger.evaluation.evaluate_run import predictions_of
from genre_tagger.evaluation.robustness import measure, perturbations
from genre_tagger.evaluation.robustness.measure import (
    PerturbedReader,
    left_out_conditions,
    measure_robustness,
    score_condition,
)
from genre_tagger.evaluation.robustness.perturbations import CONDITIONS
from genre_tagger.files import locked
from genre_tagger.progress import shown_by
from genre_tagger.runs.directory import RunDirectory

RATE, CLIPS, SAMPLES = 16_000, 24, 8000
MEASURED = ("noise 0 dB SNR", "gain -12 dB", "8 kHz sampling", "length 1 s")
CONFIG = load_config(
    overrides=[
        f"frontend.sample_rate={RATE}",
        "window.seconds=0.25",
        "window.evaluate=all",
        "inference.batch_size=7",
    ]
)


@dataclass
class ListReader:
    """A `ClipReader` of int16 waveforms in memory, last clip first."""

    waveforms: np.ndarray

    @property
    def num_clips(self):
        return len(self.waveforms)

    def entries(self, seed=None):
        return tf.data.Dataset.range(self.num_clips - 1, -1, -1)

    def load(self, entries):
        waveforms = tf.constant(self.waveforms)
        return entries.map(lambda number: (waveforms[number], tf.zeros([2]), number))


class Brightness:
    """A model with the scores [windows, 2]: share of the energy above 4.5 kHz minus 0.01, and level.

    It raises KeyboardInterrupt after a number of calls.
    """

    output_shape = (None, 2)

    def __init__(self, calls=10**9):
        self.calls = calls

    def predict_on_batch(self, windows):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        spectrum = np.abs(np.fft.rfft(np.asarray(windows))) ** 2
        high = spectrum[:, round(4500 / RATE * windows.shape[1]) :].sum(axis=1) / (spectrum.sum(axis=1) + 1e-9)
        return np.stack([np.maximum(high - 0.01, 0), np.sqrt(np.mean(np.square(windows), axis=1))], axis=1)


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    bright = rng.random(CLIPS) < 0.5
    times = np.arange(SAMPLES) / RATE
    tones = [np.sin(2 * np.pi * hertz * times) for hertz in (500, 6000)]
    shares = np.where(bright, 0.6, 0.2) + rng.uniform(-0.15, 0.15, CLIPS)
    tones[1] *= np.where(times < 0.25, 0.8, 1)  # so that the two windows of a clip differ
    levels = rng.uniform(0.2, 0.4, CLIPS)
    waveforms = levels[:, None] * (np.outer(1 - shares, tones[0]) + np.outer(shares, tones[1]))
    clips = LabelledClips(
        reader=ListReader((waveforms * 32768).astype(np.int16)),
        numbers=np.arange(CLIPS),
        ids=[f"clip{number}" for number in range(CLIPS)],
        groups=np.arange(CLIPS).astype(str),
        seconds=np.full(CLIPS, SAMPLES / RATE),
        labels=np.stack([bright, levels > 0.3], axis=1).astype(np.int8),
    )
    return Dataset(("bright", "loud"), "hash", {"test": clips})


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path)
    run.report.mkdir()
    run.model.write_bytes(b"weights")
    return run


def measured(run, dataset, monkeypatch, model):
    """Measure the simulated model under a few conditions; return the table and the updates of the progress."""
    monkeypatch.setattr(measure, "load_tagger", lambda path: model)
    monkeypatch.setattr(measure, "CONDITIONS", {name: CONDITIONS[name] for name in MEASURED})
    clean = predictions_of(dataset, {"test": clean_scores(dataset)})
    updates = []

    @contextmanager
    def display(title, in_bytes):
        yield lambda *state: updates.append(state)

    with shown_by(display):
        table = measure_robustness(run, CONFIG, dataset, clean)
    return table.set_index("condition"), updates


def clean_scores(dataset):
    reader = dataset.splits["test"].reader
    windows = reader.waveforms.reshape(CLIPS, -1, CONFIG.window_samples) / 32768
    return np.mean([Brightness().predict_on_batch(part) for part in windows.transpose(1, 0, 2)], axis=0)


def test_a_reader_without_perturbation_gives_the_same_windows(dataset):
    reader = dataset.splits["test"].reader
    unchanged = PerturbedReader(reader, lambda waveform, index: waveform)
    for found, expected in zip(evaluation_windows(unchanged, CONFIG), evaluation_windows(reader, CONFIG), strict=True):
        assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


def test_a_condition_is_scored_with_the_windows_and_the_pooling_of_the_run(dataset):
    begun = []
    scores = score_condition(Brightness(), dataset.splits["test"], CONFIG, "gain -12 dB", begun.append)
    expected = clean_scores(dataset) * [1, 10**-0.6]
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    assert begun[-1] == CLIPS and begun == sorted(begun)


def test_the_seed_of_the_noise_depends_on_the_clip_and_not_on_the_batch(dataset):
    clips = dataset.splits["test"]
    fewer = replace(clips, reader=ListReader(clips.reader.waveforms[:5]), numbers=np.arange(5))
    some, all_ = (score_condition(Brightness(), part, CONFIG, "noise 0 dB SNR", print) for part in (fewer, clips))
    np.testing.assert_allclose(some, all_[:5], rtol=1e-6)


def test_only_a_condition_that_removes_high_frequencies_lowers_the_scores(dataset, run, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    table, updates = measured(run, dataset, monkeypatch, Brightness())
    assert table.loc["8 kHz sampling", "roc_auc_difference_high"] < 0
    assert table.loc["8 kHz sampling", "worst_tags"].startswith("bright -")
    unchanged = ["roc_auc_difference", "roc_auc_difference_low", "roc_auc_difference_high"]
    np.testing.assert_allclose(table.loc["gain -12 dB", unchanged].to_numpy(float), 0, atol=1e-9)
    assert list(table.index) == ["clean", *MEASURED[:3]]
    for line, seconds in zip(caplog.messages, (1, 3, 5, 10), strict=True):
        check_facts(line, f"length {seconds} s", "0.5 s")
    assert updates[-1] == (3 * CLIPS, 3 * CLIPS) and updates == sorted(updates)
    written = {file.name for file in run.report.iterdir()}
    assert written == {"robustness.csv", "robustness_tags.csv", "robustness.png"}
    read = pd.read_csv(run.report / "robustness.csv", index_col="condition")
    np.testing.assert_allclose(read["pr_auc_difference_low"], table["pr_auc_difference_low"])


def test_an_interrupted_measurement_resumes_but_not_with_another_model(dataset, run, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        measured(run, dataset, monkeypatch, Brightness(calls=18))
    batches = -(-CLIPS * 2 // 7)
    begun = sorted(run.robustness.glob("*.parquet"))
    assert len(begun) == 18 // batches == 2
    assert not list(run.report.iterdir()) and not list(run.path.rglob("*.tmp"))
    rest = Brightness()
    table, _ = measured(run, dataset, monkeypatch, rest)
    assert 10**9 - rest.calls == (3 - len(begun)) * batches
    first = (run.report / "robustness.csv").read_bytes()
    nothing = Brightness(calls=0)
    assert measured(run, dataset, monkeypatch, nothing)[0].equals(table)
    assert (run.report / "robustness.csv").read_bytes() == first
    run.model.write_bytes(b"other weights")
    with pytest.raises(KeyboardInterrupt):
        measured(run, dataset, monkeypatch, nothing)
    assert not list(run.robustness.glob("*.parquet")) and not list(run.report.iterdir())


def test_changed_perturbations_are_measured_again(dataset, run, monkeypatch, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        measured(run, dataset, monkeypatch, Brightness(calls=9))
    assert len(list(run.robustness.glob("*.parquet"))) == 1
    changed = tmp_path / "perturbations.py"
    changed.write_text(Path(perturbations.__file__).read_text() + "# louder\n")
    monkeypatch.setattr(perturbations, "__file__", str(changed))
    with pytest.raises(KeyboardInterrupt):
        measured(run, dataset, monkeypatch, Brightness(calls=0))
    assert not list(run.robustness.glob("*.parquet"))


def test_two_measurements_at_once_raise_an_error(dataset, run, monkeypatch):
    run.robustness.mkdir()
    with locked(run.robustness), expect_error(run.robustness, "another process"):
        measured(run, dataset, monkeypatch, Brightness())


@pytest.mark.parametrize(
    ("seconds", "rate", "expected"),
    [
        ([29.0, 29.0], 16_000, []),
        ([29.0, 0.5, 29.0], 16_000, []),
        ([5.0, 5.0, 5.0], 12_000, ["length 5 s", "length 10 s"]),
        ([5.0, 5.1, 5.2], 12_000, ["length 10 s"]),
        ([29.0], 8000, ["8 kHz sampling"]),
    ],
)
def test_conditions_that_would_not_change_most_clips_are_left_out(seconds, rate, expected):
    assert list(left_out_conditions(np.array(seconds), rate)) == expected


def test_clips_that_a_length_does_not_shorten_are_counted(dataset, run, monkeypatch, caplog):
    clips = replace(dataset.splits["test"], seconds=np.array([0.5] * 3 + [2.0] * (CLIPS - 3)))
    caplog.set_level(logging.INFO)
    with pytest.raises(KeyboardInterrupt):
        measured(run, replace(dataset, splits={"test": clips}), monkeypatch, Brightness(calls=0))
    (line,) = (line for line in caplog.messages if "length 1 s" in line)
    check_facts(line, "3 of 24")
