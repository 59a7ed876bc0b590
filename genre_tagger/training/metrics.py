"""Running ROC-AUC and PR-AUC for the training log."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

# Spaced on the logit: scores of rare tags crowd near 0, where even thresholds are off by up to 0.16.
_THRESHOLDS = (1.0 / (1.0 + np.exp(-np.linspace(-16.0, 8.0, 400)))).tolist()


@keras.saving.register_keras_serializable("genre_tagger")
class MaskedAUC(keras.metrics.AUC):
    """Keras' multi-label AUC without the labels nobody gave: y_true [batch, tags] is 0, 1 or -1 (unknown)."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        # Keras' own count takes no static batch size in a graph (3.15), and compares four times for this one.
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        weight = ops.cast(y_true >= 0, "float32")
        if sample_weight is not None:
            weight = weight * ops.cast(sample_weight, "float32")
        above = ops.cast(y_pred > ops.convert_to_tensor(self.thresholds, "float32")[:, None, None], "float32")
        self._count(self.true_positives, self.false_negatives, above, weight * y_true)
        self._count(self.false_positives, self.true_negatives, above, weight * (1.0 - y_true))

    def _count(self, hits, misses, above, weight):
        """Adds weights [batch, tags] of scores above and below each threshold to counts [thresholds, tags]."""
        counted = ops.einsum("abc,bc->ac", above, weight)
        hits.assign_add(counted)
        misses.assign_add(ops.sum(weight, axis=0) - counted)

    def get_config(self):
        # Keras hands out a tensor here and cannot read it back.
        return {**super().get_config(), "label_weights": np.asarray(self.label_weights).tolist()}


def running_aucs(two_sided: Sequence[bool]) -> list[keras.metrics.Metric]:
    """ROC-AUC and PR-AUC averaged over the tags with positives and negatives among the training labels.

    Args:
        two_sided: for each tag, whether it has both; Keras counts one that has not as 0 in the mean.
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
