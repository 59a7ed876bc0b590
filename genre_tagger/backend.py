"""Which backend Keras runs on."""

import keras

from genre_tagger.errors import UserError


def check_backend() -> None:
    """Raises UserError where Keras runs on another backend than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND: found {keras.backend.backend()!r}, expected 'tensorflow': the commands read their data by "
            "tf.data (the models alone run on other backends)"
        )
