"""Tags audio files: takes known songs from the result tables, scores the others, and keeps the tables up to date."""

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from genre_tagger.audio.decode import Undecodable
from genre_tagger.errors import FieldError
from genre_tagger.export.client import Client
from genre_tagger.files import locked_file, sha256_of, storage_errors
from genre_tagger.tagging.output_tables import OutputPaths, OutputTables
from genre_tagger.tagging.served_model import ServedModel
from genre_tagger.tagging.song import Song, TagChoice, text_of
from genre_tagger.tagging.tagger import Tagger
from genre_tagger.tagging.taggram_plot import plot_taggram
from genre_tagger.tagging.window_models import ModelFiles

ENDINGS = {"csv": ".csv", "parquet": ".parquet", "embeddings": ".parquet", "taggram": ".png"}


@dataclass(frozen=True)
class TagRequest:
    """Files to tag, and where the results go.

    Attributes:
        files: the audio files.
        choice: choice of the tags in the tables and the plot. The plot ignores the threshold.
        outputs: tables that are kept up to date.
        taggram: PNG of the taggram, for one file only.
    """

    files: Sequence[Path]
    choice: TagChoice
    outputs: OutputPaths = field(default_factory=OutputPaths)
    taggram: Path | None = None

    @property
    def named_outputs(self) -> dict[str, Path]:
        """The output files by the name of their argument."""
        return self.outputs.paths | ({"taggram": self.taggram} if self.taggram else {})


def tagger_by_server(client: Client, path: Path) -> Tagger:
    """Return a tagger whose windows a server scores.

    Args:
        client: client of the server.
        path: a run directory or exported version with the server's model, for the names of its tags and its windows.

    Raises:
        UserError: there is no model at the path, or the server does not answer or has another model.
    """
    files = ModelFiles.find(path)
    served = ServedModel(client, files)
    served.check_model()
    return Tagger(served, files.config, files.tags, files.version)


def tag_files(tagger: Tagger, request: TagRequest) -> Generator[Song, None, None]:
    """Yield the result for each file, in order. Files whose content is in the tables are not scored again.

    A file without usable audio has a reason. It gets no taggram and does not stop the others. A later call tries it
    again.

    Args:
        tagger: the tagger.
        request: the files, and where the results go.

    Raises:
        UserError: a table cannot be read or written, or another process is writing it; a taggram is requested for
            several files, or for a song that is silent or too short; an output is one of the files or another output,
            or has the wrong suffix; or a server or an exported model refuses a window.
    """
    _prepare_outputs(request)
    with ExitStack() as held:
        for path in request.outputs.paths.values():
            held.enter_context(locked_file(path))
        tables = OutputTables(tagger.model_version, tagger.tags, request.choice, request.outputs)
        held.enter_context(tables)
        for file in request.files:
            song = _tag_one(tagger, file, request, tables)
            tables.put(song)
            yield song


def _prepare_outputs(request: TagRequest) -> None:
    """Check the outputs, then create their folders."""
    if request.taggram and len(request.files) != 1:
        raise FieldError("taggram", f"found {len(request.files)} audio files, expected one")
    outputs = request.named_outputs
    _refuse_overwriting(request.files, outputs)
    for name, path in outputs.items():
        if path.suffix.lower() != ENDINGS[name]:
            raise FieldError(name, f"found {path}, expected a name that ends in {ENDINGS[name]}")
    for path in outputs.values():
        with storage_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)


def _refuse_overwriting(files: Sequence[Path], outputs: dict[str, Path]) -> None:
    taken = {os.path.realpath(file): "one of the files to tag" for file in files}
    for name, path in outputs.items():
        place = os.path.realpath(path)
        if place in taken:
            raise FieldError(name, f"found {path}, which is {taken[place]}, expected another file")
        taken[place] = f"also the file of {name}"


def _tag_one(tagger: Tagger, file: Path, request: TagRequest, tables: OutputTables) -> Song:
    try:
        sha256 = _digest(file)
    except OSError as error:
        return Song(file, reason=str(error.strerror).lower())
    except Undecodable as reason:
        return Song(file, reason=str(reason))
    if not request.taggram and (known := tables.find(sha256)):
        return replace(known, path=file, is_new=False)
    try:
        taggram = tagger.taggram(file, embed=request.outputs.embeddings is not None)
    except Undecodable as reason:
        return Song(file, sha256, reason=str(reason))
    if request.taggram:
        plot_taggram(request.taggram, taggram, tagger.tags, request.choice.top, text_of(file))
    return Song.of(file, sha256, taggram, tagger.tags)


def _digest(file: Path) -> str:
    if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe would block
        raise Undecodable("not a file")
    return sha256_of(file)
