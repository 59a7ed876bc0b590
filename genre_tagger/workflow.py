"""What each command does, from options to results: source, data, training, evaluation. The command line prints it."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow as tf

from genre_tagger.backend import check_backend
from genre_tagger.config import Config
from genre_tagger.data.clips import Source, read_tags
from genre_tagger.data.dataset import Dataset
from genre_tagger.data.decode import pcm16_size
from genre_tagger.data.manifest import MANIFEST_NAME, PREPARED_NAME, Manifest, read_manifest
from genre_tagger.data.records import data_hash, prepare
from genre_tagger.data.sources import SourceOptions, open_source
from genre_tagger.data.stream import stream_dataset
from genre_tagger.errors import UserError
from genre_tagger.evaluation.evaluate import evaluate_run
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.evaluation.probe import probe_model
from genre_tagger.evaluation.robustness.measure import measure_robustness
from genre_tagger.files import Need, check_space, replacing, storage_errors
from genre_tagger.models.tagger import build_tagger, load_tagger
from genre_tagger.run import RunDirectory, check_run, create_run, discard_run, open_run, read_data, write_text
from genre_tagger.training.callbacks import BudgetError
from genre_tagger.training.fit import device_names, fit
from genre_tagger.training.transfer import check_start, origin_of

Say = Callable[[str], None]
# By its title, and whether it counts bytes; called with how many are done, and of how many.
ProgressBar = Callable[..., Callable[[int, int], None]]


def _say_nothing(line: str) -> None:
    pass


@dataclass(frozen=True)
class OpenedData:
    """What a run is trained on.

    Attributes:
        dataset: the clips.
        record: where they came from, for the run directory.
        rejected: files that a stream cannot use, with their reasons; None where the data is prepared.
    """

    dataset: Dataset
    record: dict[str, Any]
    rejected: pd.DataFrame | None


@dataclass(frozen=True)
class TrainingResult:
    """What a training command has to show."""

    run: RunDirectory
    history: list[dict[str, Any]]
    report: dict[str, Any]
    predictions: Predictions


def prepare_source(
    options: SourceOptions, data: Path, sample_rate: int, workers: int, progress: ProgressBar, say: Say = _say_nothing
) -> Manifest:
    """Renders the demo or downloads MagnaTagATune where that is the source; decodes every clip, below `data`.

    Args:
        options: the source.
        data: folder for everything that is made.
        sample_rate: of the prepared audio, in Hz.
        workers: processes.
        progress: makes a progress bar.
        say: prints a line.

    Raises:
        UserError: a mistake in the options or the table, a failed download, no usable clip, a full or unwritable disk.
    """
    source = _open(options, data, workers, progress, say, sample_rate)
    digest = data_hash(source, sample_rate)
    directory = data / PREPARED_NAME / f"{source.name}-{sample_rate}hz-{digest[:10]}"
    if source.clip_seconds and not (directory / MANIFEST_NAME).exists():
        already = sum(file.stat().st_size for file in directory.glob("*.tfrecord"))
        needed = len(source.clips) * pcm16_size(source.clip_seconds, sample_rate)
        check_space([Need(directory, max(0, needed - already), "to prepare into")], say)
    with progress("preparing clips") as on_progress:
        return prepare(source, sample_rate, directory, workers=workers, on_progress=on_progress)


def train(
    options: SourceOptions,
    config: Config,
    run_path: Path,
    data: Path,
    *,
    stream: bool,
    workers: int,
    say: Say,
    progress: ProgressBar,
) -> TrainingResult:
    """From a source of music to a trained and evaluated run; goes on from wherever an earlier call was stopped.

    Args:
        options: the source.
        config: of the run.
        run_path: the run directory, made if missing.
        data: folder for rendered and prepared audio.
        stream: decode the audio files while training, prepare nothing.
        workers: processes that render and prepare.
        say: prints a line.
        progress: makes a progress bar.

    Raises:
        UserError: whatever the user can mend; nothing that was finished is lost.
    """
    check_run(run_path, config)
    check_model(config, RunDirectory(run_path))
    opened = open_data(options, config, data, stream=stream, workers=workers, say=say, progress=progress)
    check_window(opened.dataset, config)
    return train_and_evaluate(run_path, config, opened, say)


def check_model(config: Config, run: RunDirectory) -> None:
    """Raises UserError for what no training could begin with, before anything long does."""
    model = build_tagger(config, num_tags=1)
    if not run.checkpoint.exists():  # else it goes on from there, wherever it started from
        check_start(model, config)


def train_and_evaluate(run_path: Path, config: Config, opened: OpenedData, say: Say) -> TrainingResult:
    """Trains into a run directory, from wherever it stands, and evaluates it; raises UserError as `train_run`."""
    run, history = train_run(run_path, config, opened, say)
    with storage_errors(run.path), _decoding_errors(opened.record["stream"]):
        report, predictions = evaluate_run(run, config, opened.dataset)
    return TrainingResult(run, history, report, predictions)


def open_data(
    options: SourceOptions,
    config: Config,
    data: Path,
    *,
    stream: bool,
    workers: int,
    say: Say,
    progress: ProgressBar,
) -> OpenedData:
    """The clips that a configuration is trained on, rendered and prepared as far as they are not; arguments as `train`.

    Raises:
        UserError: a mistake in the options or the table, no usable clip, a full or unwritable disk.
    """
    check_backend()
    if stream:
        dataset, rejected = _stream(options, config, data, workers, progress, say)
        prepared = None
        counts = ", ".join(f"{len(clips.ids)} {split}" for split, clips in dataset.splits.items())
        say(f"streaming {counts} clips, {len(dataset.tags)} tags")
        if len(rejected):
            say(f"{len(rejected)} files cannot be used, see rejected.csv of the run")
    else:
        manifest = prepare_source(options, data, config.frontend.sample_rate, workers, progress, say)
        dataset, rejected, prepared = Dataset.of_manifest(manifest), None, str(manifest.directory.resolve())
        for line in (_describe(manifest), *manifest.notes):
            say(line)
    if short := dataset.clips_shorter_than(config.window.seconds):
        say(f"{short} clips are shorter than the window of {config.window.seconds:g} s: filled with zeros at the end")
    for split in dataset.splits:
        if one_sided := dataset.one_sided_tags(split):
            say(f"without positives or without negatives in {split}, so left out of averages: {', '.join(one_sided)}")
    record = {**_recorded(options, data), "prepared": prepared, "stream": stream, "hash": dataset.hash}
    record["protocol"] = dataset.protocol
    return OpenedData(dataset, record, rejected)


def check_window(dataset: Dataset, config: Config) -> None:
    """Raises UserError where no clip fills a window: training would hear little but zeros."""
    window, longest = config.window.seconds, max(clips.seconds.max() for clips in dataset.splits.values())
    if longest < window:
        fitting = math.floor(100 * longest) / 100
        raise UserError(
            f"config key 'window.seconds': found {window:g}, and the longest clip has {longest:.2f} s; expected a "
            f"window that some clip fills, as by --set window.seconds={fitting:g}"
        )


def train_run(
    run_path: Path, config: Config, opened: OpenedData, say: Say
) -> tuple[RunDirectory, list[dict[str, Any]]]:
    """Trains into a run directory, from wherever it stands; returns it with the history, one row an epoch.

    Raises:
        UserError: whatever the user can mend; DivergedError and BudgetError among them.
    """
    if not opened.dataset.splits["valid"].two_sided.any():
        raise UserError(
            "split 'valid': no tag has both positives and negatives there, so no epoch could be called best"
        )
    devices = device_names()
    record = opened.record
    if config.training.init is not None and not RunDirectory(run_path).config.exists():
        record = {**record, "init": origin_of(Path(config.training.init))}
    run = create_run(run_path, config, record, opened.dataset.tags, devices)
    say(f"training on {', '.join(devices)} into {run.path}")
    with storage_errors(run.path), _decoding_errors(opened.record["stream"]):
        if opened.rejected is not None:
            with replacing(run.rejected) as path:
                opened.rejected.to_csv(path, index=False)
        try:
            return run, fit(run, config, opened.dataset, say)
        except BudgetError:
            discard_run(run)  # it would stand in the way of more minutes
            raise


def evaluate(
    run_path: Path,
    families: dict[str, str] | None,
    options: SourceOptions | None,
    data: Path,
    *,
    robustness: bool,
    workers: int,
    say: Say,
    progress: ProgressBar,
) -> dict[str, Any]:
    """Evaluates a run again on its own data and returns the content of its new `metrics.json`.

    Args:
        run_path: the run.
        families: the family of each tag, by default those of `families.tsv`.
        options: the source of an imported run's data, from its first evaluation on its own.
        data: folder for rendered and prepared audio of that source.
        robustness: score the test clips perturbed as well; a row a condition is then returned too, as `robustness`.
        workers: processes that prepare, where data has to be.
        say: prints a line.
        progress: makes a progress bar.

    Raises:
        UserError: no such run, its data is not there any more, it has none, or it has other data than `options`.
    """
    check_backend()
    run, config = open_run(run_path)
    if options is not None:
        if "origin" not in read_data(run):
            raise UserError(f"{run.path}: is evaluated on what it was trained on; expected no SOURCE behind it")
        opened = open_data(options, config, data, stream=False, workers=workers, say=_say_nothing, progress=progress)
        _give_data(run, opened)
    dataset = dataset_of_run(run, config, workers, progress)
    with storage_errors(run.path), _decoding_errors(read_data(run)["stream"]):
        report, predictions = evaluate_run(run, config, dataset, families)
        if robustness:
            with progress("scoring perturbed clips") as on_progress:
                table = measure_robustness(run, config, dataset, predictions.of_split("test"), on_progress, say)
            report["robustness"] = table.astype(object).where(table.notna(), None).to_dict("records")
        return report


def probe(
    run_path: Path,
    options: SourceOptions,
    families: dict[str, str] | None,
    data: Path,
    *,
    workers: int,
    say: Say,
    progress: ProgressBar,
) -> dict[str, Any]:
    """Evaluates a linear head on a run's embeddings of a collection, which may have other tags than the run.

    Args:
        run_path: a run directory; nothing is written into it.
        options: the collection.
        families: the family of each tag, by default those of `families.tsv`.
        data: folder for rendered and prepared audio.
        workers: processes that render and prepare.
        say: prints a line.
        progress: makes a progress bar.

    Raises:
        UserError: no such run, or whatever `open_data` raises.
    """
    run, config = open_run(run_path)
    model = load_tagger(run.model)
    opened = open_data(options, config, data, stream=False, workers=workers, say=say, progress=progress)
    return probe_model(model, config, opened.dataset, families)


def dataset_of_run(run: RunDirectory, config: Config, workers: int, progress: ProgressBar) -> Dataset:
    """The data that a run was trained on, prepared again if that was removed.

    Raises:
        UserError: its source is gone, or has changed since.
    """
    record = read_data(run)
    if record["source"] is None:
        raise UserError(
            f"{run.path}: imported, so without data of its own; `genre-tagger evaluate {run.path} SOURCE` gives it "
            "some (folder --root MUSIC, say, or magnatagatune --root DIR)"
        )
    options, data = SourceOptions(**record["source"]), Path(record["data"])
    if record["stream"]:
        dataset, _ = _stream(options, config, data, workers, progress)
    elif (Path(record["prepared"]) / MANIFEST_NAME).exists():
        dataset = Dataset.of_manifest(read_manifest(Path(record["prepared"])))
    else:
        dataset = Dataset.of_manifest(prepare_source(options, data, config.frontend.sample_rate, workers, progress))
    if dataset.hash != record["hash"]:
        raise UserError(f"{run.path}: its data has changed since training; train again into another --run")
    return dataset.with_tags(read_tags(run.tags))


def _give_data(run: RunDirectory, opened: OpenedData) -> None:
    """Records an imported run's data, once: its figures and their floor stand on it."""
    record = read_data(run)
    if record["hash"] not in (None, opened.record["hash"]):
        raise UserError(
            f"{run.path}: has other data than this, see {run.data.name} there; expected no SOURCE, the same one, or "
            "another run"
        )
    opened.dataset.with_tags(read_tags(run.tags))  # refuses data that has none of them
    if record["hash"] is None:
        with storage_errors(run.path):
            write_text(run.data, json.dumps({**record, **opened.record}, indent=2))


