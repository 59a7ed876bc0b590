"""The command `tag`."""

import json
import math
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from genre_tagger.commands import console
from genre_tagger.commands.console import say, show, titled_table, without_library_notes
from genre_tagger.errors import FieldError, UserError

if TYPE_CHECKING:
    from genre_tagger.export.client import Client
    from genre_tagger.tagging.song import Song, TagChoice

RUNNERS = ("local", "ray")


def tag(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] FILE_OR_FOLDER...",
            help="MODEL: a run directory, an exported version or a folder of versions; with --server, it may be left "
            "out, but then only the 5 highest tags are known. Then audio files and folders: MP3, FLAC, Ogg, Opus, WAV; "
            "M4A and AAC if ffmpeg is installed.",
        ),
    ],
    server: Annotated[
        str | None,
        typer.Option(help="Use a model server: HOST:PORT or unix:PATH for gRPC, http://HOST:PORT for REST."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model on the server; 'tagger' by default.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, max=86_400, help="Maximum seconds per request to the server; 60 by default."),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="Maximum number of tags per file; at most 5 with a server and no MODEL.")
    ] = 5,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Leave out tags with a lower probability.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per file, one per line.")] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Save all scores in this CSV table. Files that are already in it are not scored again."),
    ] = None,
    parquet: Annotated[Path | None, typer.Option(help="Save all scores in this Parquet table, as --csv does.")] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Save the embedding of each file in this Parquet table: the mean over its windows."),
    ] = None,
    taggram: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Plot the --top tags of one file over time.")
    ] = None,
    runner: Annotated[
        str,
        typer.Option(
            help="local or ray. ray uses the cluster at RAY_ADDRESS or on this machine, or else starts one on all "
            "cores. With ray, --parquet is a folder of parts. If interrupted, rerun the command to resume."
        ),
    ] = "local",
    catalogue: Annotated[
        str | None,
        typer.Option(
            help="With --runner ray, instead of files: a prefix of an object store (s3://BUCKET/MUSIC, gs:// or "
            "file://) or a text file with one path or URI per line."
        ),
    ] = None,
) -> None:
    """Tag audio files. Files without usable audio are listed at the end, and the exit code is then 1.

    With a result table (--csv, --parquet, --embeddings), a summary is printed instead of the tags of each file.
    """
    if runner not in RUNNERS:
        raise FieldError("runner", f"found {runner!r}, expected one of {', '.join(RUNNERS)}")
    if catalogue and runner != "ray":
        raise FieldError("catalogue", "needs --runner ray; without it, name files and folders")
    if server is None and model:
        raise FieldError("model", "needs --server; a run has only one model")
    if server is None and timeout:
        raise FieldError("timeout", "needs --server")
    from genre_tagger.tagging.audio_files import audio_files
    from genre_tagger.tagging.song import TagChoice
    from genre_tagger.tagging.window_models import is_model

    where, music = (paths[0], paths[1:]) if server is None or is_model(paths[0]) else (None, paths)
    if not music and not catalogue:
        raise UserError(f"tag: found only {where}, expected a model and audio files, or --server and audio files")
    choice, tables = TagChoice(top, threshold), {"csv": csv, "parquet": parquet, "embeddings": embeddings}
    prints_songs = as_json or not any(tables.values())
    if runner == "ray":
        others = {"server": server, "as_json": as_json, "csv": csv, "embeddings": embeddings, "taggram": taggram}
        count, songs = _on_cluster(where, music, catalogue, choice, parquet, others)
    elif where is None:
        files = audio_files(music)
        _refuse_without_names(tables | {"taggram": taggram}, top)
        count, songs = len(files), _tagged_by_server(_client(str(server), model, timeout), files)
    else:
        files, client = audio_files(music), None if server is None else _client(server, model, timeout)
        outputs = tables | {"shows_scores": prints_songs}
        count, songs = len(files), _tagged(where, client, files, choice, outputs, taggram)
    with closing(songs):
        broken = print_songs(songs, count, choice, as_json, [table for table in tables.values() if table])
    raise typer.Exit(1 if broken else 0)


def print_songs(
    songs: "Iterable[Song]", count: int, choice: "TagChoice", as_json: bool, tables: Sequence[Path]
) -> list[str]:
    """Print the chosen tags of each song as soon as it is tagged, and list the broken files at the end.

    Args:
        songs: results of the songs.
        count: number of songs, for the progress bar.
        choice: choice of the tags that are shown.
        as_json: print one line of JSON per song, also for broken files and with tables.
        tables: result tables. If there are any, a summary is printed at the end instead of the songs.

    Returns:
        The lines about broken files, which are printed on standard error.
    """
    counts: Counter[str] = Counter()
    broken = []
    with without_library_notes():
        for song in _with_bar(songs, count):
            counts[song.status] += 1
            if song.reason:
                broken.append(f"{_one_line(song.path)}: {song.reason}")
            if as_json:
                say(json.dumps(_facts(song) | {"tags": choice.of(song.scores)}))
            elif not tables and not song.reason:
                _print_song(song, choice.of(song.scores))
    if tables and not as_json:
        ordered = sorted(counts.items(), key=lambda count: (-count[1], count[0]))  # independent of the order of songs
        parts = ", ".join(f"{number} {status}" for status, number in ordered)
        say(f"{parts}: {', '.join(map(str, tables))}")
    for line in broken:
        console.stderr.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
    return broken


