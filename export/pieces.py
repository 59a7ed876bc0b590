"""From audio files to what the client sends: mono WAVs of limited length, in requests of limited size."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from genre_tagger.data.decode import Undecodable, decode, sample_rate_of, to_pcm16
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES, WAV_MAX_SECONDS, WAV_RATES_HZ

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
    problem: str = ""


def pieces_of(number: int, path: Path) -> Iterator[Piece]:
    """A file in equal pieces of 10 minutes at most, at its own rate or the next one up that servers accept."""
    try:
        native_hz = sample_rate_of(path)
        rate = min((rate for rate in WAV_RATES_HZ if rate >= native_hz), default=WAV_RATES_HZ[-1])
        waveform = decode(path, rate)
    except Undecodable as problem:
        yield Piece(number, path, problem=str(problem))
        return
    for part in np.array_split(waveform, math.ceil(len(waveform) / (WAV_MAX_SECONDS * rate))):
        buffer = BytesIO()
        soundfile.write(buffer, to_pcm16(part), rate, format="WAV", subtype="PCM_16")
        yield Piece(number, path, len(part), buffer.getvalue())


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
