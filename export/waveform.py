"""A WAV file as a waveform at the model's rate, inside the graph."""

from collections.abc import Callable
from functools import partial
from math import ceil

import tensorflow as tf

from genre_tagger.data.decode import PCM16_SCALE
from genre_tagger.export.contract import SILENCE, WAV_RATES_HZ
from genre_tagger.export.resample import Polyphase, design, resampled_length
from genre_tagger.export.wav import WavHeader, read_header, read_mono

BLOCK_SECONDS = 10  # are decoded and resampled at a time, so that a long file is never whole in memory as floats

MAX_PEAK = 2**31  # integers that nobody scaled stay below; far above it, powers in the spectrum overflow

NOT_FINITE = "NaN or infinity among its samples"
TOO_LOUD = f"samples above {MAX_PEAK}, expected a full scale of 1"


def waveform_reader(target_hz: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """A function of stock ops: bytes of a WAV file, a scalar string -> (waveform [samples] at `target_hz`, error).

    What `genre_tagger.data.decode` does to a file is done here too: the mean of the channels, resampled, clipped to
    [-1, 1]; NaN, silence and absurd peaks are refused. A refused file has no samples and a message, others an empty
    one.

    Raises:
        UserError: the rate has no small ratio to those of WAV_RATES_HZ.
    """
    filters = [design(source_hz, target_hz) for source_hz in WAV_RATES_HZ]
    shared_read_mono = tf.function(read_mono)  # one in the graph for all rates: it loads in less time

    def read(audio):
        header = read_header(audio)
        read_block = partial(shared_read_mono, audio, header)
        branches = [
            partial(_resampled, read_block, header.frames, source_hz, resample)
            for source_hz, resample in zip(WAV_RATES_HZ, filters, strict=True)
        ]
        samples, is_finite = tf.switch_case(header.rate_index, branches)
        waveform = samples[: header_samples(header, target_hz)]
        error = tf.where(header.error == "", sample_error(waveform, is_finite), header.error)
        return tf.clip_by_value(waveform, -1, 1)[: tf.where(error == "", tf.size(waveform), 0)], error

    return tf.function(read, input_signature=[tf.TensorSpec([], tf.string)])


def header_samples(header: WavHeader, target_hz: int) -> tf.Tensor:
    """Samples that a file will have at the model's rate, by its header alone."""
    return resampled_length(header.frames, tf.gather(tf.constant(WAV_RATES_HZ, tf.int64), header.rate_index), target_hz)


def sample_error(waveform: tf.Tensor, is_finite: tf.Tensor) -> tf.Tensor:
    """What is wrong with samples [..., samples], of which it is known whether all are finite: string [...]."""
    peak = tf.reduce_max(tf.abs(waveform), axis=-1)
    error = tf.where(peak > MAX_PEAK, TOO_LOUD, tf.where(peak < 0.5 / PCM16_SCALE, SILENCE, ""))
    return tf.where(is_finite, error, NOT_FINITE)


def _resampled(
    read_block: Callable[..., tf.Tensor], frames: tf.Tensor, source_hz: int, resample: Polyphase
) -> tuple[tf.Tensor, tf.Tensor]:
    """The whole file, some zeros behind it included, and whether all its samples are finite, before and after."""
    groups = ceil(BLOCK_SECONDS * source_hz / resample.inputs)
    block_frames, context = groups * resample.inputs, resample.context * resample.inputs

    def one_block(number):
        start = number * block_frames - context
        mono = read_block(start, tf.constant(block_frames + 2 * context, tf.int64))
        samples = tf.ensure_shape(resample(mono), [groups * resample.outputs])
        return samples, tf.reduce_all(tf.math.is_finite(mono)) & tf.reduce_all(tf.math.is_finite(samples))

    numbers = tf.range(-(-frames // block_frames))
    kinds = (tf.TensorSpec([groups * resample.outputs], tf.float32), tf.TensorSpec([], tf.bool))
    blocks, finite = tf.map_fn(one_block, numbers, fn_output_signature=kinds)
    return tf.reshape(blocks, [-1]), tf.reduce_all(finite)
