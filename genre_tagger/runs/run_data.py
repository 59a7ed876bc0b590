"""The data of a run: open it for training, and open it again for evaluation."""

import logging
import math
from dataclasses import dataclass

import pandas as pd

from genre_tagger.backend import check_backend
from genre_tagger.config import Config
from genre_tagger.dataset.dataset import Dataset
from genre_tagger.dataset.manifest import MANIFEST_NAME, Manifest, read_manifest
from genre_tagger.dataset.prepare import prepare_source
from genre_tagger.dataset.request import DataRequest
from genre_tagger.dataset.stream import stream_dataset
from genre_tagger.errors import UserError
from genre_tagger.files import storage_errors, write_text
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.record import RunRecord
from genre_tagger.sources.clips import read_tags
from genre_tagger.sources.registry import open_source

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenedData:
    """Data for a run.

    Attributes:
        dataset: the clips.
        record: the record of the data for `data.json`.
        rejected: table of the files that a stream cannot use, with the reasons; None if the data is prepared.
    """

    dataset: Dataset
    record: RunRecord
    rejected: pd.DataFrame | None


def open_data(request: DataRequest, config: Config) -> OpenedData:
    """Open the data for a run. Render, download and prepare it first if it is missing.

    Args:
        request: the source, and how its audio is read.
        config: configuration of the run, for its sample rate and window.

    Raises:
        UserError: an invalid option or table, no usable clip, or a full or unwritable disk.
    """
    check_backend()
    if request.stream:
        dataset, rejected = _open_stream(request, config)
        prepared = None
        counts = ", ".join(f"{len(clips.ids)} {split}" for split, clips in dataset.splits.items())
        _logger.info("streaming %s clips, %d tags", counts, len(dataset.tags))
        if len(rejected):
            _logger.info("%d files cannot be used, see rejected.csv in the run directory", len(rejected))
    else:
        manifest = prepare_source(request, config.frontend.sample_rate)
        dataset, rejected, prepared = Dataset.of_manifest(manifest), None, manifest.directory.resolve()
        for line in (_describe(manifest), *manifest.notes):
            _logger.info("%s", line)
    _log_limits(dataset, config)
    record = RunRecord(
        source=request.source.absolute,
        folder=request.folder.resolve(),
        prepared=prepared,
        stream=request.stream,
        hash=dataset.hash,
        protocol=dataset.protocol,
    )
    return OpenedData(dataset, record, rejected)


def check_window(dataset: Dataset, config: Config) -> None:
    """Check that at least one clip fills a window. Otherwise every window would be padded with zeros.

    Args:
        dataset: the clips.
        config: configuration of the run, for its window.

    Raises:
        UserError: every clip is shorter than a window.
    """
    window, longest = config.window.seconds, max(clips.seconds.max() for clips in dataset.splits.values())
    if longest < window:
        fitting = math.floor(100 * longest) / 100
        raise UserError(
            f"config key 'window.seconds': found {window:g}, but the longest clip has {longest:.2f} s; expected a "
            f"window that is not longer, for example window.seconds={fitting:g}"
        )


def data_of_run(run: RunDirectory, config: Config, workers: int) -> Dataset:
    """Open the data of a run, with the tags of the run. Prepare the data again if it was removed.

    Args:
        run: the run directory.
        config: configuration of the run.
        workers: number of processes that prepare the data.

    Returns:
        The clips, with one column of labels per tag of the run.

    Raises:
        UserError: the run has no data, or its data is missing or has changed.
    """
    record = run.read_record()
    if record.source is None or record.folder is None:
        raise UserError(
            f"{run.path}: found imported weights without data; expected a SOURCE to evaluate them on: "
            f"`genre-tagger evaluate {run.path} SOURCE`, for example with folder --root MUSIC"
        )
    request = DataRequest(record.source, record.folder, record.stream, workers)
    if record.stream:
        dataset, _ = _open_stream(request, config)
    elif record.prepared is not None and (record.prepared / MANIFEST_NAME).exists():
        dataset = Dataset.of_manifest(read_manifest(record.prepared))
    else:
        dataset = Dataset.of_manifest(prepare_source(request, config.frontend.sample_rate))
    if dataset.hash != record.hash:
        raise UserError(
            f"{run.path}: found data with the hash {dataset.hash[:8]}, expected {record.hash and record.hash[:8]}: the "
            "data has changed since training; restore it, or train again into another directory"
        )
    return dataset.with_tags(read_tags(run.tags))


def attach_data(run: RunDirectory, opened: OpenedData) -> None:
    """Record the data of an imported run.

    The data cannot be changed later, because the metrics and the baseline depend on it.

    Args:
        run: directory of the imported run.
        opened: the data.

    Raises:
        UserError: the run already has other data, the data has none of its tags, or the record cannot be written.
    """
    record, new = run.read_record(), opened.record
    if record.hash not in (None, new.hash):
        raise UserError(
            f"{run.path}: found a record of other data in {run.record.name}; expected no SOURCE, the same SOURCE, or "
            "another run"
        )
    opened.dataset.with_tags(read_tags(run.tags))  # raises an error if the data has none of them
    if record.hash is None:
        with storage_errors(run.path):
            write_text(run.record, new.model_copy(update={"origin": record.origin}).to_json())


def _open_stream(request: DataRequest, config: Config) -> tuple[Dataset, pd.DataFrame]:
    source = open_source(request.source, request.folder, request.workers)
    dataset, rejected = stream_dataset(source, config.frontend.sample_rate)
    for note in source.notes({name for clips in dataset.splits.values() for name in clips.ids}):
        _logger.info("%s", note)
    return dataset, rejected


def _describe(manifest: Manifest) -> str:
    splits = ", ".join(f"{summary.clips} {split}" for split, summary in manifest.splits.items())
    rejected = f", {manifest.rejected} rejected (see rejected.csv there)" if manifest.rejected else ""
    protocol = f", protocol {manifest.protocol}" if manifest.protocol else ""
    return f"data in {manifest.directory}: {splits} clips, {len(manifest.tags)} tags{protocol}{rejected}"


def _log_limits(dataset: Dataset, config: Config) -> None:
    """Log the number of short clips, and the tags that are left out of averages."""
    if short := dataset.clips_shorter_than(config.window.seconds):
        _logger.info(
            "%d clips are shorter than the window of %g s and are padded with zeros at the end",
            short,
            config.window.seconds,
        )
    for split in dataset.splits:
        if one_sided := dataset.one_sided_tags(split):
            _logger.info(
                "tags without positives or without negatives in %s are left out of averages: %s",
                split,
                ", ".join(one_sided),
            )
