"""AAC, alone or in MP4 (M4A), which libsndfile does not read, through the program ffmpeg where there is one.

Decoding processes import this module, so it stays light.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

PROGRAM = "ffmpeg"
SUFFIXES = (".m4a", ".m4b", ".mp4", ".aac")

_HEADER = struct.Struct(">4s5I")  # of a Sun audio file: magic, offset of the samples, size, encoding, rate, channels


class Unread(Exception):  # noqa: N818, names a state of the file that callers handle
    """There is no ffmpeg, or it finds no audio; the message is the reason."""


def is_installed() -> bool:
    """Whether there is one."""
    return shutil.which(PROGRAM) is not None


class FfmpegSound:
    """The first audio stream of a file, with what `decode` uses of `soundfile.SoundFile`; never whole in memory.

    ffmpeg opens this one file alone, whatever the file names, and takes it for nothing but AAC or MP4.

    Raises:
        Unread: there is no ffmpeg, or no audio in the file.
    """

    format, subtype = "MP4", "AAC"

    def __init__(self, path: Path):
        program = shutil.which(PROGRAM)
        if program is None:
            raise Unread(f"{path.suffix.lower()} files need the program ffmpeg, which is not installed here")
        limits = ["-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-format_whitelist", "mov,aac"]
        streams = ["-i", b"file:" + os.fsencode(path), "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._messages = TemporaryFile()  # noqa: SIM115, closed below; a pipe would fill up while samples are read
        self._process = subprocess.Popen(
            [program, *limits, *streams], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._messages
        )
        try:
            self.samplerate, self.channels = self._read_header()
        except Unread:
            self.close()
            raise

    def __enter__(self) -> "FfmpegSound":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends ffmpeg, wherever it is."""
        self._process.kill()
        self._process.communicate()
        self._messages.close()

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """The next samples [frames, channels], fewer at the end; of a file cut short, those that can be decoded."""
        content = self._process.stdout.read(frames * 4 * self.channels)
        whole = len(content) // (4 * self.channels) * self.channels
        return np.frombuffer(content, ">f4", whole).reshape(-1, self.channels).astype(dtype)

    def _read_header(self) -> tuple[int, int]:
        header = self._process.stdout.read(_HEADER.size)
        if len(header) < _HEADER.size:
            self._process.wait()
            self._messages.seek(0)
            first, *_ = [*self._messages.read().decode(errors="replace").splitlines(), "no reason given"]
            raise Unread(f"cannot be decoded: no audio found in it (ffmpeg: {first.rpartition('] ')[2]})")
        _, offset, _, _, rate, channels = _HEADER.unpack(header)
        self._process.stdout.read(offset - _HEADER.size)
        return rate, channels
