"""Conversion of audio files to requests of the client: mono WAVs of limited length, in batches of limited size."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from genre_tagger.audio.decode import (
    SILENT_FILE_PEAK,
    Silent,
    TooLong,
    Undecodable,
    decode,
    decode_blocks,
    sample_rate_of,
    to_pcm16,
)
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES, WAV_MAX_SECONDS, WAV_RATES_HZ

MAX_ITEMS = ALLOWED_BATCH_SIZES[-1]  # a server with batching rejects larger requests
# The longest piece (10 minutes of 16 bits at 48 kHz) fits. The limit is far below the 2 GB of gRPC, so that a retry is
# cheap and a server needs little memory for a request.
MAX_REQUEST_BYTES = 64_000_000


@dataclass(frozen=True)
class Piece:
    """A whole audio file or, if the file is long, a part of it of at most 10 minutes.

    Attributes:
        file: number of the file in the list of files, because a path may occur twice.
        path: path of the file.
        samples: number of samples in this piece.
        wav: the piece as a mono 16-bit WAV file, empty if the file has no usable audio.
        problem: why the file has no usable audio, or None.
    """

    file: int
    path: Path
    samples: int = 0
    wav: bytes = b""
    problem: Undecodable | None = None


def pieces_of(number: int, path: Path) -> Iterator[Piece]:
    """Yield a file as pieces of equal length, each at most 10 minutes long.

    The sample rate of the pieces is the lowest accepted rate that is not below that of the file, or 48 kHz for files
    with a higher rate. A long file is first decoded to measure its length and then decoded again to cut it, so that
    memory never holds more than one piece.

    Args:
        number: number of the file in the list of files.
        path: path of the file.

    Yields:
        The pieces in order. If decoding fails, the last piece has a problem and no audio; it may be the only piece.
    """
    try:
        native_hz = sample_rate_of(path)
        rate = min((rate for rate in WAV_RATES_HZ if rate >= native_hz), default=WAV_RATES_HZ[-1])
        for part in _parts(path, rate):
            buffer = BytesIO()
            soundfile.write(buffer, to_pcm16(part), rate, format="WAV", subtype="PCM_16")
            yield Piece(number, path, len(part), buffer.getvalue())
    except Undecodable as problem:
        yield Piece(number, path, problem=problem)


def _parts(path: Path, rate: int) -> Iterator[np.ndarray]:
    try:
        waveform = decode(path, rate, max_seconds=WAV_MAX_SECONDS)
        _refuse_silence(np.abs(waveform).max())
        yield waveform
    except TooLong:
        samples = _measure(path, rate)
        count = math.ceil(samples / (WAV_MAX_SECONDS * rate))
        edges = [samples * number // count for number in range(count + 1)]
        yield from _cut(decode_blocks(path, rate), [end - start for start, end in pairwise(edges)])


def _measure(path: Path, rate: int) -> int:
    """Return the number of samples of a file; raise Undecodable as `decode_blocks` does, or if it is silent."""
    samples, peak = 0, 0.0
    for block in decode_blocks(path, rate):
        samples, peak = samples + len(block), max(peak, np.abs(block).max(initial=0))
    _refuse_silence(peak)
    return samples


def _refuse_silence(peak: float) -> None:
    if peak < SILENT_FILE_PEAK:
        raise Silent(f"silent: nothing above {20 * math.log10(SILENT_FILE_PEAK):.0f} dB of full scale")


def _cut(blocks: Iterator[np.ndarray], sizes: list[int]) -> Iterator[np.ndarray]:
    """Yield consecutive parts of the given sizes."""
    rest = np.zeros(0, np.float32)
    for size in sizes:
        gathered, missing = [rest], size - len(rest)
        while missing > 0 and (block := next(blocks, None)) is not None:
            gathered.append(block)
            missing -= len(block)
        joined = np.concatenate(gathered)
        yield joined[:size]
        rest = joined[size:]


def batches_of(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces in order, in batches as large as a request allows."""
    batch: list[Piece] = []
    size = 0
    for piece in pieces:
        if batch and (len(batch) == MAX_ITEMS or size + len(piece.wav) > MAX_REQUEST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece.wav)
    if batch:
        yield batch
