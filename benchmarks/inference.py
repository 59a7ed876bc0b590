"""Compare inference of preset `stable`, front-end included, with plain Keras, and the front-end with librosa.

    python -m benchmarks.inference [--quick]

The tagger runs as it is served: one graph, `training=False`, with batch norm folded into the convolutions and the
WaveNet cut to the receptive field of its last step. The plain Keras model also runs as a graph. Batches have 16 clips
of noise. Values are medians of ten batches. The candidates are measured in turn.
"""

from collections.abc import Callable

import keras
import librosa
import numpy as np
import tensorflow as tf

from benchmarks._common import NUM_TAGS, Measurement, matrix_rate, medians, options, print_table, scaled, stable_config
from benchmarks.plain_keras import plain_tagger
from genre_tagger.config import FrontendConfig
from genre_tagger.models.tagger import build_tagger, frontend_layer

REPEATS = 10
CLIP_MS, CLIP_STRETCH_MS = 75.0, 60.0


def main() -> None:
    quick = options(__doc__).parse_args().quick
    config = stable_config(quick)
    rate_before = matrix_rate()
    clips = config.training.batch_size
    waveform = np.random.default_rng(0).normal(0, 0.1, (clips, config.window_samples)).astype(np.float32)
    figures = medians(
        3 if quick else REPEATS,
        graph(build_tagger(config, NUM_TAGS), waveform),
        graph(plain_tagger(config, NUM_TAGS), waveform),
        graph(frontend_layer(config), waveform),
        lambda: librosa_log_mel(waveform, config.frontend),
    )
    tagger, plain, frontend, reference = (1000 * figure / clips for figure in figures)
    rate = (rate_before + matrix_rate()) / 2
    targets = scaled(CLIP_MS, rate), scaled(CLIP_STRETCH_MS, rate)
    rows = [
        Measurement("tagger, front-end included", "ms per clip", tagger, *targets, "plain Keras", plain),
        Measurement("front-end alone", "ms per clip", frontend, rival="librosa", rival_figure=reference),
    ]
    print_table(f"inference, {clips} x {config.window.seconds} s", rate, rows)


def graph(layer: keras.layers.Layer, waveform: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a function that calls the layer or model on the batch as a TensorFlow graph."""
    serve = tf.function(lambda batch: layer(batch, training=False))
    batch = tf.constant(waveform)
    return lambda: serve(batch).numpy()


def librosa_log_mel(waveform: np.ndarray, config: FrontendConfig) -> list[np.ndarray]:
    """Compute the front-end's output clip by clip, because librosa clamps relative to the maximum of its input."""
    settings = {"n_fft": config.n_fft, "hop_length": config.hop_length, "n_mels": config.n_mels}
    mels = (librosa.feature.melspectrogram(y=clip, sr=config.sample_rate, **settings) for clip in waveform)
    return [librosa.power_to_db(mel**config.mel_exponent, amin=config.amin, top_db=config.top_db) for mel in mels]


if __name__ == "__main__":
    main()
