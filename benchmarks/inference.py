"""Inference with preset `stable` at batch 16, front-end included, beside plain Keras; the front-end beside librosa.

    python -m benchmarks.inference [--quick]

The tagger runs as it is served: one graph, `training=False`, where batch norm is folded into the convolutions and the
WaveNet is cut to the frames that its last step sees. The plain Keras model runs as a graph too. Medians of ten
batches of noise, by turns.
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
CLIP_MS, CLIP_PROUD_MS = 75.0, 60.0


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
    targets = scaled(CLIP_MS, rate), scaled(CLIP_PROUD_MS, rate)
    rows = [
        Measurement("tagger, front-end included", "ms a clip", tagger, *targets, "plain Keras", plain),
        Measurement("front-end alone", "ms a clip", frontend, rival="librosa", rival_figure=reference),
    ]
    print_table(f"inference, {clips} x {config.window.seconds} s", rate, rows)


def graph(layer: keras.layers.Layer, waveform: np.ndarray) -> Callable[[], np.ndarray]:
    """A call of the layer or model on the batch, as a TensorFlow graph."""
    serve = tf.function(lambda batch: layer(batch, training=False))
    batch = tf.constant(waveform)
    return lambda: serve(batch).numpy()


def librosa_log_mel(waveform: np.ndarray, config: FrontendConfig) -> list[np.ndarray]:
    """What the front-end computes, clip by clip: librosa clamps below the loudest value of whatever it is given."""
    settings = {"n_fft": config.n_fft, "hop_length": config.hop_length, "n_mels": config.n_mels}
    mels = (librosa.feature.melspectrogram(y=clip, sr=config.sample_rate, **settings) for clip in waveform)
    return [librosa.power_to_db(mel**config.mel_exponent, amin=config.amin, top_db=config.top_db) for mel in mels]


if __name__ == "__main__":
    main()
