"""A run whose tags and files have names that a careless page would run or break on."""

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
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.records import prepare
from genre_tagger.evaluation.predictions import Predictions, write_predictions
from genre_tagger.evaluation.report import evaluate_predictions
from genre_tagger.run import RunDirectory, create_run

TAGS = ("<script>document.title='owned'</script>", "\"double\" & 'single'", "piano", "never")
LONG_CLIP = "<b onclick='x'>long & loud.wav"
RATE_HZ, SECONDS, LONG_SECONDS = 8000, 0.6, 17.0
CLIPS = {"train": 2, "valid": 12, "test": 9}
PNG = bytes.fromhex("89504e470d0a1a0a") + b"any picture"


def file_of(split: str, number: int) -> str:
    return LONG_CLIP if (split, number) == ("test", 0) else f"{split} {number}.wav"


@pytest.fixture(scope="session")
def collection(tmp_path_factory) -> Path:
    """A folder of noises with a table; `never` has no positive but one in training."""
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
    """The same as shards, with its dataset card."""
    directory = tmp_path_factory.mktemp("prepared")
    prepare(FolderSource(collection), RATE_HZ, directory, workers=1)
    return directory


def make_predictions(source: FolderSource) -> Predictions:
    """Seeded scores of the validation and test clips, some of their labels unknown."""
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
    """A trained and evaluated run of a model with 5 x 4 + 4 parameters, to be changed."""
    return RunDirectory(shutil.copytree(shared_run.path, tmp_path / shared_run.path.name))


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory, collection, prepared) -> RunDirectory:
    """The same for tests that change nothing in it."""
    source = FolderSource(collection)
    config = load_config("small", overrides=[f"frontend.sample_rate={RATE_HZ}", "training.epochs=3"])
    options = {"source": "folder", "root": str(collection)}
    record = {"source": options, "data": "unused", "prepared": str(prepared), "stream": False, "hash": "0" * 64}
    run = create_run(
        tmp_path_factory.mktemp("runs") / "my <run>", config, {**record, "protocol": "stratified"}, source.tags, ["CPU"]
    )
    waveform = keras.Input((5,))
    keras.Model(waveform, keras.layers.Dense(len(source.tags))(waveform)).save(run.model)
    epochs = {"epoch": [1, 2], "loss": [0.5, 0.4], "val_roc_auc": [0.61234, 0.6]}
    pd.DataFrame(epochs).to_csv(run.history, index=False)
    run.report.mkdir()
    for name in ("tags.png", "curves.png", "history.png"):
        (run.report / name).write_bytes(PNG + name.encode())
    predictions = make_predictions(source)
    write_predictions(run.predictions, predictions)
    write_predictions(run.floor, predictions.of_split("test"))
    report = evaluate_predictions(predictions, floor=predictions.of_split("test"), replicates=20)
    run.metrics.write_text(json.dumps(report))
    return run
