"""Tags a catalogue on a Ray cluster. All cores decode, each device scores, and the results go to a Parquet folder.

Ray Data distributes the work. A task decodes a few songs. A batch holds windows of several songs. Each device has one
model actor. The work of a lost machine is repeated on another one. Finished songs are saved every few seconds, so that
an interrupted command can be rerun to resume.
"""

import os
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import fs

from genre_tagger.errors import UserError
from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.files import locked, remove_leftovers, storage_errors
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.output_tables import OutputPaths, OutputTables
from genre_tagger.tagging.ray_cluster import ray_cluster
from genre_tagger.tagging.ray_stages import Rows, Scorer, songs_to_windows
from genre_tagger.tagging.song import Song, TagChoice, text_of
from genre_tagger.tagging.tagger import Taggram
from genre_tagger.tagging.window_models import ModelFiles

SONGS_PER_TASK = 16  # songs that are decoded again if a machine is lost
SONGS_PER_PART = 10_000  # a few MB
PARTS = "part-*.parquet"
# Shares of a core, if there is no GPU. A decoder and a scorer share a core; a decoder that is ahead waits.
DECODER_CPUS, SCORER_CPUS = 0.25, 0.75


class _KnownResult(NamedTuple):
    """The latest row of a song, without its scores."""

    stamp: str
    flag: str
    reason: str

    def is_current(self, stamp: str) -> bool:
        """Return whether a file with this stamp need not be scored again. An empty `stamp` matches every row."""
        return not self.reason and (self.stamp == stamp or not stamp)


