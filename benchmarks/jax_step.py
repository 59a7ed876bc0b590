"""Measure a training step under JAX on the available accelerator, without TensorFlow.

    KERAS_BACKEND=jax python -m benchmarks.jax_step [--presets stable,best] [--batches 16,128] [--quick]

For every preset, batch size and precision, the script prints the milliseconds of a step (median of 20), clips per
second, the percentage of the chip's matrix rate and memory bandwidth (both measured by the script), and the seconds for
10 epochs of MagnaTagATune's 18,102 clips, without the time to read them. XLA counts the operations of the step before
compilation, because the vendor's compiled convolutions hide theirs. It counts the bytes after compilation.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from genre_tagger.config import load_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.training.losses import WeightedBinaryCrossentropy
from genre_tagger.training.optimizer import FusedAdam

PRESETS = "stable,crnn_baseline,short_chunk_resnet,best"
PRECISIONS = {"float32": jnp.float32, "mixed_bfloat16": jnp.bfloat16}
NUM_TAGS, EPOCHS, CLIPS = 50, 10, 18_102
REPEATS = 20
COLUMNS = ("preset", "precision", "batch", "ms per step", "clips/s", "matrix rate", "bandwidth", "10 epochs, s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", default=PRESETS)
    parser.add_argument("--batches", default="16,32,64,128")
    parser.add_argument("--quick", action="store_true", help="use tiny sizes to check that the script works")
    arguments = parser.parse_args()
    batches = [2] if arguments.quick else [int(batch) for batch in arguments.batches.split(",")]
    table = Table(*COLUMNS, title=str(jax.devices()[0]))
    for precision, dtype in PRECISIONS.items():
        rates = matrix_rate(dtype, 256 if arguments.quick else 8192), bandwidth(2**20 if arguments.quick else 2**30)
        for preset, batch in itertools.product(arguments.presets.split(","), batches):
            figures = measured(preset, precision, batch, rates, arguments.quick)
            table.add_row(preset, precision, str(batch), *figures)
    Console(width=120).print(table)


def measured(preset: str, precision: str, batch: int, rates: tuple[float, float], quick: bool) -> Sequence[str]:
    """Return the values of one row, as text."""
    keras.config.set_dtype_policy(precision)
    config = load_config(preset, overrides=["window.seconds=1.0", "window.hop_seconds=null"] if quick else [])
    step, state = training_step(config)
    rng = np.random.default_rng(0)
    waveform = jnp.asarray(rng.normal(0, 0.1, (batch, config.window_samples)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 2, (batch, NUM_TAGS)), jnp.float32)
    lowered = step.lower(state, waveform, labels)
    compiled = lowered.compile()
    seconds = median_seconds(lambda: compiled(state, waveform, labels))
    return (
        f"{1000 * seconds:.2f}",
        f"{batch / seconds:,.0f}",
        f"{lowered.cost_analysis()['flops'] / seconds / rates[0]:.1%}",
        f"{compiled.cost_analysis()['bytes accessed'] / seconds / rates[1]:.1%}",
        f"{EPOCHS * CLIPS * seconds / batch:.1f}",
    )


def training_step(config) -> tuple[Callable, tuple]:
    """Return the jitted step (state, waveform, labels) -> (loss, state), and the initial state."""
    model, optimizer = build_tagger(config, NUM_TAGS), FusedAdam(config.training.learning_rate)
    optimizer.build(model.trainable_variables)
    loss = WeightedBinaryCrossentropy(config.training.alpha)

    def loss_of(trainable, others, waveform, labels):
        probabilities, others = model.stateless_call(trainable, others, waveform, training=True)
        return loss(labels, probabilities), others

    @jax.jit
    def step(state, waveform, labels):
        trainable, others, slots = state
        (value, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable, others, waveform, labels)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return value, (trainable, others, slots)

    variables = model.trainable_variables, model.non_trainable_variables, optimizer.variables
    return step, tuple([variable.value for variable in part] for part in variables)


def matrix_rate(dtype, size: int) -> float:
    """Return the operations per second of a square matrix product."""
    matrix = jnp.ones((size, size), dtype)
    product = jax.jit(lambda x: x @ x)
    return 2 * size**3 / median_seconds(lambda: product(matrix))


def bandwidth(count: int) -> float:
    """Return the bytes per second that are read and written when adding one to `count` float32 numbers."""
    numbers = jnp.zeros(count, jnp.float32)
    plus_one = jax.jit(lambda x: x + 1)
    return 2 * 4 * count / median_seconds(lambda: plus_one(numbers))


def median_seconds(call: Callable[[], object]) -> float:
    """Return the median seconds of several calls, after a warm-up call."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
