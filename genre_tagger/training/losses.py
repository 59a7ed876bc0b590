"""The training loss."""

import keras
from keras import ops

EPSILON = 1e-5


@keras.saving.register_keras_serializable("genre_tagger")
class WeightedBinaryCrossentropy(keras.losses.Loss):
    """Binary cross-entropy whose positive term is multiplied by alpha; unknown labels (-1) count nothing.

    `-(alpha * y * log(p + 1e-5) + (1 - y) * log(1 - p + 1e-5))`, mean over the known labels of the batch.
    y_true: [batch, tags], 0, 1 or -1; y_pred: probabilities [batch, tags].
    """

    def __init__(self, alpha=1.0, name="weighted_binary_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.alpha = alpha

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, y_pred.dtype)
        known = ops.cast(y_true >= 0, y_pred.dtype)
        positive = self.alpha * y_true * ops.log(y_pred + EPSILON)
        negative = (1.0 - y_true) * ops.log(1.0 - y_pred + EPSILON)
        # Scaled so that Keras' mean over the batch is the mean over the known labels.
        share = ops.maximum(ops.mean(known), 1e-7)
        return -ops.mean(known * (positive + negative), axis=-1) / share

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}
