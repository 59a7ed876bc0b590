"""The training loss."""

from typing import Any

import keras
from keras import ops

EPSILON = 1e-5


@keras.saving.register_keras_serializable("genre_tagger")
class WeightedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy with a weighted positive term, which ignores unknown labels.

    The loss is the mean of `-(alpha * y * log(p + 1e-5) + (1 - y) * log(1 - p + 1e-5))` over the known labels of the
    batch, where `y` is the label and `p` the probability. `y_true` is [batch, tags] with values 0, 1 and -1 (unknown).
    `y_pred` is [batch, tags] and holds probabilities.

    Args:
        alpha: weight of the positive term.
        name: name of the loss.
    """

    def __init__(self, alpha: float = 1.0, name: str = "weighted_binary_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.alpha = alpha

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.cast(y_true >= 0, y_pred.dtype)
        positive = self.alpha * y_true * ops.log(y_pred + EPSILON)
        negative = (1.0 - y_true) * ops.log(1.0 - y_pred + EPSILON)
        # Keras averages the result over the batch. Dividing by the share of known labels turns this average into the
        # mean over the known labels.
        share = ops.maximum(ops.mean(known), 1e-7)
        return -ops.mean(known * (positive + negative), axis=-1) / share

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}
