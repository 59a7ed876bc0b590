"""What a run's embeddings know of a tag set: one logistic regression a tag on them, the network left as it is."""

from collections.abc import Mapping

import keras
import numpy as np

from genre_tagger.config import Config
from genre_tagger.data.dataset import Dataset, LabelledClips
from genre_tagger.data.pipeline import evaluation_windows
from genre_tagger.evaluation.evaluate import fitted_floor, predictions_of
from genre_tagger.evaluation.floor import fit_regressions
from genre_tagger.evaluation.report import evaluate_predictions
from genre_tagger.evaluation.scoring import score_clips
from genre_tagger.models.tagger import OUTPUT_NAME


def probe_model(
    model: keras.Model, config: Config, dataset: Dataset, families: Mapping[str, str] | None = None
) -> dict:
    """Fits a linear head on the training clips' embeddings and evaluates it on the test clips.

    Args:
        model: a tagger, of whatever tags.
        config: its configuration; a clip's embedding is that of its windows, pooled as scores are.
        dataset: clips at the model's rate, of whatever tags.
        families: the family of each tag, by default those of `families.tsv`.

    Returns:
        The same as `evaluate_predictions`, with the logistic-regression floor on log-mel statistics beside it.
    """
    embedder = keras.Model(model.inputs[0], model.get_layer(OUTPUT_NAME).input)
    train, test = dataset.splits["train"], dataset.splits["test"]
    scores = fit_regressions(_embeddings(embedder, train, config), train.labels, _embeddings(embedder, test, config))
    predictions = predictions_of(dataset, {"test": scores})
    return evaluate_predictions(predictions, families=families, floor=fitted_floor(config, dataset), seed=config.seed)


def _embeddings(embedder: keras.Model, clips: LabelledClips, config: Config) -> np.ndarray:
    return score_clips(embedder, evaluation_windows(clips.reader, config), clips.numbers, config)
