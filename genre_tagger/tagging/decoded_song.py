"""Measures a song while it is decoded. Decoding processes import this module, so its imports must stay light."""

from collections.abc import Iterable, Iterator

import numpy as np

from genre_tagger.audio.decode import MIN_SECONDS, SILENT_FILE_PEAK, Silent, TooShort, Undecodable

# Minimum length as a share of a window. A shorter song is padded with zeros, as in training. Below this share a model
# would score mostly padding.
SHORTEST_SHARE = 0.25


class DecodedSong:
    """The blocks of a song, measured while they are read.

    Args:
        blocks: the waveform float32 [samples] in consecutive blocks, for example from `decode_blocks`.
        sample_rate: sample rate of the waveform, in Hz.
    """

    def __init__(self, blocks: Iterable[np.ndarray], sample_rate: int):
        self._blocks, self._rate = blocks, sample_rate
        self._samples, self._peak = 0, 0.0

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the blocks.

        Raises:
            Undecodable: there are no samples, or decoding a block fails.
        """
        for block in self._blocks:
            self._samples += len(block)
            self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
            yield block
        if not self._samples:
            raise Undecodable("no samples in it")

    @property
    def seconds(self) -> float:
        """Length of the blocks that were read, in seconds."""
        return self._samples / self._rate

    def flag(self, window_seconds: float) -> str:
        """Return why the song is not tagged, once all blocks are read: `silent`, `too short`, or an empty string.

        Args:
            window_seconds: length of the model's windows.
        """
        if self._peak < SILENT_FILE_PEAK:
            return Silent.flag
        return TooShort.flag if self.seconds < max(MIN_SECONDS, SHORTEST_SHARE * window_seconds) else ""
