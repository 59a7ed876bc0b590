"""Read files that libsndfile decodes from start to end, ignoring bytes that are not audio.

The decoding processes import this module, so its imports must stay few and fast.
"""

import numpy as np
import soundfile

SEARCHED_IN_VAIN = 29  # libsndfile's "internal error": libmpg123 found no MP3 frame in the next kilobyte
MAX_SEARCHES = 1024  # one megabyte, about a second of searching


class SndfileSound(soundfile.SoundFile):
    """A sound file that is read only forwards.

    Raises:
        soundfile.LibsndfileError: when opened, the file contains no audio; when read, the file is damaged. Not every
            format lets libsndfile detect damage.
    """

    def seekable(self) -> bool:
        """Return False. Otherwise soundfile seeks after each block, and the MP3 decoder prints messages about it."""
        return False

    def read(self, frames: int, dtype: str, always_2d: bool) -> np.ndarray:
        """Return the next samples [frames, channels], or fewer at the end. Bytes that are not audio are skipped."""
        if self.format == "MP3":
            return self._read_frames(np.full((frames, self.channels), np.nan, dtype))
        # Other formats know their length. Reading beyond it makes FLAC report a tag after the last sample as damage.
        block: np.ndarray = super().read(min(frames, self.frames - self.tell()), dtype, always_2d)
        return block

    def _read_frames(self, block: np.ndarray) -> np.ndarray:
        for _ in range(MAX_SEARCHES):
            try:
                filled: np.ndarray = super().read(out=block)
                return filled
            except soundfile.LibsndfileError as error:
                if error.code != SEARCHED_IN_VAIN:
                    raise
                # The samples decoded before the error are in the block, but their number is not reported.
                decoded: np.ndarray = block[~np.isnan(block[:, 0])]
                if len(decoded):
                    return decoded
        return block[:0]