def tag_catalogue(
    model: ModelFiles, catalogue: Catalogue, folder: Path, choice: TagChoice
) -> Generator[Song, None, None]:
    """Tag the songs that have no row in a folder of parts. Yield all songs: first the known ones, then the others.

    A song is known if the folder has a row with its name, its stamp and the version of the model. A song without usable
    audio gets a row with the reason. A later call tries it again, and adds a row if the result is different. Of two
    rows for one path, the one in the later part is valid.

    Args:
        model: files of the model, which are sent to the machines of the cluster.
        catalogue: the songs.
        folder: folder of `part-00000.parquet` and so on, with the columns of `--parquet FILE` and `stamp`.
        choice: choice of the tags in the column `tags`.

    Raises:
        UserError: as for `ray_cluster`; or the folder cannot be read or written, or another process is writing to it.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        remove_leftovers(folder)
        known = _known_results(folder, model.version)
        todo = {}  # stamps by name
        for name, stamp in catalogue.stamps.items():
            result = known.get(text_of(name))
            if result and result.is_current(stamp):
                yield Song(name, flag=result.flag, is_new=False)
            else:
                todo[name] = stamp
        if todo:
            names = list(todo)
            with closing(scored_windows(model, names, catalogue.store)) as rows:
                songs = (replace(song, stamp=todo[names[number]]) for number, song in _songs(rows, names, model))
                yield from _written(songs, known, folder, model, choice)


def scored_windows(model: ModelFiles, names: Sequence[str], store: fs.FileSystem | None) -> Generator[Rows, None, None]:
    """Decode and score songs on a cluster. Yield the rows of `Scorer` in the order in which they are finished.

    Args:
        model: files of the model.
        names: names of the songs; the column `number` is the index in this sequence.
        store: store of the songs, see `Catalogue`.

    Raises:
        UserError: as for `ray_cluster`.
    """
    config = model.config.covering
    tables = _task_tables(names if store else [str(Path(name).absolute()) for name in names])
    with ray_cluster() as ray:
        cores, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
        scorer_share = {"num_gpus": 1} if gpus else {"num_cpus": SCORER_CPUS}
        windows = ray.data.from_arrow(tables).map_batches(
            songs_to_windows,
            batch_size=None,
            fn_kwargs={"store": store, "config": config},
            num_cpus=1 if gpus else DECODER_CPUS,
        )
        scored = windows.map_batches(
            Scorer,
            batch_size=config.inference.batch_size,
            fn_constructor_kwargs={"packed": packed(model), "threads": None if gpus else 1},
            compute=ray.data.ActorPoolStrategy(size=min(gpus or cores, len(tables))),
            **scorer_share,
        )
        yield from scored.iter_batches(batch_size=None)


def packed(model: ModelFiles) -> dict[str, bytes]:
    """Return the contents of the files that a machine needs to load a model, by relative path."""
    run = RunDirectory(model.path)
    files = [run.config, run.tags, run.model]
    if model.is_export:
        files = ExportedVersion(model.path).all_files
    return {file.relative_to(model.path).as_posix(): file.read_bytes() for file in files}


def _known_results(folder: Path, version: str) -> dict[str, _KnownResult]:
    """Return the latest result of each path that has rows of this version of the model."""
    columns = ["path", "model", *_KnownResult._fields]
    try:
        parts = [pd.read_parquet(part, columns=columns) for part in sorted(folder.glob(PARTS))]
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None)  # from the file system; errors of parsers have many lines
        found = f"cannot be read ({reason.lower()})" if reason else "found parts of an earlier version or other files"
        raise UserError(f"{folder}: {found}; expected parts that `genre-tagger tag` wrote, or a new folder") from error
    rows = (row for part in parts for row in part[part.model == version].itertuples(index=False))
    return {str(row.path): _KnownResult(str(row.stamp), str(row.flag), str(row.reason)) for row in rows}


def _is_known(song: Song, known: Mapping[str, _KnownResult]) -> bool:
    return known.get(text_of(song.path)) == _KnownResult(song.stamp or "", song.flag, song.reason)


def _written(
    songs: Iterator[Song], known: Mapping[str, _KnownResult], folder: Path, model: ModelFiles, choice: TagChoice
) -> Iterator[Song]:
    """Yield the songs, and write those whose result is not known yet to new parts."""
    for number in count(len(list(folder.glob(PARTS)))):
        for first in songs:
            if not _is_known(first, known):
                break
            yield first
        else:
            return
        outputs = OutputPaths(parquet=folder / f"part-{number:05}.parquet")
        with OutputTables(model.version, model.tags, choice, outputs) as part:
            for song in chain([first], islice(songs, SONGS_PER_PART - 1)):
                if not _is_known(song, known):
                    part.put(song)
                yield song


def _task_tables(names: Sequence[str]) -> list[pa.Table]:
    """Return tables of the numbers and names of a few songs each. Names are bytes, because not all are UTF-8."""
    encoded = pa.array(map(os.fsencode, names), pa.binary())
    songs = pa.table({"number": pa.array(range(len(names)), pa.int64()), "name": encoded})
    return [songs.slice(first, SONGS_PER_TASK) for first in range(0, len(names), SONGS_PER_TASK)]


@dataclass
class _ArrivingSong:
    """The windows of a song that have arrived, in any order.

    Attributes:
        probabilities: [tags] of each window, by its first sample.
        last: the last row of the song, which describes it; empty until it has arrived.
    """

    probabilities: dict[int, np.ndarray] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return bool(self.last) and len(self.probabilities) == self.last["windows"]


def _songs(batches: Iterable[Rows], names: Sequence[str], model: ModelFiles) -> Iterator[tuple[int, Song]]:
    """Yield each song with its number when all its windows have arrived, and at the end the incomplete ones."""
    arriving: dict[int, _ArrivingSong] = defaultdict(_ArrivingSong)
    is_finished = np.zeros(len(names), bool)
    for batch in batches:
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(batch, values, strict=True))
            number = row["number"]
            if is_finished[number]:  # a machine was lost, and its songs were decoded again
                continue
            song = arriving[number]
            song.probabilities[row["start"]] = row["probabilities"]
            song.last = row if row["windows"] else song.last
            if song.is_whole:
                is_finished[number] = True
                yield number, _song(names[number], arriving.pop(number), model)
    for number in np.flatnonzero(~is_finished).tolist():
        yield number, Song(names[number], reason="its windows did not all arrive")


def _song(name: str, arrived: _ArrivingSong, model: ModelFiles) -> Song:
    last, config = arrived.last, model.config
    if last["reason"]:
        return Song(name, last["sha256"], reason=last["reason"])
    starts = sorted(arrived.probabilities)
    taggram = Taggram(
        times=np.array(starts, np.float32) / config.frontend.sample_rate,
        window_seconds=config.window.seconds,
        probabilities=np.stack([arrived.probabilities[start] for start in starts]),
        pooling=config.window.pooling,
        seconds=last["seconds"],
        flag=last["flag"],
    )
    return Song.of(name, last["sha256"], taggram, model.tags)
