"""What the machines of a cluster do: fetch songs and cut them into windows; score windows of several songs at once.

Decoding processes import this module, so it stays light.
"""

import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
from pyarrow import fs

from genre_tagger.config import Config
from genre_tagger.data.decode import Undecodable
from genre_tagger.data.decode_apart import decode_blocks_apart
from genre_tagger.tagging.catalogue import open_file
from genre_tagger.tagging.hearing import Heard
from genre_tagger.tagging.listing import SUFFIXES
from genre_tagger.tagging.windows import cut_windows

FETCH_BYTES = 16 << 20  # of most songs all: a store is asked once for each

Rows = dict[str, np.ndarray]  # columns of Ray Data


def songs_to_windows(songs: Rows, store: fs.FileSystem | None, config: Config) -> Iterator[Rows]:
    """All windows of songs, one a row, as they are decoded; what is known of a song stands in its last row.

    A song without usable audio has a row too, with a window of zeros.

    Args:
        songs: `number` of each and its `name` as bytes.
        store: where they lie, see `Catalogue`.
        config: a `covering` one.

    Returns:
        Columns `number` of the song, `start` (a window's first sample), `window` float32 [samples]; in a last row
        `windows`, how many rows the song has, `sha256`, `seconds`, `flag` and `reason`, which are 0 or empty in others.
    """
    named = zip(songs["number"].tolist(), map(os.fsdecode, songs["name"]), strict=True)
    rows = (row for number, name in named for row in _rows(number, name, store, config))
    while some := list(islice(rows, config.training.batch_size)):
        yield {column: np.array([row[column] for row in some]) for column in some[0]}


def _rows(number: int, name: str, store: fs.FileSystem | None, config: Config) -> Iterator[dict[str, Any]]:
    """The last row is held back until the song has ended."""
    window = np.zeros(config.window_samples, np.float32)
    row = {"number": number, "start": 0, "window": window, "windows": 0}
    row |= {"sha256": "", "seconds": np.nan, "flag": "", "reason": ""}
    known = {"windows": 0}
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
    except OSError as error:  # of the copy
        known["reason"] = f"cannot be copied to where it is decoded: {_in_words(error)}"
    yield row | known | {"windows": max(known["windows"], 1)}


def _suffix(name: str) -> str:
    """Of a copy, for what is decoded by its suffix; what else stands in a name may not go into another."""
    suffix = PurePath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""


def _windows(file: Path, config: Config, known: dict[str, Any]) -> Iterator[tuple[int, np.ndarray]]:
    """As `cut_windows`; notes what is known of the song at its end."""
    heard = Heard(file, config.frontend.sample_rate, decode_blocks_apart)
    yield from cut_windows(heard.blocks(), config)
    known |= {"seconds": heard.seconds, "flag": heard.flag(config.window.seconds)}


def _fetch(name: str, store: fs.FileSystem | None, copy: BinaryIO) -> str:
    """Copies a song; returns its SHA-256."""
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
    except (OSError, ValueError) as error:  # Arrow's for odd names is the latter
        raise Undecodable(f"cannot be read: {_in_words(error)}") from None


def _in_words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error).splitlines()[0]).lower()


class Scorer:
    """A model on one device; Ray makes an actor of it.

    Args:
        packed: the files of the model by name, so that no machine needs its directory.
        threads: that it may compute with; None leaves that to TensorFlow, for a GPU.
    """

    def __init__(self, packed: dict[str, bytes], threads: int | None):
        import tensorflow as tf

        from genre_tagger.tagging.models import ModelFiles

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
        """The same rows with `probabilities` float32 [tags] in place of `window`."""
        probabilities, _ = self._model(windows["window"], embed=False)
        return {name: column for name, column in windows.items() if name != "window"} | {"probabilities": probabilities}
