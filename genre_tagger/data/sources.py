"""Opens a source by name: the options of a command line become clips."""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genre_tagger.data.clips import Source
from genre_tagger.data.decode import pcm16_size
from genre_tagger.data.demo import COMPOSER_VERSION, render_demo
from genre_tagger.data.folder import SPLIT_WAYS, FolderSource
from genre_tagger.data.jamendo import JAMENDO_WAYS, JamendoSource
from genre_tagger.data.magnatagatune import GROUPS, NUM_CLIPS, PROTOCOLS, MagnaTagATuneSource, fetch_missing
from genre_tagger.data.manifest import MANIFEST_NAME, PREPARED_NAME
from genre_tagger.errors import UserError
from genre_tagger.files import Need, storage_errors

# What each source takes beside a seed: the names of its options and the values of --split.
SOURCES = {
    "demo": ((), ()),
    "folder": (("root", "table", "split"), SPLIT_WAYS),
    "magnatagatune": (("root", "split", "group", "mirror"), tuple(PROTOCOLS)),
    "jamendo": (("root", "table", "split"), JAMENDO_WAYS),
}
OPTIONS = ("root", "table", "split", "group", "mirror")
DEMO_SONGS = 400

OnProgress = Callable[[int, int], None]
Say = Callable[[str], None]


class SourceOptions(BaseModel):
    """What names a collection of music; kept in the run directory, so that it can be opened again.

    Attributes:
        source: one of SOURCES.
        root: the folder of audio files; all but `demo` need it.
        table: the table of a folder, `tags.csv` or `tags.tsv` in it by default; one of the tables of `jamendo`.
        split: how clips are dealt to splits; each source has its own ways and its default.
        group: what intervals are bootstrapped over; of `magnatagatune` only.
        mirror: where `magnatagatune` is downloaded from, if not from its home.
        songs: how many songs the demo has.
        seed: of the demo's songs, and of splits that are drawn.
    """

    model_config = ConfigDict(frozen=True)

    source: str = "demo"
    root: Path | None = None
    table: Path | None = None
    split: str | None = None
    group: str | None = None
    mirror: str | None = None
    songs: int = DEMO_SONGS
    seed: int = 0


def open_source(
    options: SourceOptions,
    data: Path,
    workers: int,
    on_progress: OnProgress | None = None,
    say: Say = lambda line: None,
    sample_rate: int | None = None,
) -> Source:
    """Opens the source; the demo is rendered below `data` first and MagnaTagATune downloaded, where they are not.

    Args:
        options: which.
        data: folder for what is made.
        workers: rendering processes.
        on_progress: called with the number of songs rendered, or bytes downloaded, and of all.
        say: prints a line.
        sample_rate: that the clips will be prepared at, in Hz: a download begins only where the disk holds that too.

    Raises:
        UserError: options that do not go together, a mistake in a table, a download that fails, too small a disk.
    """
    _check(options)
    if options.source == "demo":
        _render_missing(options, data, workers, on_progress)
    if options.source == "magnatagatune":
        afterwards = _preparing(data, _protocol(options), sample_rate) if sample_rate else []
        fetch_missing(options.root, options.mirror, on_progress, say, afterwards)
    return read_source(options, data)


def read_source(options: SourceOptions, data: Path) -> Source:
    """Opens a source that is there: renders and downloads nothing.

    Args:
        options: which.
        data: folder that the demo was rendered below.

    Raises:
        UserError: it is not there, or has a mistake in a table.
    """
    if options.source == "demo":
        source = FolderSource(_demo_directory(options, data))
        source.name = "demo"
        return source
    if options.source == "folder":
        return FolderSource(options.root, options.table, options.seed, options.split)
    if options.source == "jamendo":
        return JamendoSource(options.root, options.table, options.split, options.seed)
    return MagnaTagATuneSource(options.root, _protocol(options), options.group or "song", options.seed)


def _check(options: SourceOptions) -> None:
    takes, ways = SOURCES[options.source]
    given = [name for name in OPTIONS if getattr(options, name) is not None]
    for name in given:
        if name not in takes:
            known = ", ".join(f"--{name}" for name in takes) or "none of these"
            raise UserError(f"--{name}: the source {options.source!r} does not take it, expected {known}")
    if "root" in takes and options.root is None:
        raise UserError(f"--root: the source {options.source!r} needs the folder of audio files, found nothing")
    for name, choices in (("split", ways), ("group", GROUPS)):
        if name in given and getattr(options, name) not in choices:
            raise UserError(f"--{name}: found {getattr(options, name)!r}, expected one of {', '.join(choices)}")


def _preparing(data: Path, protocol: str, sample_rate: int) -> list[Need]:
    """What preparing MagnaTagATune will take; nothing where some of it lies prepared, as this may be it."""
    prepared = data / PREPARED_NAME
    if any(prepared.glob(f"{MagnaTagATuneSource.name}-{sample_rate}hz-*/{MANIFEST_NAME}")):
        return []
    needed = NUM_CLIPS[protocol] * pcm16_size(MagnaTagATuneSource.clip_seconds, sample_rate)
    return [Need(prepared, needed, "to prepare into")]


def _render_missing(options: SourceOptions, data: Path, workers: int, on_progress: OnProgress | None) -> None:
    directory = _demo_directory(options, data)
    if not (directory / "tags.csv").exists():
        with storage_errors(directory):
            render_demo(directory, songs=options.songs, seed=options.seed, workers=workers, on_progress=on_progress)


def _demo_directory(options: SourceOptions, data: Path) -> Path:
    return data / f"demo-v{COMPOSER_VERSION}-songs{options.songs}-seed{options.seed}"


def _protocol(options: SourceOptions) -> str:
    return options.split or "standard"
