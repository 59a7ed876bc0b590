"""Options that several commands have, and what they stand for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.errors import UserError

if TYPE_CHECKING:
    from genre_tagger.config import Config
    from genre_tagger.data.sources import SourceOptions

LOG_LEVEL, QUIET = "TF_CPP_MIN_LOG_LEVEL", "3"

Source = Annotated[
    str,
    typer.Argument(
        help="demo (rendered on the spot), folder (audio files and a table of tags), magnatagatune or jamendo."
    ),
]
Root = Annotated[Path | None, typer.Option(help="The folder of audio files; magnatagatune is downloaded into it.")]
Table = Annotated[Path | None, typer.Option(help="Its CSV or TSV; tags.csv or tags.tsv in the folder by default.")]
Split = Annotated[
    str | None,
    typer.Option(
        help="folder: column, group or stratified. magnatagatune: standard, full, seed_random or artist. "
        "jamendo: files, group or stratified."
    ),
]
Group = Annotated[str | None, typer.Option(help="magnatagatune: bootstrap over song (default), album or artist.")]
Mirror = Annotated[str | None, typer.Option(help="magnatagatune: URL of the folder to download from.")]
Songs = Annotated[int | None, typer.Option(min=10, help="Songs that the demo renders (400 by default).")]
DataSeed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the demo's songs and of a folder's split.")]
Data = Annotated[Path, typer.Option(help="Folder for rendered and prepared audio.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that render and decode; all cores by default.")]
Preset = Annotated[str | None, typer.Option(help="A configuration that comes with the package; default small.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A configuration file instead of a preset.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE over the configuration, e.g. model.wavenet.blocks=4.")
]
Stream = Annotated[bool, typer.Option(help="Train straight from the audio files; prepare nothing.")]


def configuration(
    preset: str | None, file: Path | None, overrides: Sequence[str] | None, init: Path | None = None
) -> tuple["Config", str]:
    """The resolved configuration, by default that of the run to start from, and its name for a run directory.

    Raises:
        UserError: as `load_config`, or there is no run to start from.
    """
    from genre_tagger.config import load_config

    if init and not (preset or file):
        from genre_tagger.run import open_run

        of_its_own = ["training.init=null", "training.freeze=0"]  # what that run itself may have started from
        overrides = [*of_its_own, *(overrides or ())]
        return load_config(path=open_run(init)[0].config, overrides=overrides), init.resolve().name
    preset = preset or (None if file else "small")
    return load_config(preset, file, overrides or ()), preset or file.stem


def source_options(
    source: str,
    root: Path | None,
    table: Path | None,
    split: str | None,
    group: str | None,
    mirror: str | None,
    songs: int | None,
    seed: int,
) -> "SourceOptions":
    """The source that the options describe; raises UserError for one that does not exist."""
    from genre_tagger.data.sources import DEMO_SONGS, SOURCES, SourceOptions

    if source not in SOURCES:
        raise UserError(f"SOURCE: unknown source {source!r}; expected one of {', '.join(SOURCES)}")
    named = {"root": root, "table": table, "split": split, "group": group, "mirror": mirror}
    return SourceOptions(source=source, songs=songs or DEMO_SONGS, seed=seed, **named)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