def _open(
    options: SourceOptions, data: Path, workers: int, progress: ProgressBar, say: Say, sample_rate: int | None = None
) -> Source:
    is_demo = options.source == "demo"
    with progress("rendering songs" if is_demo else "downloading", in_bytes=not is_demo) as on_progress:
        return open_source(options, data, workers, on_progress, say, sample_rate)


def _stream(
    options: SourceOptions, config: Config, data: Path, workers: int, progress: ProgressBar, say: Say = _say_nothing
) -> tuple[Dataset, pd.DataFrame]:
    source = _open(options, data, workers, progress, say)
    with progress("checking files") as on_progress:
        dataset, rejected = stream_dataset(source, config.frontend.sample_rate, on_progress)
    for note in source.notes({name for clips in dataset.splits.values() for name in clips.ids}):
        say(note)
    return dataset, rejected


def _recorded(options: SourceOptions, data: Path) -> dict[str, Any]:
    """The source for the run directory, with paths that hold wherever it is evaluated from."""
    places = {name: path.resolve() for name in ("root", "table") if (path := getattr(options, name)) is not None}
    return {"source": json.loads(options.model_copy(update=places).model_dump_json()), "data": str(data.resolve())}


def _describe(manifest: Manifest) -> str:
    splits = ", ".join(f"{summary.clips} {split}" for split, summary in manifest.splits.items())
    rejected = f", {manifest.rejected} rejected (see rejected.csv there)" if manifest.rejected else ""
    protocol = f", protocol {manifest.protocol}" if manifest.protocol else ""
    return f"data in {manifest.directory}: {splits} clips, {len(manifest.tags)} tags{protocol}{rejected}"


@contextmanager
def _decoding_errors(stream: bool) -> Iterator[None]:
    """Turns what a decoder in the graph says of a file into a UserError."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if not stream:
            raise
        reason = error.message.split("ValueError: ", maxsplit=1)[-1].splitlines()[0]
        raise UserError(
            f"--stream: a file cannot be decoded any more: {reason}; the same command checks all files and goes on"
        ) from error
