"""Compare the first and the steady training step of preset `stable` with those of plain Keras.

    python -m benchmarks.training_step [--skip-rival] [--quick]

A step has 16 clips of 29.12 s. Times are measured inside `model.fit`, on random audio and labels in memory. The first
step is the time from the call of `fit` to the end of its first batch, tracing included. The steady step is the median
of the five steps after it.
"""

import statistics
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from benchmarks._common import NUM_TAGS, Measurement, matrix_rate, options, print_table, say, scaled, stable_config
from benchmarks.plain_keras import compiled_plain_tagger
from genre_tagger.config import Config
from genre_tagger.training.fit import compiled_tagger

STEADY_STEPS = 5
FIRST_STEP_SECONDS, FIRST_STEP_STRETCH = 35.0, 30.0
STEADY_STEP_SECONDS, STEADY_STEP_STRETCH = 6.5, 5.0


class BatchEnds(keras.callbacks.Callback):
    """Record the time at which each batch ends."""

    def __init__(self):
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        self.times.append(time.perf_counter())


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--skip-rival", action="store_true", help="measure only the tagger, not plain Keras")
    arguments = parser.parse_args()
    config = stable_config(arguments.quick)
    rate_before = matrix_rate()
    say("training the tagger")
    first, steady = step_seconds(lambda: compiled_tagger(config, [True] * NUM_TAGS, 1 + STEADY_STEPS), config)
    plain_first = plain_steady = None
    if not arguments.skip_rival:
        say("training the plain Keras model")
        plain_first, plain_steady = step_seconds(lambda: compiled_plain_tagger(config, NUM_TAGS), config)
    rate = (rate_before + matrix_rate()) / 2
    targets = [scaled(figure, rate) for figure in (FIRST_STEP_SECONDS, FIRST_STEP_STRETCH)]
    steady_targets = [scaled(figure, rate) for figure in (STEADY_STEP_SECONDS, STEADY_STEP_STRETCH)]
    rival = "" if arguments.skip_rival else "plain Keras"
    rows = [
        Measurement("first step", "s", first, *targets, rival, plain_first),
        Measurement("steady step", "s", steady, *steady_targets, rival, plain_steady),
    ]
    print_table(f"training, {config.training.batch_size} x {config.window.seconds} s", rate, rows)


def step_seconds(build: Callable[[], keras.Model], config: Config) -> tuple[float, float]:
    """Return the seconds of the first and of the steady step of the compiled model that `build` returns."""
    model, ends = build(), BatchEnds()
    data = random_batches(config)
    start = time.perf_counter()
    model.fit(data, steps_per_epoch=1 + STEADY_STEPS, verbose=0, shuffle=False, callbacks=[ends])
    durations = [end - begin for begin, end in zip([start, *ends.times], ends.times, strict=False)]
    return durations[0], statistics.median(durations[1:])


def random_batches(config: Config) -> tf.data.Dataset:
    """Repeat one batch of noise and labels endlessly. As in the input pipeline, the batch axis has no static size."""
    size = config.training.batch_size
    waveform = tf.random.stateless_normal((size, config.window_samples), seed=(0, 0), stddev=0.1)
    labels = tf.random.stateless_uniform((size, NUM_TAGS), seed=(0, 1), maxval=2, dtype=tf.int32)
    clips = tf.data.Dataset.from_tensor_slices((waveform, tf.cast(labels, tf.float32)))
    return clips.repeat().batch(size).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    main()
