"""The linear head on the embeddings of a model, compared with scikit-learn on the windows of each clip."""

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from genre_tagger.config import load_config
from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.pipeline import evaluation_windows
from genre_tagger.dataset.prepare import prepare
from genre_tagger.evaluation import probe
from genre_tagger.models.tagger import build_tagger
from genre_tagger.sources.folder import FolderSource

RATE, TRAINING, VALIDATION, TEST = 12_000, 32, 2, 20


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Clips of one to three windows with a tone in noise. `high` labels the tone and `loud` the noise, with errors."""
    rng = np.random.default_rng(0)
    rows = []
    for number, split in enumerate(["train"] * TRAINING + ["valid"] * VALIDATION + ["test"] * TEST):
        high, loud = number % 2, number // 2 % 2
        time = np.arange(rng.integers(6000, 12_000)) / RATE
        waveform = 0.3 * np.sin(2 * np.pi * (300 + 900 * high) * time) + rng.normal(0, 0.02 + 0.1 * loud, time.size)
        soundfile.write(tmp_path / f"{number}.wav", waveform.clip(-1, 1), RATE)
        labels = [label ^ int(rng.random() < 0.2) for label in (high, loud)]
        rows.append([f"{number}.wav", labels[0], "" if number % 5 == 0 else labels[1], split])
    pd.DataFrame(rows, columns=["path", "high", "loud", "split"]).to_csv(tmp_path / "tags.csv", index=False)
    return Dataset.of_manifest(prepare(FolderSource(tmp_path), RATE, tmp_path / "data", workers=1))


def embeddings_of(model, config, clips):
    """Return the input of the output layer, averaged over the windows of each clip."""
    head = keras.Model(model.inputs[0], model.get_layer("head_dropout1").output)
    of_clip = {number: [] for number in clips.numbers.tolist()}
    for waveform, numbers in evaluation_windows(clips.reader, config):
        for number, row in zip(np.asarray(numbers).tolist(), head.predict_on_batch(waveform), strict=True):
            of_clip[number].append(row)
    assert len({len(rows) for rows in of_clip.values()}) > 1
    return np.stack([np.mean(rows, axis=0) for rows in of_clip.values()])


def test_the_head_is_a_regression_on_the_input_of_the_output_layer(dataset, monkeypatch):
    config = load_config(
        overrides=[
            "window.seconds=0.5",
            "window.hop_seconds=0.25",
            "window.evaluate=all",
            "model.wavenet=none",
            "model.cnn={kernels: [4], pools: [[4, 4]], dropouts: [0], output_width: 4}",
            "model.head.widths=[6]",
        ]
    )
    model = build_tagger(config, 5)  # other tags than the two of the dataset
    evaluated, evaluate = [], probe.evaluate_predictions
    monkeypatch.setattr(
        probe, "evaluate_predictions", lambda one, **options: (evaluated.append(one), evaluate(one, **options))[1]
    )
    metrics = probe.probe_model(model, config, dataset)

    train, test = (dataset.splits[split] for split in ("train", "test"))
    train_embeddings, test_embeddings = (embeddings_of(model, config, clips) for clips in (train, test))
    scaler = StandardScaler().fit(train_embeddings)
    assert set(metrics["tags"]) == {"high", "loud"} and metrics["baseline"] is not None
    assert len(evaluated[0].scores) == metrics["clips"] == TEST
    for column, tag in enumerate(dataset.tags):
        known = train.labels[:, column] >= 0
        regression = LogisticRegression(tol=1e-8, max_iter=10_000)
        regression.fit(scaler.transform(train_embeddings[known]), train.labels[known, column])
        probabilities = regression.predict_proba(scaler.transform(test_embeddings))[:, 1]
        assert np.ptp(probabilities) > 0.2
        np.testing.assert_allclose(evaluated[0].scores[:, column], probabilities, atol=1e-3)
        known = test.labels[:, column] >= 0
        expected = roc_auc_score(test.labels[known, column], evaluated[0].scores[known, column])
        assert metrics["tags"][tag]["roc_auc"] == pytest.approx(expected)
