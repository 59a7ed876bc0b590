"""A model at work on files: tag."""

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.errors import UserError

if TYPE_CHECKING:
    from genre_tagger.export.client import Client
    from genre_tagger.tagging.results import Choice, Song

RUNNERS = ("local", "ray")


def tag(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] FILE_OR_FOLDER...",
            help="A run directory, an exported version or a folder of versions (with --server only for more than the 5 "
            "highest tags); then audio files and folders: MP3, FLAC, Ogg, Opus, WAV; M4A and AAC where ffmpeg is.",
        ),
    ],
    server: Annotated[
        str | None, typer.Option(help="Ask a model server: HOST:PORT or unix:PATH for gRPC, http://HOST:PORT for REST.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name on the server; 'tagger' by default.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, max=86_400, help="Seconds that the server may take for a request (60).")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Tags a file at most; a server without MODEL names 5.")] = 5,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Leave out tags of a lower probability.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a file, one a line.")] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Keep all scores in this table; a file whose row is there is not scored again.")
    ] = None,
    parquet: Annotated[Path | None, typer.Option(help="The same as Parquet.")] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Keep embeddings in this Parquet, of each file the mean over its windows.")
    ] = None,
    taggram: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the --top tags of the one file over its time.")
    ] = None,
    runner: Annotated[
        str,
        typer.Option(
            help="local, or ray: on the Ray cluster of RAY_ADDRESS or of this machine, or on all cores here; --parquet "
            "is then a folder of parts, and the same command goes on where it stopped."
        ),
    ] = "local",
    catalogue: Annotated[
        str | None,
        typer.Option(
            help="With --runner ray, in place of files: an object store's prefix (s3://BUCKET/MUSIC, gs:// or file://) "
            "or a text file with a path or URI a line."
        ),
    ] = None,
) -> None:
    """Tag audio files. Those without usable audio are named at the end, and the exit code is 1.

    Tables (--csv, --parquet, --embeddings) take the place of what is else printed for each file.
    """
    if runner not in RUNNERS:
        raise UserError(f"--runner: found {runner!r}, expected one of {', '.join(RUNNERS)}")
    if catalogue and runner != "ray":
        raise UserError("--catalogue: goes with --runner ray; else name files and folders")
    if server is None and model:
        raise UserError("--model: goes with --server; a run has one model")
    if server is None and timeout:
        raise UserError("--timeout: goes with --server")
    from genre_tagger import console
    from genre_tagger.tagging.listing import audio_files, is_model
    from genre_tagger.tagging.results import Choice

    where, music = (paths[0], paths[1:]) if server is None or is_model(paths[0]) else (None, paths)
    if not music and not catalogue:
        raise UserError(f"tag: found {where} alone, expected a model and audio files, or --server and audio files")
    choice, tables = Choice(top, threshold), {"csv": csv, "parquet": parquet, "embeddings": embeddings}
    prints_songs = as_json or not any(tables.values())
    if runner == "ray":
        others = {"server": server, "json": as_json, "csv": csv, "embeddings": embeddings, "taggram": taggram}
        files, songs = _on_cluster(where, music, catalogue, choice, parquet, others)
    elif where is None:
        files, client = audio_files(music), _client(server, model, timeout)
        _refuse_without_names(tables | {"taggram": taggram}, top)
        songs = _asked(client, files)
    else:
        files, client = audio_files(music), None if server is None else _client(server, model, timeout)
        songs = _tagged(where, client, files, choice, tables | {"shows_scores": prints_songs}, taggram)
    with closing(songs):
        broken = console.print_songs(songs, len(files), choice, as_json, [table for table in tables.values() if table])
    raise typer.Exit(1 if broken else 0)


def _client(server: str, model: str | None, timeout: float | None) -> "Client":
    from genre_tagger.export.client import Client
    from genre_tagger.export.contract import MODEL_NAME

    return Client(server, model or MODEL_NAME, timeout_seconds=timeout or 60)


def _refuse_without_names(files: dict[str, Path | None], top: int) -> None:
    """A server alone gives the names of its highest tags, and nothing else."""
    from genre_tagger.export.contract import TOP_TAGS

    if wanted := [name for name, path in files.items() if path]:
        raise UserError(f"--{wanted[0]}: found a server alone, expected MODEL before the files, for its tags")
    if top > TOP_TAGS:
        raise UserError(f"--top: found {top}, expected {TOP_TAGS} at most: a server without MODEL names no more")


def _on_cluster(
    where: Path, music: list[Path], catalogue: str | None, choice: "Choice", folder: Path | None, others: dict
) -> tuple[Sequence[str], Generator["Song", None, None]]:
    """Names of all songs, and the songs as they come."""
    if wanted := [name for name, value in others.items() if value]:
        raise UserError(f"--{wanted[0]}: does not go with --runner ray, which writes to --parquet FOLDER")
    if folder is None or folder.is_file():
        found = f"the file {folder}" if folder else "none"
        raise UserError(f"--parquet: found {found}, expected with --runner ray a folder, new or of an earlier run")
    if catalogue and music:
        raise UserError(f"--catalogue: found {music[0]} too, expected the one or the other")
    from genre_tagger.tagging.catalogue import Catalogue
    from genre_tagger.tagging.models import ModelFiles
    from genre_tagger.tagging.ray_runner import tag_catalogue

    model, listed = ModelFiles.find(where), Catalogue.named(catalogue) if catalogue else Catalogue.of_files(music)
    return list(listed.stamps), tag_catalogue(model, listed, folder, choice)


def _asked(client: "Client", files: list[Path]) -> Generator["Song", None, None]:
    from genre_tagger.tagging.served import ask_server

    return ask_server(client, files)


def _tagged(
    where: Path, client: "Client | None", files: list[Path], choice: "Choice", outputs: dict, plot: Path | None
) -> Generator["Song", None, None]:
    from genre_tagger.tagging.library import tag_library, tagger_by_server
    from genre_tagger.tagging.tables import Outputs
    from genre_tagger.tagging.tagger import Tagger

    tagger = Tagger.of_model(where) if client is None else tagger_by_server(client, where)
    return tag_library(tagger, files, choice, Outputs(**outputs), plot)
