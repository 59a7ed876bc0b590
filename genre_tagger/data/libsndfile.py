"""Whatever libsndfile decodes, read from start to end, as far as there is music in it.

Decoding processes import this module, so it stays light.
"""

import numpy as np
import soundfile

SEARCHED_IN_VAIN = 29  # libsndfile's "internal error": libmpg123 has found no frame of an MP3 in the next KB
MAX_SEARCHES = 1024  # a megabyte, which takes a second


class SndfileSound(soundfile.SoundFile):
    """A sound file that is only ever read on.

    Raises:
        soundfile.LibsndfileError: on opening, there is no audio in it; on reading, it is damaged, as far as its format
            knows.
    """

    def seekable(self) -> bool:
        """No: soundfile else seeks after each block, which MP3 decoding answers with stray messages."""
        return False

    def read(self, frames: int, dtype: str, always_2d: bool) -> np.ndarray:
        """The next samples [frames, channels], fewer at the end; what is no sound in or behind it is passed over."""
        if self.format == "MP3":
            return self._read_frames(np.full((frames, self.channels), np.nan, dtype))
        # Others know their length; asked for more, FLAC takes a tag behind the last sample for damage.
        return super().read(min(frames, self.frames - self.tell()), dtype, always_2d)

    def _read_frames(self, block: np.ndarray) -> np.ndarray:
        for _ in range(MAX_SEARCHES):
            try:
                return super().read(out=block)
            except soundfile.LibsndfileError as error:
                if error.code != SEARCHED_IN_VAIN:
                    raise
                # What was decoded before stands in the block all the same, but nobody says how much that is.
                if len(decoded := block[~np.isnan(block[:, 0])]):
                    return decoded
        return block[:0]
