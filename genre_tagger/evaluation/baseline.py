"""The baseline that a network has to beat: logistic regression on statistics of the log-mel spectrogram over time."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from genre_tagger.sources.clips import UNKNOWN


def log_mel_statistics(log_mel: np.ndarray) -> np.ndarray:
    """Summarise a clip by the mean, standard deviation and mean absolute step over time of each mel band.

    Args:
        log_mel: float [frames, mels], in dB, with at least one frame.

    Returns:
        float32 [3 * mels]: all means, then all deviations, then all steps (0 if there is only one frame).
    """
    steps = np.abs(np.diff(log_mel, axis=0)).sum(axis=0) / max(len(log_mel) - 1, 1)
    statistics: np.ndarray = np.concatenate([log_mel.mean(axis=0), log_mel.std(axis=0), steps])
    return statistics.astype(np.float32)


def fit_regressions(features_train: np.ndarray, labels_train: np.ndarray, features_test: np.ndarray) -> np.ndarray:
    """Fit one logistic regression per tag on its known labels and score other clips.

    Args:
        features_train: float [clips, features], features of the training clips.
        labels_train: int8 [clips, tags], 1, 0 or -1 for unknown.
        features_test: float [test clips, features], features of the clips to score.

    Returns:
        float32 [test clips, tags], probabilities. If all known labels of a tag have the same value, every clip gets
        that value; if no label is known, every clip gets 0.
    """
    scaler = StandardScaler().fit(features_train)
    train, test = scaler.transform(features_train), scaler.transform(features_test)
    scores: np.ndarray = np.stack([_score_tag(train, labels, test) for labels in labels_train.T], axis=1)
    return scores.astype(np.float32)


def _score_tag(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    known = labels != UNKNOWN
    values = np.unique(labels[known])
    if values.size < 2:
        return np.full(len(test), values.sum(), dtype=np.float64)
    # Neighbouring bands are highly correlated: gradient solvers need hundreds of steps, Newton's method about ten.
    regression = LogisticRegression(solver="newton-cholesky", max_iter=100)
    probabilities: np.ndarray = regression.fit(train[known], labels[known]).predict_proba(test)
    return probabilities[:, 1]
