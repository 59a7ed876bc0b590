"""What a model costs: parameters, arithmetic, time of inference."""

import logging
import time
from collections.abc import Callable

import keras
import tensorflow as tf

BATCH = 16
REPEATS = 7


def count_parameters(model: keras.Model) -> int:
    """Parameters that are trained."""
    return sum(weight.shape.num_elements() for weight in model.trainable_weights)


def inference_graph(model: keras.Model) -> Callable:
    """The model as it is served, for a batch of 16."""
    serve = tf.function(lambda batch: model(batch, training=False))
    return serve.get_concrete_function(tf.TensorSpec((BATCH, *model.input_shape[1:]), tf.float32))


def count_flops(graph: Callable) -> int:
    """Floating-point operations of one example of an inference graph, by TensorFlow's profiler.

    A multiplication and an addition are two. The profiler does not know the Fourier transform, nor what attention
    computes between its steps, and counts neither.
    """
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # the profiler warns of TensorFlow's own use of itself
    try:
        return round(tf.compat.v1.profiler.profile(graph.graph, options=options, cmd="op").total_float_ops / BATCH)
    finally:
        logger.setLevel(level)


def inference_ms(graph: Callable) -> float:
    """Milliseconds of one example of an inference graph, on this machine: of the fastest of a few batches.

    Whatever else the machine does can only make a batch slower.
    """
    batch = tf.zeros(graph.inputs[0].shape)
    graph(batch)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        graph(batch)[0].numpy()
        times.append(time.perf_counter() - start)
    return 1000 * min(times) / BATCH
