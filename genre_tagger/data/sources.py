"""Opens a source by name: the options of a command line become clips."""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genre_tagger.data.clips import Source
from genre_tagger.data.demo import COMPOSER_VERSION, render_demo
from genre_tagger.data.folder import FolderSource
from genre_tagger.errors import UserError
from genre_tagger.files import storage_errors

SOURCES = ("demo", "folder")
DEMO_SONGS = 400

OnProgress = Callable[[int, int], None]


class SourceOptions(BaseModel):
    """What names a collection of music; kept in the run directory, so that it can be opened again.

    Attributes:
        source: one of SOURCES.
        root: the folder of audio files; of `folder` only.
        table: its table; `tags.csv` or `tags.tsv` in it by default.
        songs: how many songs the demo has.
        seed: of the demo's songs, and of the split of a folder whose table has none.
    """

    model_config = ConfigDict(frozen=True)

    source: str = "demo"
    root: Path | None = None
    table: Path | None = None
    songs: int = DEMO_SONGS
    seed: int = 0


def open_source(options: SourceOptions, data: Path, workers: int, on_progress: OnProgress | None = None) -> Source:
    """Opens the source; the demo is rendered below `data` first, if it is not there yet.

    Args:
        options: which.
        data: folder for what is made.
        workers: rendering processes.
        on_progress: called with the number of songs rendered and of all.

    Raises:
        UserError: options that do not go together, or a mistake in the table.
    """
    if options.source == "demo":
        return _open_demo(options, data, workers, on_progress)
    if options.root is None:
        raise UserError("--root: the source 'folder' needs the folder of audio files, found nothing")
    return FolderSource(options.root, options.table, options.seed)


def _open_demo(options: SourceOptions, data: Path, workers: int, on_progress: OnProgress | None) -> Source:
    if options.root is not None or options.table is not None:
        raise UserError("--root, --table: the source 'demo' renders its own music; expected neither, or 'folder'")
    directory = data / f"demo-v{COMPOSER_VERSION}-songs{options.songs}-seed{options.seed}"
    if not (directory / "tags.csv").exists():
        with storage_errors(directory):
            render_demo(directory, songs=options.songs, seed=options.seed, workers=workers, on_progress=on_progress)
    source = FolderSource(directory)
    source.name = "demo"
    return source
