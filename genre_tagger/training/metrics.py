"""Running ROC-AUC and PR-AUC, approximations that are logged during training."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

# Thresholds are spaced evenly on the logit scale. Most scores of rare tags are near 0. Thresholds spaced evenly on
# the probability scale are too coarse there and change the AUC by up to 0.16.
_THRESHOLDS = (1.0 / (1.0 + np.exp(-np.linspace(-16.0, 8.0, 400)))).tolist()


@keras.saving.register_keras_serializable("genre_tagger")
class MaskedAUC(keras.metrics.AUC):
    """Keras' multi-label AUC, but unknown labels are ignored.

    `y_true` is [batch, tags] with values 0, 1 and -1 (unknown). `y_pred` is [batch, tags] and holds probabilities.
    """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        # Keras' own update (3.15) fails on a static batch size in a graph, and compares the scores four times.
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        weight = ops.cast(y_true >= 0, "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")
        above = ops.cast(y_pred > ops.convert_to_tensor(self.thresholds, "float32")[:, None, None], "float32")
        self._count(self.true_positives, self.false_negatives, above, weight * y_true)
        self._count(self.false_positives, self.true_negatives, above, weight * (1.0 - y_true))

    def _count(self, hits: Any, misses: Any, above: Any, weight: Any) -> None:
        """Add the weights [batch, tags] of scores above and below each threshold to the counts [thresholds, tags]."""
        counted = ops.einsum("abc,bc->ac", above, weight)
        hits.assign_add(counted)
        misses.assign_add(ops.sum(weight, axis=0) - counted)

    def get_config(self) -> dict[str, Any]:
        # Keras returns a tensor here, which it cannot deserialise.
        return {**super().get_config(), "label_weights": np.asarray(self.label_weights).tolist()}


def running_aucs(two_sided: Sequence[bool]) -> list[keras.metrics.Metric]:
    """Return metrics for the ROC-AUC and PR-AUC, averaged over the tags with both positives and negatives.

    Args:
        two_sided: for each tag, whether it has both positive and negative labels. Tags with only one kind of label are
            left out, because Keras would count their AUC as 0.

    Returns:
        Two metrics, named `roc_auc` and `pr_auc`.
    """
    return [
        MaskedAUC(
            curve=curve,
            multi_label=True,
            num_labels=len(two_sided),
            label_weights=[float(both) for both in two_sided],
            thresholds=_THRESHOLDS,
            name=name,
        )
        for curve, name in (("ROC", "roc_auc"), ("PR", "pr_auc"))
    ]
