"""Tags a catalogue on a Ray cluster: any core decodes, each device scores, results become parts of a Parquet folder.

Ray Data moves the work: songs in small tasks, their windows in batches of several songs, one model actor a device; what
a lost machine had is done once more on another. What is finished is written every few seconds, so that the same command
goes on from there, whatever was killed.
"""

import os
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import fs

from genre_tagger.errors import UserError
from genre_tagger.export.contract import SAVED_MODEL_NAME
from genre_tagger.files import locked, remove_leftovers, storage_errors
from genre_tagger.run import RunDirectory
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.ray_cluster import ray_cluster
from genre_tagger.tagging.ray_stages import Rows, Scorer, songs_to_windows
from genre_tagger.tagging.results import Choice, Song, text_of
from genre_tagger.tagging.tables import Outputs, Tables
from genre_tagger.tagging.tagger import Tagger, Taggram

SONGS_PER_TASK = 16  # that are decoded once more where a machine is lost
SONGS_PER_PART = 10_000  # of a few MB
PARTS = "part-*.parquet"
# Of a core, where there is no GPU: a decoder and a scorer share it, and the decoder waits where it is ahead.
DECODER_CPUS, SCORER_CPUS = 0.25, 0.75


class _Outcome(NamedTuple):
    """What the row of a song says about it, beside its scores."""

    stamp: str
    flag: str
    reason: str

    def stands(self, stamp: str) -> bool:
        """Whether it is that of a file with this stamp; a file that has none goes by its name alone."""
        return not self.reason and (self.stamp == stamp or not stamp)


