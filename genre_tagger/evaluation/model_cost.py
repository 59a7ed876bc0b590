"""The cost of a model: parameters, floating-point operations and inference time."""

import logging
import time
from typing import Any

import keras
import tensorflow as tf

BATCH = 16
REPEATS = 7


def count_parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters."""
    return sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)


def inference_graph(model: keras.Model) -> Any:
    """Return the model in inference mode as a concrete TensorFlow function for a batch of 16."""
    serve = tf.function(lambda batch: model(batch, training=False))
    return serve.get_concrete_function(tf.TensorSpec((BATCH, *model.input_shape[1:]), tf.float32))


def count_flops(graph: Any) -> int:
    """Count the floating-point operations of an inference graph per example, with TensorFlow's profiler.

    A multiplication and an addition count as two operations. The profiler does not count Fourier transforms or the
    products between time steps inside attention.
    """
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # the profiler itself uses deprecated functions and warns of them
    try:
        counted = tf.compat.v1.profiler.profile(graph.graph, options=options, cmd="op")
        return round(int(counted.total_float_ops) / BATCH)
    finally:
        logger.setLevel(level)


def inference_ms(graph: Any) -> float:
    """Measure the milliseconds per example of an inference graph on this machine.

    The fastest of several batches counts, because other processes can only slow a batch down.
    """
    batch = tf.zeros(graph.inputs[0].shape)
    graph(batch)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        graph(batch)[0].numpy()
        times.append(time.perf_counter() - start)
    return 1000 * min(times) / BATCH
