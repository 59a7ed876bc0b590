"""Decode audio files to mono waveforms at the model's sample rate.

The decoding processes import this module, so its imports must stay few and fast.
"""

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import soundfile
import soxr

from genre_tagger.audio import ffmpeg
from genre_tagger.audio.archive import Damaged, PackedFile
from genre_tagger.audio.libsndfile import SndfileSound

PCM16_SCALE = 32768  # as in libsndfile, so 16-bit files at the model's rate keep their exact samples
SILENT_PEAK = 0.5 / PCM16_SCALE  # a clip with a lower peak has only zeros as 16-bit samples
# Peak below which a whole file counts as silent: -72 dB of full scale, 8 steps of 16 bits. An empty track that contains
# only dither from mastering has a lower peak, music has a higher one.
SILENT_FILE_PEAK = 2**-12
NOT_FINITE = "NaN or infinity among its samples"
MIN_SECONDS = 0.1
MAX_SECONDS = 3600  # longest clip that is prepared; bounds the memory for decoding and shuffling
MIN_SOURCE_RATE = 1000  # a small file with a broken header of 1 Hz would be resampled to gigabytes
BLOCK_FRAMES = 1 << 16  # small buffers are reused; larger ones cost page faults and memory

# libsndfile reports a broken MP3 as "not a regular file" and gives no reason for a file that it cannot open.
_REASONS = {2: "the file cannot be opened or read", 7: "no audio found in it"}


Sound: TypeAlias = SndfileSound | ffmpeg.FfmpegSound


class Undecodable(Exception):  # noqa: N818, describes the file and is not a bug
    """A file without usable audio. The message is the reason and does not name the file."""

    flag = ""


class Silent(Undecodable):
    """An audio file that contains only silence."""

    flag = "silent"


class TooShort(Undecodable):
    """An audio file that is shorter than the minimum length."""

    flag = "too short"


class TooLong(Undecodable):
    """An audio file that is longer than the maximum length."""


def decode(
    path: Path | PackedFile, sample_rate: int, min_seconds: float = MIN_SECONDS, max_seconds: float = math.inf
) -> np.ndarray:
    """Decode an audio file, mix it to mono and resample it (soxr HQ).

    libsndfile decodes MP3, FLAC, Ogg, Opus, WAV and other formats. ffmpeg, if installed, decodes AAC and M4A.

    A truncated file is decoded up to the damage if its format allows it. Bytes after the last sample (zeros, a tag,
    HTML) are ignored. Bytes inside an MP3 that are not part of a frame are ignored too, as in audio players.

    Args:
        path: the audio file.
        sample_rate: sample rate of the result, in Hz.
        min_seconds: minimum length of the clip, in seconds.
        max_seconds: maximum length of the clip, in seconds. Decoding stops once it is exceeded.

    Returns:
        float32 [samples] in [-1, 1].

    Raises:
        Undecodable: the file is missing, is not audio, contains NaN or infinity or cannot be decoded.
        Silent: it contains only digital silence.
        TooShort: it is shorter than `min_seconds`.
        TooLong: it is longer than `max_seconds`.
    """
    with opened(path) as file:
        blocks = _bounded(_resampled(file, sample_rate), sample_rate, max_seconds)
        waveform: np.ndarray = np.concatenate([np.empty(0, np.float32), *blocks])
    peak = _usable_peak(waveform, sample_rate, min_seconds)
    if peak > 1:
        np.clip(waveform, -1, 1, out=waveform)
    return waveform


