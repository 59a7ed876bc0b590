"""What is noticed of a song while it is decoded. Decoding processes import this module, so it stays light."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from genre_tagger.data.decode import MIN_SECONDS, Silent, TooShort, Undecodable, decode_blocks
from genre_tagger.export.contract import SILENT_FILE_PEAK

# Of a window: what is missing in it is filled with zeros, as in training, and below this a model hears little else.
SHORTEST_SHARE = 0.25


class Heard:
    """Counts and measures what is decoded of a file as it goes by.

    Args:
        path: the audio file.
        sample_rate: at which it is heard, in Hz.
        decode: `decode_blocks`, or what stands for it.
    """

    def __init__(self, path: Path, sample_rate: int, decode: Callable[..., Iterator[np.ndarray]] = decode_blocks):
        self._path, self._rate, self._decode = path, sample_rate, decode
        self._samples, self._peak = 0, 0.0

    def blocks(self) -> Iterator[np.ndarray]:
        """As `decode_blocks`; raises Undecodable as that does, and where there are no samples."""
        for block in self._decode(self._path, self._rate):
            self._samples += len(block)
            self._peak = max(self._peak, np.abs(block).max(initial=0))
            yield block
        if not self._samples:
            raise Undecodable("no samples in it")

    @property
    def seconds(self) -> float:
        """Of what has been heard so far."""
        return self._samples / self._rate

    def flag(self, window_seconds: float) -> str:
        """Why a whole file is not judged, or nothing."""
        if self._peak < SILENT_FILE_PEAK:
            return Silent.flag
        return TooShort.flag if self.seconds < max(MIN_SECONDS, SHORTEST_SHARE * window_seconds) else ""