def _client(server: str, model: str | None, timeout: float | None) -> "Client":
    from genre_tagger.export.client import Client
    from genre_tagger.export.contract import MODEL_NAME

    return Client(server, model or MODEL_NAME, timeout_seconds=timeout or 60)


def _refuse_without_names(files: dict[str, Path | None], top: int) -> None:
    """Refuse options that need the names of all tags. Without MODEL, a server names only the highest tags."""
    from genre_tagger.export.contract import TOP_TAGS

    if wanted := [name for name, path in files.items() if path]:
        raise FieldError(wanted[0], "found a server without MODEL, expected MODEL before the files, for all tag names")
    if top > TOP_TAGS:
        raise FieldError("top", f"found {top}, expected at most {TOP_TAGS}: without MODEL, a server returns no more")


def _on_cluster(
    where: Path | None,
    music: list[Path],
    catalogue: str | None,
    choice: "TagChoice",
    folder: Path | None,
    others: dict[str, Any],
) -> "tuple[int, Generator[Song, None, None]]":
    """Return the number of songs and a generator of their results."""
    if wanted := [name for name, value in others.items() if value]:
        raise FieldError(wanted[0], "cannot be used with --runner ray, which writes to --parquet FOLDER")
    if folder is None or folder.is_file():
        found = f"the file {folder}" if folder else "none"
        raise FieldError("parquet", f"found {found}, expected a folder, new or written by --runner ray")
    if catalogue and music:
        raise FieldError("catalogue", f"found {music[0]} as well, expected either --catalogue or files and folders")
    from genre_tagger.tagging.catalogue import Catalogue
    from genre_tagger.tagging.ray_runner import tag_catalogue
    from genre_tagger.tagging.window_models import ModelFiles

    model = ModelFiles.find(Path(str(where)))
    listed = Catalogue.named(catalogue) if catalogue else Catalogue.of_files(music)
    return len(listed.stamps), tag_catalogue(model, listed, folder, choice)


def _tagged_by_server(client: "Client", files: list[Path]) -> "Generator[Song, None, None]":
    from genre_tagger.tagging.served_model import tag_by_server

    return tag_by_server(client, files)


def _tagged(
    where: Path,
    client: "Client | None",
    files: list[Path],
    choice: "TagChoice",
    outputs: dict[str, Any],
    taggram: Path | None,
) -> "Generator[Song, None, None]":
    from genre_tagger.tagging.output_tables import OutputPaths
    from genre_tagger.tagging.tag_files import TagRequest, tag_files, tagger_by_server
    from genre_tagger.tagging.tagger import Tagger

    tagger = Tagger.load(where) if client is None else tagger_by_server(client, where)
    return tag_files(tagger, TagRequest(files, choice, OutputPaths(**outputs), taggram))


def _with_bar(songs: "Iterable[Song]", count: int) -> "Iterator[Song]":
    """Yield the songs with a progress bar on standard error, if that is a terminal.

    The bar is hidden while the caller prints a song.
    """
    if not console.stderr.is_terminal:
        yield from songs
        return
    rate = TextColumn("{task.fields[rate]:.1f} files/s")
    columns = (TextColumn("tagging"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    bar = Progress(*columns, console=console.stderr, transient=True)
    task, begun = bar.add_task("", total=count, rate=0.0), time.monotonic()
    with bar:
        for done, song in enumerate(songs, start=1):  # after the last song, the tables are saved while the bar is shown
            bar.stop()
            bar.update(task, completed=done, rate=done / (time.monotonic() - begun))
            yield song
            bar.start()


def _print_song(song: "Song", chosen: Mapping[str, float]) -> None:
    """Print the chosen tags of a file as a table, or why it has none."""
    name = _one_line(song.path)
    if not chosen:
        say(f"{name}: {song.flag or 'no tag reaches the threshold'}")
        return
    table = titled_table(name, "tag")
    table.add_column("probability", justify="right")
    for tag_name, score in chosen.items():
        table.add_row(escape(tag_name), f"{score:.3f}")
    show(table)


def _facts(song: "Song") -> dict[str, Any]:
    """Return the result for a file without its tags, by the column names of the result tables."""
    from genre_tagger.tagging.song import text_of

    digest = {"sha256": song.sha256} if song.sha256 else {}
    length = {} if math.isnan(song.seconds) else {"seconds": round(song.seconds, 3)}
    return {"path": text_of(song.path)} | digest | length | {"flag": song.flag, "reason": song.reason}


def _one_line(path: str | Path) -> str:
    """Return a path for the screen: line breaks and other unprintable characters as backslash escapes."""
    from genre_tagger.tagging.song import text_of

    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text_of(path))
