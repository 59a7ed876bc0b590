"""Adam whose update is one kernel a variable under TensorFlow."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("genre_tagger")
class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam (arXiv 1412.6980) with TensorFlow's fused update: the same numbers, one op a variable for twenty.

    The model has hundreds of small variables, and tracing their separate update ops is most of the first step's wait.
    Other backends keep Keras' own update.
    """

    def apply(self, grads, trainable_variables=None):
        if keras.backend.backend() == "tensorflow":
            self._settings = self._kernel_settings()
        return super().apply(grads, trainable_variables)

    def _kernel_settings(self):
        """What the updates of all variables share, so that it is in the graph once."""
        step = ops.cast(self.iterations + 1, "float32")
        settings = {"beta1": self.beta_1, "beta2": self.beta_2, "epsilon": self.epsilon}
        powers = {"beta1_power": self.beta_1**step, "beta2_power": self.beta_2**step}
        return {name: ops.convert_to_tensor(value, "float32") for name, value in {**settings, **powers}.items()}

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:  # the fused kernel has no AMSGrad
            return super().update_step(gradient, variable, learning_rate)
        import tensorflow as tf

        index = self._get_variable_index(variable)
        return tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            lr=learning_rate,
            grad=gradient,
            **self._settings,
        )
