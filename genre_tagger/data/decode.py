"""Audio files to mono waveforms at the model's rate. Decoding processes import this module, so it stays light."""

import io
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from genre_tagger.data import ffmpeg
from genre_tagger.data.archive import Damaged, PackedFile
from genre_tagger.data.libsndfile import SndfileSound

PCM16_SCALE = 32768  # libsndfile's own, so that a 16-bit file at the model's rate keeps its exact samples
SILENT_PEAK = 0.5 / PCM16_SCALE  # of a clip without any sound: its 16-bit samples are all 0
NOT_FINITE = "NaN or infinity among its samples"
MIN_SECONDS = 0.1
MAX_SECONDS = 3600  # of one prepared clip: bounds the memory that decoding and shuffling take
MIN_SOURCE_RATE = 1000  # a broken header of 1 Hz would resample a small file to gigabytes
BLOCK_FRAMES = 1 << 16  # small buffers are reused, larger ones cost page faults; and whole songs stay out of memory

# libsndfile calls a broken MP3 "not a regular file", and gives no cause for what it may not open.
_REASONS = {2: "the file cannot be opened or read", 7: "no audio found in it"}


class Undecodable(Exception):  # noqa: N818, names a state of the file that callers handle, not a fault
    """A file without usable audio; the message is the reason, without the file's name."""

    flag = ""


class Silent(Undecodable):
    """A sound file in which nobody hears anything."""

    flag = "silent"


class TooShort(Undecodable):
    """A sound file, but too short to be judged."""

    flag = "too short"


class TooLong(Undecodable):
    """A sound file, but longer than was asked for."""


def decode(
    path: Path | PackedFile, sample_rate: int, min_seconds: float = MIN_SECONDS, max_seconds: float = math.inf
) -> np.ndarray:
    """Decodes MP3, FLAC, Ogg, Opus, WAV or whatever else libsndfile reads; mixes to mono and resamples (soxr HQ).

    AAC and M4A, which it does not read, go through ffmpeg where that is installed.

    A file cut short yields the part that can be decoded, if its format allows that. What lies behind the last sample
    (zeros, a tag, HTML) does not count, nor what is no frame in the midst of an MP3, as players have it too.

    Args:
        path: the audio file.
        sample_rate: of the result, in Hz.
        min_seconds, max_seconds: lengths between which a clip is usable; a longer one is not decoded to its end.

    Returns:
        float32 [samples] in [-1, 1].

    Raises:
        Undecodable: missing, not audio, too short, too long, digital silence, or NaN or
            infinity in it.
    """
    with opened(path) as file:
        blocks = _bounded(_resampled(file, sample_rate), sample_rate, max_seconds)
        waveform = np.concatenate([np.empty(0, np.float32), *blocks])
    peak = _usable_peak(waveform, sample_rate, min_seconds)
    return np.clip(waveform, -1, 1, out=waveform) if peak > 1 else waveform


def decode_blocks(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """What `decode` returns, block by block as it is decoded, so that a song of any length takes little memory.

    Returns:
        float32 [samples] in [-1, 1], one behind the other.

    Raises:
        Undecodable: as `decode`, on the way too, but neither for silence nor for the length.
    """
    with opened(path) as file:
        for block in _resampled(file, sample_rate):
            if not np.isfinite(block).all():
                raise Undecodable(NOT_FINITE)
            yield np.clip(block, -1, 1)


def sample_rate_of(path: Path) -> int:
    """The rate that an audio file has, in Hz; raises Undecodable as `decode` does."""
    with opened(path) as file:
        return file.samplerate


def to_pcm16(waveform: np.ndarray) -> np.ndarray:
    """Rounds float [samples] in [-1, 1] to little-endian int16 [samples]; divide by 32768 to go back."""
    steps = waveform * PCM16_SCALE
    np.clip(np.rint(steps, out=steps), -PCM16_SCALE, PCM16_SCALE - 1, out=steps)
    return steps.astype("<i2")


def pcm16_size(seconds: float, sample_rate: int) -> int:
    """Bytes of what `to_pcm16` makes of so many seconds."""
    return 2 * round(seconds * sample_rate)


def decode_into(slot: Path, path: Path | PackedFile, sample_rate: int, min_seconds: float) -> int | Undecodable:
    """Overwrites the start of the file `slot` with the clip's `to_pcm16`, for another process to read.

    Returns:
        The number of bytes written, or the reason why there are none, so that a batch goes on.
    """
    try:
        pcm = to_pcm16(decode(path, sample_rate, min_seconds, MAX_SECONDS))
    except Undecodable as reason:
        return reason
    with slot.open("r+b", buffering=0) as file:
        return file.write(pcm)


@contextmanager
def opened(path: Path | PackedFile) -> Iterator[SndfileSound | ffmpeg.FfmpegSound]:
    """Opens an audio file to be read on from its start; raises Undecodable where that cannot be."""
    _refuse_unreadable(path)
    try:
        with _open(path) as file:
            yield file
    except (Damaged, ffmpeg.Unread) as error:
        raise Undecodable(str(error)) from None
    except soundfile.LibsndfileError as error:
        reason = _REASONS.get(error.code, error.error_string.strip().rstrip("."))
        raise Undecodable(f"cannot be decoded: {reason}") from None


def _open(path: Path | PackedFile) -> SndfileSound | ffmpeg.FfmpegSound:
    if isinstance(path, PackedFile):
        return SndfileSound(io.BytesIO(path.read()))
    if path.suffix.lower() in ffmpeg.SUFFIXES:
        return ffmpeg.FfmpegSound(path)
    return SndfileSound(os.fsencode(path))  # soundfile refuses names that are no UTF-8, but not as the disk's bytes


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
        raise Undecodable(error.strerror.lower()) from None
    if not stat.S_ISREG(state.st_mode):
        raise Undecodable("not a file")
    return state.st_size


def _bounded(blocks: Iterator[np.ndarray], sample_rate: int, max_seconds: float) -> Iterator[np.ndarray]:
    """Passes blocks on until there are too many samples; a header may lie about the length, so they are counted."""
    samples = 0
    for block in blocks:
        samples += len(block)
        if samples > max_seconds * sample_rate:
            raise TooLong(f"longer than {max_seconds} s; cut it into clips")
        yield block


def _resampled(file: SndfileSound, sample_rate: int) -> Iterator[np.ndarray]:
    if file.samplerate < MIN_SOURCE_RATE:
        raise Undecodable(f"its sample rate is {file.samplerate} Hz, expected at least {MIN_SOURCE_RATE}")
    if file.samplerate == sample_rate:
        yield from _mono_blocks(file)
        return
    stream = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
    for block in _mono_blocks(file):
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _mono_blocks(file: SndfileSound) -> Iterator[np.ndarray]:
    while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        # A mean over the short axis takes 30 times as long.
        yield sum(block.T) / file.channels


def _usable_peak(waveform: np.ndarray, sample_rate: int, min_seconds: float) -> float:
    if not waveform.size:
        raise Undecodable("no samples in it")
    if waveform.size < round(min_seconds * sample_rate):
        raise TooShort(f"only {waveform.size / sample_rate:.3f} s long, expected at least {min_seconds} s")
    peak = np.abs(waveform).max()  # NaN where there is one anywhere
    if not np.isfinite(peak):
        raise Undecodable(NOT_FINITE)
    if peak < SILENT_PEAK:
        raise Silent("digital silence")
    return peak
