"""Conversion of a WAV file to a waveform at the model's sample rate, inside the TensorFlow graph."""

from collections.abc import Callable
from functools import partial
from math import ceil

import tensorflow as tf

from genre_tagger.audio.decode import NOT_FINITE, PCM16_SCALE
from genre_tagger.export.contract import SILENCE, WAV_RATES_HZ
from genre_tagger.export.resample import Polyphase, design, resampled_length
from genre_tagger.export.wav import WavHeader, read_header, read_mono

BLOCK_SECONDS = 10  # files are read and resampled in blocks, so that not all source samples are held as floats

MAX_PEAK = 2**31  # unscaled 32-bit integers do not exceed it; far above it, powers in the spectrum overflow

TOO_LOUD = f"samples above {MAX_PEAK}, expected a full scale of 1"


def waveform_reader(target_hz: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return a TensorFlow function that converts a WAV file to a waveform, built from stock ops.

    The conversion follows `genre_tagger.audio.decode`: average the channels, resample, clip to [-1, 1]. Files with NaN
    or infinite samples, silent files and files with absurdly high peaks are rejected.

    Args:
        target_hz: sample rate of the waveform in hertz.

    Returns:
        A function from the bytes of a WAV file (scalar string) to the waveform (float32 [samples]) and an error (scalar
        string). A rejected file has an error and no samples. For every other file, the error is empty.

    Raises:
        UserError: a rate in WAV_RATES_HZ has no small integer ratio to `target_hz`.
    """
    filters = [design(source_hz, target_hz) for source_hz in WAV_RATES_HZ]
    # Shared by all rates, so that the graph holds it once and loads faster. AutoGraph is off, see `ServedTagger`.
    shared_read_mono = tf.function(read_mono, autograph=False)

    def read(audio: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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

    return tf.function(read, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def header_samples(header: WavHeader, target_hz: int) -> tf.Tensor:
    """Return the number of samples that a file has after resampling (int64), computed from its header alone.

    Args:
        header: header of the file.
        target_hz: sample rate after resampling, in hertz.
    """
    return resampled_length(header.frames, tf.gather(tf.constant(WAV_RATES_HZ, tf.int64), header.rate_index), target_hz)


def sample_error(waveform: tf.Tensor, is_finite: tf.Tensor) -> tf.Tensor:
    """Return an error for each waveform, empty for a usable one.

    Args:
        waveform: float32 [..., samples].
        is_finite: bool [...], whether all samples of the waveform are finite.

    Returns:
        String tensor [...].
    """
    peak = tf.reduce_max(tf.abs(waveform), axis=-1)
    error = tf.where(peak > MAX_PEAK, TOO_LOUD, tf.where(peak < 0.5 / PCM16_SCALE, SILENCE, ""))
    return tf.where(is_finite, error, NOT_FINITE)


def _resampled(
    read_block: Callable[..., tf.Tensor], frames: tf.Tensor, source_hz: int, resample: Polyphase
) -> tuple[tf.Tensor, tf.Tensor]:
    """Read and resample a whole file, block by block.

    Returns:
        The samples, followed by some zeros, and whether all samples are finite both before and after resampling.
    """
    groups = ceil(BLOCK_SECONDS * source_hz / resample.inputs)
    block_frames, context = groups * resample.inputs, resample.context * resample.inputs

    def one_block(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        start = number * block_frames - context
        mono = read_block(start, tf.constant(block_frames + 2 * context, tf.int64))
        samples = tf.ensure_shape(resample(mono), [groups * resample.outputs])
        return samples, tf.reduce_all(tf.math.is_finite(mono)) & tf.reduce_all(tf.math.is_finite(samples))

    numbers = tf.range(-(-frames // block_frames))
    kinds = (tf.TensorSpec([groups * resample.outputs], tf.float32), tf.TensorSpec([], tf.bool))
    blocks, finite = tf.map_fn(one_block, numbers, fn_output_signature=kinds)
    return tf.reshape(blocks, [-1]), tf.reduce_all(finite)
