"""Songs as they are tagged."""

import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from genre_tagger.console import output
from genre_tagger.console.output import say, show, titled_table, without_library_notes

if TYPE_CHECKING:
    from genre_tagger.tagging.results import Choice, Song


def print_songs(
    songs: "Iterable[Song]", count: int, choice: "Choice", as_json: bool, tables: Sequence[Path]
) -> list[str]:
    """The chosen tags of each song as it comes, unless there are tables for them; then the broken files, on stderr.

    Args:
        songs: as they are tagged.
        count: how many there will be.
        choice: of their tags.
        as_json: a line of JSON each, of the broken too, with tables too.
        tables: where all scores are written; how many songs became what is then printed at the end.

    Returns:
        The lines on broken files.
    """
    counts, broken = Counter(), []
    with without_library_notes():
        for song in _with_files_bar(songs, count):
            counts[song.outcome] += 1
            if song.reason:
                broken.append(f"{_one_line(song.path)}: {song.reason}")
            if as_json:
                say(json.dumps(_facts(song) | {"tags": choice.of(song.scores)}))
            elif not tables and not song.reason:
                _print_song(song, choice.of(song.scores))
    if tables and not as_json:
        ordered = sorted(counts.items(), key=lambda count: (-count[1], count[0]))  # whichever song came first
        parts = ", ".join(f"{number} {outcome}" for outcome, number in ordered)
        say(f"{parts}: {', '.join(map(str, tables))}")
    for line in broken:
        output.stderr.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)
    return broken


def _with_files_bar(songs: "Iterable[Song]", count: int) -> "Iterator[Song]":
    """Yields the songs; a bar on standard error shows how many there were and their rate, where that is a terminal.

    It is away whenever the caller has a song, so that what is printed then stays whole.
    """
    if not output.stderr.is_terminal:
        yield from songs
        return
    rate = TextColumn("{task.fields[rate]:.1f} files/s")
    columns = (TextColumn("tagging"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    bar = Progress(*columns, console=output.stderr, transient=True)
    task, begun = bar.add_task("", total=count, rate=0.0), time.monotonic()
    with bar:
        for done, song in enumerate(songs, start=1):  # to their very end, where tables are saved
            bar.stop()
            bar.update(task, completed=done, rate=done / (time.monotonic() - begun))
            yield song
            bar.start()


def _print_song(song: "Song", chosen: Mapping[str, float]) -> None:
    """The chosen tags of a file as a table, or why it has none."""
    name = _one_line(song.path)
    if not chosen:
        say(f"{name}: {song.flag or 'no tag reaches the threshold'}")
        return
    table = titled_table(name, "tag")
    table.add_column("probability", justify="right")
    for tag, score in chosen.items():
        table.add_row(escape(tag), f"{score:.3f}")
    show(table)


def _facts(song: "Song") -> dict[str, Any]:
    """What is known of a file beside its tags, by the names of tables; without a model here or audio it is less."""
    from genre_tagger.tagging.results import text_of

    digest = {"sha256": song.sha256} if song.sha256 else {}
    length = {} if math.isnan(song.seconds) else {"seconds": round(song.seconds, 3)}
    return {"path": text_of(song.path)} | digest | length | {"flag": song.flag, "reason": song.reason}


def _one_line(path: Path) -> str:
    """A path for the screen: line breaks and other unprintable characters as backslash escapes."""
    from genre_tagger.tagging.results import text_of

    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text_of(path))
