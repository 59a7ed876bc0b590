"""The linear head on a run's embeddings, against scikit-learn on the centre of each clip."""

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from genre_tagger.config import load_config
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.folder import FolderSource
from genre_tagger.data.pipeline import evaluation_windows
from genre_tagger.data.records import prepare
from genre_tagger.evaluation.probe import probe_model
from genre_tagger.models.tagger import build_tagger


def test_the_head_is_a_regression_on_what_the_output_layer_reads(shared_music_folder, tmp_path):
    dataset = Dataset.of_manifest(prepare(FolderSource(shared_music_folder), 12_000, tmp_path / "data", workers=1))
    config = load_config(
        overrides=[
            "window.seconds=0.5",
            "model.wavenet=none",
            "model.cnn={kernels: [4], pools: [[4, 4]], dropouts: [0], output_width: 4}",
            "model.head.widths=[6]",
        ]
    )
    model = build_tagger(config, 5)  # of other tags than the collection's two
    report = probe_model(model, config, dataset)

    head = keras.Model(model.inputs[0], model.get_layer("head_dropout1").output)
    embeddings, labels = {}, {}
    for split in ("train", "test"):
        clips = dataset.splits[split]
        by_number = {
            int(number): row
            for waveform, numbers in evaluation_windows(clips.reader, config)
            for number, row in zip(np.asarray(numbers), head.predict_on_batch(waveform), strict=True)
        }
        embeddings[split] = np.stack([by_number[number] for number in clips.numbers.tolist()])
        labels[split] = clips.labels[:, dataset.tags.index("drums")]
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    scores = regression.fit(embeddings["train"], labels["train"]).predict_proba(embeddings["test"])[:, 1]
    assert report["tags"]["drums"]["roc_auc"] == pytest.approx(roc_auc_score(labels["test"], scores))
    assert set(report["tags"]) == {"drums", "loud"} and report["floor"] is not None
