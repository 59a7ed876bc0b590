"""The two stages that run on a cluster: songs are copied and cut into windows; batches of windows are scored.

Decoding processes import this module, so its imports must stay light.
"""

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import IO, Any

import numpy as np
from pyarrow import fs

from genre_tagger.audio.decode import Undecodable
from genre_tagger.audio.isolated_decoder import decode_blocks_apart
from genre_tagger.config import Config
from genre_tagger.errors import first_line
from genre_tagger.tagging.audio_files import SUFFIXES
from genre_tagger.tagging.catalogue import open_file
from genre_tagger.tagging.decoded_song import DecodedSong
from genre_tagger.tagging.windows import cut_windows

FETCH_BYTES = 16 << 20  # larger than most songs, so that a store gets one request per song

Rows = dict[str, np.ndarray]  # columns of Ray Data


def songs_to_windows(songs: Rows, store: fs.FileSystem | None, config: Config) -> Iterator[Rows]:
    """Yield batches of windows, one per row, while songs are decoded. The last row of a song describes the song.

    A song without usable audio also has at least one row, which may hold a window of zeros.

    Args:
        songs: `number` of each song and its `name` as bytes.
        store: store of the songs, see `Catalogue`.
        config: configuration of the model, as `Config.covering` returns it.

    Yields:
        Columns `number` of the song, `start` (first sample of the window) and `window` float32 [samples]. The columns
        `windows` (number of rows of the song), `sha256`, `seconds`, `flag` and `reason` are set in the last row of a
        song only; in its other rows they are 0, NaN or empty.
    """
    named = zip(songs["number"].tolist(), map(os.fsdecode, songs["name"]), strict=True)
    rows = (row for number, name in named for row in _rows(number, name, store, config))
    while some := list(islice(rows, config.inference.batch_size)):
        yield {column: np.array([row[column] for row in some]) for column in some[0]}


def _rows(number: int, name: str, store: fs.FileSystem | None, config: Config) -> Iterator[dict[str, Any]]:
    """Yield the rows of a song, each only when the next one is known, because the last row describes the song."""
    window = np.zeros(config.window_samples, np.float32)
    row: dict[str, Any] = {"number": number, "start": 0, "window": window, "windows": 0}
    row |= {"sha256": "", "seconds": np.nan, "flag": "", "reason": ""}
    known: dict[str, Any] = {"windows": 0}
    try:
        with NamedTemporaryFile(suffix=_suffix(name)) as copy:
            known["sha256"] = _fetch(name, store, copy)
            for start, window in _windows(Path(copy.name), config, known):
                if known["windows"]:
                    yield row
                row = row | {"start": start, "window": window}
                known["windows"] += 1
    except Undecodable as reason:
        known["reason"] = str(reason)
    except OSError as error:  # while the copy was written
        known["reason"] = f"cannot be copied to where it is decoded: {_reason(error)}"
    yield row | known | {"windows": max(known["windows"], 1)}


def _suffix(name: str) -> str:
    """Return the suffix of a copy, by which some formats are recognised.

    An unknown suffix is dropped, because it may be too long for the name of the copy.
    """
    suffix = PurePath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""


def _windows(file: Path, config: Config, known: dict[str, Any]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the windows of a song like `cut_windows`. Add its length and flag to `known` at the end."""
    rate = config.frontend.sample_rate
    song = DecodedSong(decode_blocks_apart(file, rate), rate)
    yield from cut_windows(song.blocks(), config)
    known |= {"seconds": song.seconds, "flag": song.flag(config.window.seconds)}


def _fetch(name: str, store: fs.FileSystem | None, copy: IO[bytes]) -> str:
    """Copy a song and return its SHA-256."""
    digest = hashlib.sha256()
    for part in _read(name, store):
        digest.update(part)
        copy.write(part)
    copy.flush()
    return digest.hexdigest()


def _read(name: str, store: fs.FileSystem | None) -> Iterator[bytes]:
    try:
        with open_file(name, store) as file:
            while part := file.read(FETCH_BYTES):
                yield part
    except (OSError, ValueError) as error:  # a name with NUL raises ValueError
        raise Undecodable(f"cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or first_line(error)).lower()


class Scorer:
    """A model on one device. Ray runs it as an actor.

    Args:
        packed: contents of the model's files by relative path, so that no machine needs the model's directory.
        threads: number of threads of TensorFlow; None uses TensorFlow's default, as on a GPU.
    """

    def __init__(self, packed: dict[str, bytes], threads: int | None):
        import tensorflow as tf

        from genre_tagger.tagging.window_models import ModelFiles

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        with TemporaryDirectory() as folder:
            for name, content in packed.items():
                file = Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self._model = ModelFiles.find(Path(folder)).load()

    def __call__(self, windows: Rows) -> Rows:
        """Return the rows with `probabilities` float32 [tags] in place of `window`."""
        probabilities, _ = self._model(windows["window"], embed=False)
        return {name: column for name, column in windows.items() if name != "window"} | {"probabilities": probabilities}