def tag_catalogue(model: ModelFiles, catalogue: Catalogue, folder: Path, choice: Choice) -> Generator[Song, None, None]:
    """Tags what the folder has no row of yet, by name, stamp and model version; yields songs as they are finished.

    Songs without usable audio have a row with the reason, and a later run tries them again, which adds a row if the
    outcome is another. Of two rows for one path that in the later part holds.

    Args:
        model: its files are sent to the machines of the cluster.
        catalogue: what to tag.
        folder: gets `part-00000.parquet` and so on, tables as `--parquet FILE` has them.
        choice: for the column `tags`.

    Raises:
        UserError: Ray is not installed or does not answer, or the folder cannot be read or written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        remove_leftovers(folder)
        known = _known(folder, model.version)
        todo = {}  # stamps by name
        for name, stamp in catalogue.stamps.items():
            outcome = known.get(text_of(name))
            if outcome and outcome.stands(stamp):
                yield Song(name, flag=outcome.flag, is_new=False)
            else:
                todo[name] = stamp
        if todo:
            with ray_cluster() as ray:
                names = list(todo)
                songs = _songs(_scored_windows(ray, model, names, catalogue.store), names, model)
                stamped = (replace(song, stamp=todo[song.path]) for song in songs)
                yield from _written(stamped, known, folder, model, choice)


def _known(folder: Path, version: str) -> dict[str, _Outcome]:
    """The last outcome of each path that has rows of this model."""
    columns = ["path", "model", *_Outcome._fields]
    try:
        parts = [pd.read_parquet(part, columns=columns) for part in sorted(folder.glob(PARTS))]
    except (pa.ArrowException, OSError, ValueError) as error:
        why = getattr(error, "strerror", None)  # the disk's; what libraries say of a content takes many lines
        found = f"cannot be read ({why.lower()})" if why else "found parts of an earlier version, or something else"
        raise UserError(f"{folder}: {found}; expected parts that `genre-tagger tag` wrote, or a new folder") from None
    rows = (row for part in parts for row in part[part.model == version].itertuples(index=False))
    return {path: _Outcome(*facts) for path, _, *facts in rows}


def _is_known(song: Song, known: Mapping[str, _Outcome]) -> bool:
    return known.get(text_of(song.path)) == _Outcome(song.stamp, song.flag, song.reason)


def _written(
    songs: Iterator[Song], known: Mapping[str, _Outcome], folder: Path, model: ModelFiles, choice: Choice
) -> Iterator[Song]:
    """Songs as they are; on their way, those whose outcome is not known already are put into new parts."""
    tagger = Tagger(None, model.config, model.tags, model.version)  # it scores elsewhere
    for number in count(len(list(folder.glob(PARTS)))):
        for first in songs:
            if not _is_known(first, known):
                break
            yield first
        else:
            return
        with Tables(tagger, choice, Outputs(parquet=folder / f"part-{number:05}.parquet")) as part:
            for song in chain([first], islice(songs, SONGS_PER_PART - 1)):
                if not _is_known(song, known):
                    part.put(song)
                yield song


def _scored_windows(
    ray: ModuleType, model: ModelFiles, names: Sequence[str], store: fs.FileSystem | None
) -> Iterable[Rows]:
    """All windows of all songs with their probabilities, as they come."""
    config = model.config.covering
    cores, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
    scorer_share = {"num_gpus": 1} if gpus else {"num_cpus": SCORER_CPUS}
    tasks = _tasks(names if store else [str(Path(name).absolute()) for name in names])
    windows = ray.data.from_arrow(tasks).map_batches(
        songs_to_windows,
        batch_size=None,
        fn_kwargs={"store": store, "config": config},
        num_cpus=1 if gpus else DECODER_CPUS,
    )
    scored = windows.map_batches(
        Scorer,
        batch_size=config.training.batch_size,
        fn_constructor_kwargs={"packed": packed(model), "threads": None if gpus else 1},
        compute=ray.data.ActorPoolStrategy(size=min(gpus or cores, len(tasks))),
        **scorer_share,
    )
    return scored.iter_batches(batch_size=None)


def _tasks(names: Sequence[str]) -> list[pa.Table]:
    """Numbers and names, some songs a table; as bytes, since not every name is UTF-8."""
    encoded = pa.array(map(os.fsencode, names), pa.binary())
    songs = pa.table({"number": pa.array(range(len(names)), pa.int64()), "name": encoded})
    return [songs.slice(first, SONGS_PER_TASK) for first in range(0, len(names), SONGS_PER_TASK)]


def packed(model: ModelFiles) -> dict[str, bytes]:
    """The files that a machine needs to load the model."""
    run = RunDirectory(model.path)
    files = [run.config, run.tags, run.model]
    if model.is_export:
        files = [file for place in (SAVED_MODEL_NAME, "variables/*", "assets/*") for file in model.path.glob(place)]
    return {file.relative_to(model.path).as_posix(): file.read_bytes() for file in files}


@dataclass
class _Arriving:
    """A song of which some windows are there, in whatever order.

    Attributes:
        probabilities: [tags] of each window, by its first sample.
        last: the row that has what is known of the song.
    """

    probabilities: dict[int, np.ndarray] = field(default_factory=dict)
    last: dict[str, Any] | None = None

    @property
    def is_whole(self) -> bool:
        return self.last is not None and len(self.probabilities) == self.last["windows"]


def _songs(batches: Iterable[Rows], names: Sequence[str], model: ModelFiles) -> Iterator[Song]:
    """Songs as soon as all their windows are there, each once; at the end those that never were whole."""
    arriving: dict[int, _Arriving] = defaultdict(_Arriving)
    is_finished = np.zeros(len(names), bool)
    for batch in batches:
        for values in zip(*batch.values(), strict=True):
            row = dict(zip(batch, values, strict=True))
            number = row["number"]
            if is_finished[number]:
                continue
            song = arriving[number]
            song.probabilities[row["start"]] = row["probabilities"]
            song.last = row if row["windows"] else song.last
            if song.is_whole:
                is_finished[number] = True
                yield _song(names[number], arriving.pop(number), model)
    for number in np.flatnonzero(~is_finished):
        yield Song(names[number], reason="its windows did not all arrive")


def _song(name: str, arrived: _Arriving, model: ModelFiles) -> Song:
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
