"""A run whose tags and files have HTML in their names. Without escaping, it would run in the report or break it."""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile

from genre_tagger.config import load_config
from genre_tagger.dataset.prepare import prepare
from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions
from genre_tagger.evaluation.predictions import Predictions, write_predictions
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.record import RunRecord
from genre_tagger.sources.folder import FolderSource
from genre_tagger.sources.registry import SourceOptions

TAGS = ("<script>document.title='owned'</script>", "\"double\" & 'single'", "piano", "never")
LONG_CLIP = "<b onclick='x'>long & loud.wav"
RATE_HZ, SECONDS, LONG_SECONDS = 8000, 0.6, 17.0
CLIPS = {"train": 2, "valid": 12, "test": 9}
PNG = bytes.fromhex("89504e470d0a1a0a") + b"any picture"


def file_of(split: str, number: int) -> str:
    return LONG_CLIP if (split, number) == ("test", 0) else f"{split} {number}.wav"


@pytest.fixture(scope="session")
def collection(tmp_path_factory) -> Path:
    """Return a folder of noise clips with a table of tags. Only training clips have the tag `never`."""
    root = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(3)
    rows = [["path", "tags", "split", "group"]]
    for split, count in CLIPS.items():
        for number in range(count):
            name = file_of(split, number)
            seconds = LONG_SECONDS if name == LONG_CLIP else SECONDS
            soundfile.write(root / name, rng.uniform(-0.3, 0.3, round(seconds * RATE_HZ)), RATE_HZ)
            tags = TAGS if split == "train" else TAGS[number % 3 : 3 : 1 + number % 2]
            rows.append([name, "|".join(tags), split, f"{split} {number // 2}"])
    with (root / "tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


@pytest.fixture(scope="session")
def prepared(collection, tmp_path_factory) -> Path:
    """Return the folder as prepared data, with its dataset card."""
    directory = tmp_path_factory.mktemp("prepared")
    prepare(FolderSource(collection), RATE_HZ, directory, workers=1)
    return directory


def make_predictions(source: FolderSource) -> Predictions:
    """Return seeded scores for the validation and test clips. Some labels are unknown."""
    clips = [clip for clip in source.clips if clip.split != "train"]
    rng = np.random.default_rng(4)
    labels = np.stack([clip.labels for clip in clips])
    labels[rng.random(labels.shape) < 0.1] = -1
    scores = rng.uniform(0.05, 0.95, labels.shape)
    worst = next(row for row, clip in enumerate(clips) if clip.id == LONG_CLIP), list(source.tags).index("piano")
    labels[worst], scores[worst] = 0, 0.99
    return Predictions(
        clip_ids=[clip.id for clip in clips],
        groups=np.array([clip.group for clip in clips]),
        splits=np.array([clip.split for clip in clips]),
        tags=tuple(source.tags),
        labels=labels,
        scores=scores.astype(np.float32),
    )


@pytest.fixture
def run(tmp_path, shared_run) -> RunDirectory:
    """Return a trained and evaluated run of a model with 5 x 4 + 4 parameters. A test may change it."""
    return RunDirectory(shutil.copytree(shared_run.path, tmp_path / shared_run.path.name))


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory, collection, prepared) -> RunDirectory:
    """Return the same run for tests that do not change it."""
    source = FolderSource(collection)
    config = load_config("small", overrides=[f"frontend.sample_rate={RATE_HZ}", "training.epochs=3"])
    record = RunRecord(
        source=SourceOptions(source="folder", root=collection),
        folder=Path("unused"),
        prepared=prepared,
        hash="0" * 64,
        protocol="stratified",
    )
    run = create_run(tmp_path_factory.mktemp("runs") / "my <run>", config, record, source.tags, ["CPU"])
    waveform = keras.Input((5,))
    keras.Model(waveform, keras.layers.Dense(len(source.tags))(waveform)).save(run.model)
    epochs = {"epoch": [1, 2], "loss": [0.5, 0.4], "val_roc_auc": [0.61234, 0.6]}
    pd.DataFrame(epochs).to_csv(run.history, index=False)
    run.report.mkdir()
    for name in ("tags.png", "curves.png", "history.png"):
        (run.report / name).write_bytes(PNG + name.encode())
    predictions = make_predictions(source)
    write_predictions(run.predictions, predictions)
    write_predictions(run.baseline, predictions.of_split("test"))
    metrics = evaluate_predictions(predictions, baseline=predictions.of_split("test"), replicates=20)
    run.metrics.write_text(json.dumps(metrics))
    return run
