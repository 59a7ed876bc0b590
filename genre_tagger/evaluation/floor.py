"""The floor that a network has to beat: logistic regression on the time statistics of a log-mel spectrogram."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from genre_tagger.data.clips import UNKNOWN


def log_mel_statistics(log_mel: np.ndarray) -> np.ndarray:
    """Sums a clip up by the mean, the deviation and the mean absolute step over time of each band.

    Args:
        log_mel: [frames, mels], in dB, at least one frame.

    Returns:
        float32 [3 * mels]: all means, then all deviations, then all steps (0 when there is one frame only).
    """
    steps = np.abs(np.diff(log_mel, axis=0)).sum(axis=0) / max(len(log_mel) - 1, 1)
    return np.concatenate([log_mel.mean(axis=0), log_mel.std(axis=0), steps]).astype(np.float32)


def fit_regressions(features_train: np.ndarray, labels_train: np.ndarray, features_test: np.ndarray) -> np.ndarray:
    """Fits one logistic regression a tag on its known labels and scores other clips.

    Args:
        features_train: [clips, features].
        labels_train: int8 [clips, tags], 1, 0 or -1 for unknown.
        features_test: [test clips, features].

    Returns:
        float32 [test clips, tags], probabilities. A tag whose known labels are all alike scores that label's value
        for every clip, and 0 when none is known.
    """
    scaler = StandardScaler().fit(features_train)
    train, test = scaler.transform(features_train), scaler.transform(features_test)
    return np.stack([_score_tag(train, labels, test) for labels in labels_train.T], axis=1).astype(np.float32)


def _score_tag(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    known = labels != UNKNOWN
    values = np.unique(labels[known])
    if values.size < 2:
        return np.full(len(test), values.sum(), dtype=np.float64)
    # Neighbouring bands say nearly the same: gradient solvers need hundreds of steps there, Newton's about ten.
    regression = LogisticRegression(solver="newton-cholesky", max_iter=100)
    return regression.fit(train[known], labels[known]).predict_proba(test)[:, 1]
