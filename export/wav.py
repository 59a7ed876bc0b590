"""A WAV reader built from stock TensorFlow ops: it turns bytes into mono samples inside the graph.

`tf.audio.decode_wav` supports 16-bit PCM only. It also raises an exception for an unsupported file, which would fail
every request that a server merged into the same batch. The reader in this module returns an error message instead.
"""

from typing import NamedTuple

import tensorflow as tf

from genre_tagger.audio.decode import MIN_SECONDS
from genre_tagger.export.contract import WAV_MAX_SECONDS, WAV_RATES_HZ

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
ENCODINGS = ((PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32))  # (format code, bits), in the order of `_DECODERS`
STREAMED_SIZE = 0xFFFFFFFF  # written by programs that cannot seek; the data chunk then extends to the end of the file
MAX_CHUNKS = 1000  # without a limit, a file of empty chunks would keep the loop busy for minutes
FORMAT_BYTES = 26  # size of the format chunk up to and including the subformat code of WAVE_FORMAT_EXTENSIBLE


class WavHeader(NamedTuple):
    """The header of a WAV file, as scalar tensors. A rejected file has an error and zero frames.

    Attributes:
        error: string, empty if the file can be read.
        rate_index: int32, index of the sample rate in WAV_RATES_HZ.
        encoding: int32, index of the encoding in ENCODINGS.
        channels: int32, number of channels.
        data_at: int64, position of the first sample in bytes.
        frames: int64, number of samples per channel.
    """

    error: tf.Tensor
    rate_index: tf.Tensor
    encoding: tf.Tensor
    channels: tf.Tensor
    data_at: tf.Tensor
    frames: tf.Tensor

    @staticmethod
    def specs() -> "WavHeader":
        """Return the type of each field, for `tf.map_fn`."""
        scalar = [tf.TensorSpec([], kind) for kind in (tf.string, tf.int32, tf.int32, tf.int32, tf.int64, tf.int64)]
        return WavHeader(*scalar)


