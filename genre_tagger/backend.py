"""The check for the backend of Keras."""

import keras

from genre_tagger.errors import UserError


def check_backend() -> None:
    """Check that Keras runs on TensorFlow.

    Raises:
        UserError: Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND: found {keras.backend.backend()!r}, expected 'tensorflow', because tf.data reads the data "
            "(only the models run on other backends)"
        )
