"""Decode AAC files, raw or in MP4 (M4A), with the program ffmpeg if it is installed. libsndfile does not read them.

The decoding processes import this module, so its imports must stay few and fast.
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

_HEADER = struct.Struct(">4s5I")  # Sun audio file: magic, offset of samples, size, encoding, rate, channels


class Unread(Exception):  # noqa: N818, describes the file and is not a bug
    """ffmpeg is not installed or finds no audio in a file. The message is the reason."""


def is_installed() -> bool:
    """Return whether the program ffmpeg is on the search path."""
    return shutil.which(PROGRAM) is not None


class FfmpegSound:
    """The first audio stream of a file, with the part of the `soundfile.SoundFile` interface that `decode` uses.

    The stream is read in blocks and never held in memory as a whole. ffmpeg may open only this file, even if it refers
    to other files, and reads it only as AAC or MP4.

    Args:
        path: the audio file.

    Raises:
        Unread: ffmpeg is not installed, or the file contains no audio.
    """

    format, subtype = "MP4", "AAC"

    def __init__(self, path: Path):
        program = shutil.which(PROGRAM)
        if program is None:
            raise Unread(f"{path.suffix.lower()} files need the program ffmpeg, which is not installed here")
        limits = ["-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-format_whitelist", "mov,aac"]
        streams: list[str | bytes] = ["-i", b"file:" + os.fsencode(path), "-map", "0:a:0"]
        streams += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._messages = TemporaryFile()  # noqa: SIM115, closed in close(); a pipe could fill up and block ffmpeg
        self._process = subprocess.Popen(
            [program, *limits, *streams], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._messages
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
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
        """End ffmpeg, even if not all samples have been read."""
        self._process.kill()
        self._process.communicate()
        self._messages.close()

    def read(self, frames: int, dtype: str = "float32", always_2d: bool = True) -> np.ndarray:
        """Return the next samples [frames, channels], or fewer at the end.

        A truncated file ends where decoding fails.
        """
        content = self._output.read(frames * 4 * self.channels)
        whole = len(content) // (4 * self.channels) * self.channels
        return np.frombuffer(content, ">f4", whole).reshape(-1, self.channels).astype(dtype)

    def _read_header(self) -> tuple[int, int]:
        header = self._output.read(_HEADER.size)
        if len(header) < _HEADER.size:
            self._process.wait()
            self._messages.seek(0)
            first, *_ = [*self._messages.read().decode(errors="replace").splitlines(), "no reason given"]
            raise Unread(f"cannot be decoded: no audio found in it (ffmpeg: {first.rpartition('] ')[2]})")
        _, offset, _, _, rate, channels = _HEADER.unpack(header)
        self._output.read(offset - _HEADER.size)
        return rate, channels
