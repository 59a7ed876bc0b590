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
        known = ops.cast(y_true >= 0, "float32")
        weight = known if sample_weight is None else known * sample_weight
        return super().update_state(ops.maximum(y_true, 0), y_pred, weight)

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