def read_header(audio: tf.Tensor) -> WavHeader:
    """Read the header of a WAV file, given as a scalar string. Problems are reported in the field `error`."""
    size = _length(audio)
    format_at, data_at, claimed = _find_chunks(audio, size)
    code, channels, rate_hz, frame_bytes, bits = _read_format(audio, format_at)
    there = size - data_at
    data_bytes = tf.where(claimed == STREAMED_SIZE, there, claimed)
    frames = data_bytes // tf.maximum(frame_bytes, 1)
    is_encoding = tf.constant(ENCODINGS, tf.int64) == tf.stack([code, bits])
    encoding_matches = tf.reduce_all(is_encoding, axis=1)
    rate_matches = tf.constant(WAV_RATES_HZ, tf.int64) == rate_hz
    seconds = tf.cast(frames, tf.float64) / tf.cast(tf.maximum(rate_hz, 1), tf.float64)
    error = _first_error(
        (~_is_wave(audio), _text("not a WAV file: found ", size, " bytes that do not start with RIFF and WAVE")),
        (format_at < 0, _text("found no format chunk before the audio, expected a whole WAV file")),
        (data_at < 0, _text("found no data chunk, expected a whole WAV file")),
        (~tf.reduce_any(encoding_matches), _wrong_encoding(code, bits)),
        ((channels < 1) | (channels > 2), _text("found ", channels, " channels, expected 1 or 2")),
        (~tf.reduce_any(rate_matches), _text("found a rate of ", rate_hz, " Hz, expected one of ", _RATES)),
        (
            frame_bytes * 8 != channels * bits,
            _text("found frames of ", frame_bytes, " bytes, expected ", channels * bits // 8),
        ),
        (there < data_bytes, _text("truncated: expected ", data_bytes, " bytes of audio, found ", there)),
        (frames < 1, _text("found no samples")),
        (
            seconds < MIN_SECONDS,
            _text("only ", _decimal(seconds), f" s long, expected at least {MIN_SECONDS} s"),
        ),
        (
            seconds > WAV_MAX_SECONDS,
            _text(_decimal(seconds), f" s long, expected at most {WAV_MAX_SECONDS} s; send it in parts"),
        ),
    )
    good = error == ""
    return WavHeader(
        error=error,
        rate_index=_index_of(rate_matches),
        encoding=_index_of(encoding_matches),
        channels=tf.where(good, tf.cast(channels, tf.int32), 1),
        data_at=tf.where(good, data_at, 0),
        frames=tf.where(good, frames, 0),
    )


def read_mono(audio: tf.Tensor, header: WavHeader, start: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Decode a range of frames and average their channels.

    Args:
        audio: bytes of the file, a scalar string.
        header: header of the file.
        start: int64, index of the first frame. It may be negative or beyond the end of the file.
        count: int64, number of frames.

    Returns:
        float32 [count] with full scale 1. Frames before the start or after the end of the file are zero.
    """
    first, end = (tf.clip_by_value(frame, 0, header.frames) for frame in (start, start + count))
    sample_bytes = tf.gather(tf.constant([bits // 8 for _, bits in ENCODINGS], tf.int64), header.encoding)
    frame_bytes = tf.cast(header.channels, tf.int64) * sample_bytes
    data = tf.strings.substr(audio, header.data_at + first * frame_bytes, (end - first) * frame_bytes)
    samples = tf.switch_case(header.encoding, [lambda decode=decode: decode(data) for decode in _DECODERS])
    mono = tf.reduce_mean(tf.reshape(samples, [-1, header.channels]), axis=1)
    before = tf.clip_by_value(first - start, 0, count)
    return tf.pad(mono, [[before, count - before - (end - first)]])


_RATES = ", ".join(str(rate) for rate in WAV_RATES_HZ)


def _length(audio: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(audio), tf.int64)


def _bytes(audio: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
    """Return `count` bytes from position `at` as int64 [count], with zeros after the end of the string."""
    part = tf.strings.substr(audio, tf.clip_by_value(at, 0, _length(audio)), tf.constant(count, tf.int64))
    return tf.cast(tf.io.decode_raw(part, tf.uint8, fixed_length=count), tf.int64)


def _number(values: tf.Tensor) -> tf.Tensor:
    """Combine bytes (int64) into a little-endian number."""
    return tf.reduce_sum(values * [256**place for place in range(values.shape[0])])


def _is_wave(audio: tf.Tensor) -> tf.Tensor:
    expected = tf.constant([*b"RIFF", *b"WAVE"], tf.int64)
    start = _bytes(audio, tf.constant(0, tf.int64), 12)
    return tf.reduce_all(tf.concat([start[:4], start[8:]], axis=0) == expected)


def _find_chunks(audio: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the contents of the chunks `fmt ` and `data`.

    Returns:
        Their positions in bytes (-1 for a missing chunk) and the size that the `data` chunk claims.
    """

    def step(at: tf.Tensor, format_at: tf.Tensor, data_at: tf.Tensor, claimed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        name, chunk_size = tf.strings.substr(audio, at, tf.constant(4, tf.int64)), _number(_bytes(audio, at + 4, 4))
        format_at = tf.where(name == "fmt ", at + 8, format_at)
        data_at, claimed = (
            tf.where(name == "data", new, old) for new, old in ((at + 8, data_at), (chunk_size, claimed))
        )
        return tf.minimum(at + 8 + chunk_size + chunk_size % 2, size), format_at, data_at, claimed

    def has_more(at: tf.Tensor, format_at: tf.Tensor, data_at: tf.Tensor, claimed: tf.Tensor) -> tf.Tensor:
        return (data_at < 0) & (at + 8 <= size)

    missing = tf.constant(-1, tf.int64)
    start = (tf.constant(12, tf.int64), missing, missing, tf.constant(0, tf.int64))
    return tf.while_loop(has_more, step, start, maximum_iterations=MAX_CHUNKS)[1:]


def _read_format(audio: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Return the format code, channels, rate in hertz, bytes per frame and bits per sample, each int64."""
    values = _bytes(audio, at, FORMAT_BYTES)
    code, channels, rate_hz = _number(values[0:2]), _number(values[2:4]), _number(values[4:8])
    code = tf.where(code == EXTENSIBLE, _number(values[24:26]), code)
    return code, channels, rate_hz, _number(values[12:14]), _number(values[14:16])


def _wrong_encoding(code: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    kind = tf.where(code == PCM, "-bit PCM", "-bit float")
    is_plain = (code == PCM) | (code == FLOAT)
    found = tf.where(is_plain, _text(bits, kind), _text("compressed audio (format code ", code, ")"))
    return _text("found ", found, ", expected PCM of 16, 24 or 32 bits or 32-bit float")


def _first_error(*checks: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Return the message of the first check whose condition is true, or an empty string."""
    error = tf.constant("")
    for holds, message in reversed(checks):
        error = tf.where(holds, message, error)
    return error


def _text(*parts: tf.Tensor | str) -> tf.Tensor:
    strings = [
        part if isinstance(part, str) or part.dtype == tf.string else tf.strings.as_string(part) for part in parts
    ]
    return tf.strings.join(strings)


def _decimal(seconds: tf.Tensor) -> tf.Tensor:
    return tf.strings.as_string(seconds, precision=3)


def _index_of(matches: tf.Tensor) -> tf.Tensor:
    """Return the index of the match, or 0 without a match."""
    return tf.argmax(tf.cast(matches, tf.int32), output_type=tf.int32)


def _from_int(data: tf.Tensor, kind: tf.DType) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(data, kind), tf.float32) * (1.0 / -kind.min)


def _from_int24(data: tf.Tensor) -> tf.Tensor:
    low, middle, high = tf.unstack(tf.cast(tf.reshape(tf.io.decode_raw(data, tf.uint8), [-1, 3]), tf.int32), axis=1)
    unsigned = low + middle * 2**8 + high * 2**16
    return tf.cast(unsigned - tf.where(high < 128, 0, 2**24), tf.float32) * (1.0 / 2**23)


_DECODERS = (
    lambda data: _from_int(data, tf.int16),
    _from_int24,
    lambda data: _from_int(data, tf.int32),
    lambda data: tf.io.decode_raw(data, tf.float32),
)
