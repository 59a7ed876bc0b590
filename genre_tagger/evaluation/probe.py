"""Linear probing: one logistic regression per tag on the embeddings of a trained run, whose network is not changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genre_tagger.config import Config
from genre_tagger.dataset.dataset import Dataset, LabelledClips
from genre_tagger.dataset.pipeline import evaluation_windows
from genre_tagger.dataset.request import DataRequest
from genre_tagger.evaluation.baseline import fit_regressions
from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions
from genre_tagger.evaluation.evaluate_run import fitted_baseline, predictions_of
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.models.tagger import load_tagger, with_embedding
from genre_tagger.runs.directory import open_run
from genre_tagger.runs.run_data import open_data


@dataclass(frozen=True)
class ProbeRequest:
    """One probe of a run.

    Attributes:
        run: the run directory. Nothing is written into it.
        data: the collection, which may have other tags than the run.
        families: family of each tag; by default those of `families.tsv`.
    """

    run: Path
    data: DataRequest
    families: Mapping[str, str] | None = None


def probe(request: ProbeRequest) -> dict[str, Any]:
    """Evaluate a linear head on a run's embeddings of a collection.

    Args:
        request: the run and the collection.

    Returns:
        The metrics, see `evaluate_predictions`.

    Raises:
        UserError: the run does not exist, or the data cannot be opened.
    """
    run, config = open_run(request.run)
    model = load_tagger(run.model)
    opened = open_data(request.data, config)
    return probe_model(model, config, opened.dataset, request.families)


def probe_model(
    model: keras.Model, config: Config, dataset: Dataset, families: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Fit a linear head on the embeddings of the training clips and evaluate it on the test clips.

    The embedding of a clip is computed from the embeddings of its windows, pooled in the same way as scores.

    Args:
        model: tagger, trained on any tags.
        config: configuration of the model.
        dataset: clips at the sample rate of the model, labelled with any tags.
        families: family of each tag; by default those of `families.tsv`.

    Returns:
        The metrics, see `evaluate_predictions`. They include the logistic-regression baseline on log-mel statistics.
    """
    embedder = keras.Model(model.inputs[0], with_embedding(model).outputs[1])
    train, test = dataset.splits["train"], dataset.splits["test"]
    scores = fit_regressions(_embeddings(embedder, train, config), train.labels, _embeddings(embedder, test, config))
    predictions = predictions_of(dataset, {"test": scores})
    return evaluate_predictions(
        predictions, families=families, baseline=fitted_baseline(config, dataset), seed=config.seed
    )


def _embeddings(embedder: keras.Model, clips: LabelledClips, config: Config) -> np.ndarray:
    return score_clips(embedder, evaluation_windows(clips.reader, config), clips.numbers, config)
