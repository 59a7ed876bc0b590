"""From audio files to what the client sends: mono WAVs of limited length, in requests of limited size."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile

from genre_tagger.data.decode import (
    Silent,
    TooLong,
    Undecodable,
    decode,
    decode_blocks,
    sample_rate_of,
    to_pcm16,
)
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES, SILENT_FILE_PEAK, WAV_MAX_SECONDS, WAV_RATES_HZ

MAX_ITEMS = ALLOWED_BATCH_SIZES[-1]  # a server with batching refuses more in one request
# Room for the longest piece (10 minutes of 16 bits at 48 kHz); thirty times less than gRPC could carry, so that a
# request is repeated cheaply and a server holds little of it.
MAX_REQUEST_BYTES = 64_000_000


@dataclass(frozen=True)
class Piece:
    """A file, or 10 minutes at most of one; where it has no usable audio, the reason instead of a WAV.

    Attributes:
        file: number of the file; a path may be named twice.
        path: of the file.
        samples: in this piece.
        wav: mono, 16 bit.
        problem: why there is none.
    """

    file: int
    path: Path
    samples: int = 0
    wav: bytes = b""
    problem: Undecodable | None = None


def pieces_of(number: int, path: Path) -> Iterator[Piece]:
    """A file in equal pieces of 10 minutes at most, at its own rate or the next one up that servers accept.

    What is longer is decoded a second time, once measured, so that no more than a piece of it is in memory.
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
    """Samples of a file; raises Undecodable as `decode_blocks` does, and for silence."""
    samples, peak = 0, 0.0
    for block in decode_blocks(path, rate):
        samples, peak = samples + len(block), max(peak, np.abs(block).max(initial=0))
    _refuse_silence(peak)
    return samples


def _refuse_silence(peak: float) -> None:
    if peak < SILENT_FILE_PEAK:
        raise Silent(f"silent: nothing above {20 * math.log10(SILENT_FILE_PEAK):.0f} dB of full scale")


def _cut(blocks: Iterator[np.ndarray], sizes: list[int]) -> Iterator[np.ndarray]:
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
    """The pieces in order, as many together as a request may hold."""
    batch, size = [], 0
    for piece in pieces:
        if batch and (len(batch) == MAX_ITEMS or size + len(piece.wav) > MAX_REQUEST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(piece)
        size += len(piece.wav)
    if batch:
        yield batch
