"""The sources by name: their options, and how each is opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genre_tagger.errors import FieldError
from genre_tagger.files import DiskNeed, storage_errors
from genre_tagger.sources.clips import Source
from genre_tagger.sources.demo import COMPOSER_VERSION, render_demo
from genre_tagger.sources.folder import SPLIT_WAYS, FolderSource
from genre_tagger.sources.jamendo import JAMENDO_WAYS, JamendoSource
from genre_tagger.sources.magnatagatune import (
    CLIP_SECONDS,
    GROUPS,
    NUM_CLIPS,
    PROTOCOLS,
    MagnaTagATuneSource,
    fetch_missing,
)

OPTIONS = ("root", "table", "split", "group", "mirror")
DEMO_SONGS = 400


class SourceOptions(BaseModel):
    """The options that identify a collection of music. They are stored in the run directory, so that the
    collection can be opened again.

    Attributes:
        source: one of SOURCES.
        root: folder of the audio files. Every source but `demo` needs it.
        table: table of `folder`, by default `tags.csv` or `tags.tsv` in its root; or a table of
            `jamendo`, which is required.
        split: how clips are assigned to splits. Every source has its own values and its own default.
        group: unit that bootstrap intervals resample, for `magnatagatune`.
        mirror: URL that `magnatagatune` is downloaded from; its home page by default.
        songs: number of songs of the demo.
        seed: seed of the demo's songs and of drawn splits.
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

    @property
    def absolute(self) -> "SourceOptions":
        """The same options with absolute paths, which hold in every working directory."""
        places = {name: path.resolve() for name in ("root", "table") if (path := getattr(self, name)) is not None}
        return self.model_copy(update=places)


def check_options(options: SourceOptions) -> None:
    """Check that a source exists and takes the options it is given.

    Raises:
        FieldError: the source is unknown, or an option is missing or wrong. The message names the first one.
    """
    if options.source not in SOURCES:
        raise FieldError("source", f"unknown source {options.source!r}; expected one of {', '.join(SOURCES)}")
    takes = SOURCES[options.source].options
    given = [name for name in OPTIONS if getattr(options, name) is not None]
    for name in given:
        if name not in takes:
            known = ", ".join(takes) or "none of these options"
            raise FieldError(name, f"the source {options.source!r} does not take this option, expected {known}")
    if "root" in takes and options.root is None:
        raise FieldError("root", f"the source {options.source!r} needs the folder of audio files, found nothing")
    for name, choices in (("split", SOURCES[options.source].splits), ("group", GROUPS)):
        if name in given and getattr(options, name) not in choices:
            raise FieldError(name, f"found {getattr(options, name)!r}, expected one of {', '.join(choices)}")


def open_source(options: SourceOptions, folder: Path, workers: int, *, reserve: Sequence[DiskNeed] = ()) -> Source:
    """Open a source. Render the demo and download MagnaTagATune first if they are missing.

    Args:
        options: options of the source.
        folder: folder of generated data, for the demo.
        workers: number of rendering processes.
        reserve: disk space that later steps need. A download starts only if there is room for these as well.

    Returns:
        The opened source.

    Raises:
        UserError: options that do not fit together, an invalid table, a failed download, or too little disk space.
    """
    check_options(options)
    SOURCES[options.source].fetch(options, folder, workers, reserve)
    return read_source(options, folder)


def read_source(options: SourceOptions, folder: Path) -> Source:
    """Open a source that exists. Render and download nothing.

    Args:
        options: options of the source.
        folder: folder of generated data, for the demo.

    Returns:
        The opened source.

    Raises:
        UserError: the source is missing, or its table is invalid.
    """
    return SOURCES[options.source].read(options, folder)


def download_seconds(options: SourceOptions) -> float:
    """Return the total length of the clips that a source downloads, in seconds; 0 if it downloads nothing."""
    return SOURCES[options.source].download_seconds(options)


def _read_demo(options: SourceOptions, folder: Path) -> FolderSource:
    source = FolderSource(_demo_directory(options, folder))
    source.name = "demo"
    return source


def _render_demo(options: SourceOptions, folder: Path, workers: int, reserve: Sequence[DiskNeed]) -> None:
    directory = _demo_directory(options, folder)
    if not (directory / "tags.csv").exists():
        with storage_errors(directory):
            render_demo(directory, songs=options.songs, seed=options.seed, workers=workers)


def _demo_directory(options: SourceOptions, folder: Path) -> Path:
    return folder / f"demo-v{COMPOSER_VERSION}-songs{options.songs}-seed{options.seed}"


def _read_folder(options: SourceOptions, folder: Path) -> FolderSource:
    return FolderSource(_root(options), options.table, options.seed, options.split)


def _read_jamendo(options: SourceOptions, folder: Path) -> JamendoSource:
    return JamendoSource(_root(options), options.table, options.split, options.seed)


def _read_magnatagatune(options: SourceOptions, folder: Path) -> MagnaTagATuneSource:
    return MagnaTagATuneSource(_root(options), _protocol(options), options.group or "song", options.seed)


def _fetch_magnatagatune(options: SourceOptions, folder: Path, workers: int, reserve: Sequence[DiskNeed]) -> None:
    fetch_missing(_root(options), options.mirror, reserve)


def _magnatagatune_seconds(options: SourceOptions) -> float:
    return NUM_CLIPS[_protocol(options)] * CLIP_SECONDS


def _protocol(options: SourceOptions) -> str:
    return options.split or "standard"


def _root(options: SourceOptions) -> Path:
    if options.root is None:  # `check_options` refuses this; a run directory may have been edited
        raise FieldError("root", f"the source {options.source!r} needs the folder of audio files, found nothing")
    return options.root


@dataclass(frozen=True)
class SourceType:
    """How a source is opened, and which options it takes.

    Attributes:
        read: function that opens the source, from its options and the folder of generated data.
        options: names of the options among OPTIONS that the source takes.
        splits: values of the option `split`.
        fetch: function that renders or downloads missing data. Its arguments are those of `open_source`.
        download_seconds: function that returns the total length in seconds of the clips that the source downloads.
    """

    read: Callable[[SourceOptions, Path], Source]
    options: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    fetch: Callable[[SourceOptions, Path, int, Sequence[DiskNeed]], None] = lambda *_: None
    download_seconds: Callable[[SourceOptions], float] = lambda _: 0.0


SOURCES = {
    "demo": SourceType(_read_demo, fetch=_render_demo),
    "folder": SourceType(_read_folder, ("root", "table", "split"), SPLIT_WAYS),
    "magnatagatune": SourceType(
        _read_magnatagatune,
        ("root", "split", "group", "mirror"),
        tuple(PROTOCOLS),
        fetch=_fetch_magnatagatune,
        download_seconds=_magnatagatune_seconds,
    ),
    "jamendo": SourceType(_read_jamendo, ("root", "table", "split"), JAMENDO_WAYS),
}