def decode_blocks(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Decode an audio file like `decode`, but yield it in consecutive blocks so that long songs take little memory.

    Args:
        path: the audio file.
        sample_rate: sample rate of the result, in Hz.

    Yields:
        float32 [samples] in [-1, 1].

    Raises:
        Undecodable: as in `decode`, possibly after some blocks. Silence and length are not checked.
    """
    with opened(path) as file:
        for block in _resampled(file, sample_rate):
            if not np.isfinite(block).all():
                raise Undecodable(NOT_FINITE)
            yield np.clip(block, -1, 1)


def waveform_blocks(waveform: np.ndarray, source_rate: int, sample_rate: int) -> Iterator[np.ndarray]:
    """Mix samples to mono and resample them, as `decode_blocks` does for a file.

    Args:
        waveform: float [samples] or [samples, channels], full scale 1.
        source_rate: sample rate of the waveform, in Hz.
        sample_rate: sample rate of the result, in Hz.

    Yields:
        float32 [samples] in [-1, 1].

    Raises:
        ValueError: the waveform has another shape or type, or its sample rate is too low.
        Undecodable: the waveform contains NaN or infinity.
    """
    has_shape = waveform.ndim == 1 or (waveform.ndim == 2 and 0 < waveform.shape[1] <= waveform.shape[0])
    if not has_shape or not np.issubdtype(waveform.dtype, np.floating):
        raise ValueError(
            f"waveform: found {waveform.dtype} of shape {waveform.shape}, expected floats [samples] or "
            "[samples, channels] of full scale 1"
        )
    if not isinstance(source_rate, int | float | np.number) or not MIN_SOURCE_RATE <= source_rate < math.inf:
        raise ValueError(f"sample_rate: found {source_rate!r} Hz, expected at least {MIN_SOURCE_RATE}")
    mono = waveform if waveform.ndim == 1 else waveform.mean(axis=1)
    mono = mono.astype(np.float32)
    if not np.isfinite(mono).all():
        raise Undecodable(NOT_FINITE)
    resampled = mono if source_rate == sample_rate else soxr.resample(mono, source_rate, sample_rate, quality="HQ")
    yield np.clip(resampled, -1, 1)


def sample_rate_of(path: Path) -> int:
    """Return the sample rate of an audio file in Hz.

    Raises:
        Undecodable: the file is missing, is not audio or cannot be decoded.
    """
    with opened(path) as file:
        return file.samplerate


def to_pcm16(waveform: np.ndarray) -> np.ndarray:
    """Round float [samples] in [-1, 1] to little-endian int16 [samples]. Divide by 32768 for the inverse."""
    steps = waveform * PCM16_SCALE
    np.clip(np.rint(steps, out=steps), -PCM16_SCALE, PCM16_SCALE - 1, out=steps)
    return steps.astype("<i2")


def pcm16_size(seconds: float, sample_rate: int) -> int:
    """Return the size in bytes of mono 16-bit PCM, given its length and its sample rate in Hz."""
    return 2 * round(seconds * sample_rate)


def decode_into(slot: Path, path: Path | PackedFile, sample_rate: int, min_seconds: float) -> int | Undecodable:
    """Decode a clip and write it as 16-bit PCM to the start of the file `slot`, where another process reads it.

    Args:
        slot: an existing file. Bytes after the clip are left as they are.
        path: the audio file.
        sample_rate: sample rate of the result, in Hz.
        min_seconds: minimum length of the clip, in seconds.

    Returns:
        The number of bytes written, or the error if the clip cannot be used.
    """
    try:
        pcm = to_pcm16(decode(path, sample_rate, min_seconds, MAX_SECONDS))
    except Undecodable as reason:
        return reason
    with slot.open("r+b", buffering=0) as file:
        return file.write(pcm.data)


@contextmanager
def opened(path: Path | PackedFile) -> Iterator[Sound]:
    """Open an audio file for reading from start to end.

    Raises:
        Undecodable: the file is missing, is not audio or cannot be decoded.
    """
    _refuse_unreadable(path)
    try:
        with _open(path) as file:
            yield file
    except (Damaged, ffmpeg.Unread) as error:
        raise Undecodable(str(error)) from error
    except soundfile.LibsndfileError as error:
        reason = _REASONS.get(error.code, error.error_string.strip().rstrip("."))
        raise Undecodable(f"cannot be decoded: {reason}") from error


def _open(path: Path | PackedFile) -> Sound:
    if isinstance(path, PackedFile):
        return SndfileSound(io.BytesIO(path.read()))
    if path.suffix.lower() in ffmpeg.SUFFIXES:
        return ffmpeg.FfmpegSound(path)
    return SndfileSound(os.fsencode(path))  # as bytes, because soundfile refuses a str that is not valid UTF-8


def _refuse_unreadable(path: Path | PackedFile) -> None:
    if _size(path) == 0:
        raise Undecodable("the file is empty (0 bytes)")
    if path.suffix.lower() == ".raw":
        raise Undecodable("cannot be decoded: raw samples without a header")


def _size(path: Path | PackedFile) -> int:
    if isinstance(path, PackedFile):
        return path.size
    try:
        state = path.stat()
    except OSError as error:
        raise Undecodable((error.strerror or str(error)).lower()) from error
    if not stat.S_ISREG(state.st_mode):
        raise Undecodable("not a file")
    return state.st_size


def _bounded(blocks: Iterator[np.ndarray], sample_rate: int, max_seconds: float) -> Iterator[np.ndarray]:
    """Yield blocks up to the maximum length, then raise TooLong.

    Samples are counted, because the length in a header may be wrong.
    """
    samples = 0
    for block in blocks:
        samples += len(block)
        if samples > max_seconds * sample_rate:
            raise TooLong(f"longer than {max_seconds} s; cut it into clips")
        yield block


def _resampled(file: Sound, sample_rate: int) -> Iterator[np.ndarray]:
    if file.samplerate < MIN_SOURCE_RATE:
        raise Undecodable(f"its sample rate is {file.samplerate} Hz, expected at least {MIN_SOURCE_RATE}")
    if file.samplerate == sample_rate:
        yield from _mono_blocks(file)
        return
    stream = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in _mono_blocks(file):
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _mono_blocks(file: Sound) -> Iterator[np.ndarray]:
    while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        # 30 times faster than a mean over the short axis.
        yield sum(block.T) / file.channels


def _usable_peak(waveform: np.ndarray, sample_rate: int, min_seconds: float) -> float:
    if not waveform.size:
        raise Undecodable("no samples in it")
    if waveform.size < round(min_seconds * sample_rate):
        raise TooShort(f"only {waveform.size / sample_rate:.3f} s long, expected at least {min_seconds} s")
    peak = float(np.abs(waveform).max())  # NaN if any sample is NaN
    if not math.isfinite(peak):
        raise Undecodable(NOT_FINITE)
    if peak < SILENT_PEAK:
        raise Silent("digital silence")
    return peak
