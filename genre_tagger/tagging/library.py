"""The steps of `genre-tagger tag`: what is known stays, the rest is scored, tables are kept up on the way."""

import os
import stat
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from genre_tagger.data.decode import Undecodable
from genre_tagger.errors import UserError
from genre_tagger.export.client import Client
from genre_tagger.files import locked_file, sha256_of, storage_errors
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.results import Choice, Song, text_of
from genre_tagger.tagging.served import ServedModel
from genre_tagger.tagging.tables import Outputs, Tables
from genre_tagger.tagging.tagger import Tagger
from genre_tagger.tagging.taggram_plot import plot_taggram

ENDINGS = {"csv": ".csv", "parquet": ".parquet", "embeddings": ".parquet", "taggram": ".png"}


def tagger_by_server(client: Client, path: Path) -> Tagger:
    """A tagger whose windows a server scores; files of its model give the names of all tags, and the windows.

    Raises:
        UserError: as `Tagger.of_model`; or the server cannot be asked, or has another model.
    """
    files = ModelFiles.find(path)
    served = ServedModel(client, files)
    served.refuse_another()
    return Tagger(served, files.config, files.tags, files.version)


def tag_library(
    tagger: Tagger, files: list[Path], choice: Choice, outputs: Outputs, plot: Path | None = None
) -> Generator[Song, None, None]:
    """Yields what is known of each file, in order; content that is in a table already is not scored again.

    A file without usable audio has a reason and does not stop the rest; a later run tries it again.

    Args:
        tagger: the model.
        files: that are tagged.
        choice: of the tags that tables and plot name.
        outputs: tables to be kept up.
        plot: a PNG of the taggram, of one file alone.

    Raises:
        UserError: a table cannot be read or written, or another process keeps it up; a plot of several files, or of
            one that is not judged; an output is one of the files, or another output, or has not its format's ending.
    """
    _make_room(files, outputs.paths | ({"taggram": plot} if plot else {}))
    with ExitStack() as held:
        for path in outputs.paths.values():
            held.enter_context(locked_file(path))
        tables = held.enter_context(Tables(tagger, choice, outputs))
        for file in files:
            song = _look(tagger, file, choice, tables, outputs, plot)
            tables.put(song)
            yield song


def _make_room(files: list[Path], outputs: dict[str, Path]) -> None:
    """Makes folders that are missing, where nothing speaks against the outputs."""
    if "taggram" in outputs and len(files) != 1:
        raise UserError(f"--taggram: found {len(files)} audio files, expected one")
    _refuse_overwriting(files, outputs)
    for flag, path in outputs.items():
        if path.suffix.lower() != ENDINGS[flag]:
            raise UserError(f"--{flag}: found {path}, expected a name that ends in {ENDINGS[flag]}")
    for path in outputs.values():
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)


def _refuse_overwriting(files: list[Path], outputs: dict[str, Path]) -> None:
    taken = {os.path.realpath(file): "one of the files to tag" for file in files}
    for flag, path in outputs.items():
        place = os.path.realpath(path)
        if place in taken:
            raise UserError(f"--{flag}: found {path}, which is {taken[place]}, expected a file of its own")
        taken[place] = f"that of --{flag}"


def _look(tagger: Tagger, file: Path, choice: Choice, tables: Tables, outputs: Outputs, plot: Path | None) -> Song:
    try:
        sha256 = _digest(file)
    except OSError as error:
        return Song(file, reason=error.strerror.lower())
    except Undecodable as reason:
        return Song(file, reason=str(reason))
    if not plot and (known := tables.find(sha256)):
        return replace(known, path=file, is_new=False)
    try:
        taggram = tagger.taggram(file, embed=outputs.embeddings is not None)
    except Undecodable as reason:
        return Song(file, sha256, reason=str(reason))
    if plot:
        plot_taggram(plot, taggram, tagger.tags, choice.top, text_of(file))
    return Song.of(file, sha256, taggram, tagger.tags)


def _digest(file: Path) -> str:
    if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
        raise Undecodable("not a file")
    return sha256_of(file)
