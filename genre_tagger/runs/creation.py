"""Create run directories, and check that an existing one holds the same run."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from genre_tagger.config import Config, flat
from genre_tagger.errors import FieldError, UserError
from genre_tagger.files import storage_errors, write_text
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.environment import environment_of
from genre_tagger.runs.record import RunRecord, StartRecord
from genre_tagger.sources.clips import write_tags


def check_run(path: Path, config: Config) -> None:
    """Check, before data is prepared, that `create_run` will accept a directory and a configuration.

    Args:
        path: the run directory.
        config: configuration of the run.

    Raises:
        FieldError: the directory holds other files and no run.
        UserError: the directory holds imported weights or a run of another configuration, or cannot be written.
    """
    run = RunDirectory(path)
    if run.config.exists():
        _check_same_config(run, config)
    else:
        _check_no_foreign_files(run)
    is_new = not path.exists()
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path):
            pass
        if is_new:
            with suppress(OSError):  # another command may already have written into it
                path.rmdir()  # `create_run` creates it together with its first file


def create_run(
    path: Path, config: Config, record: RunRecord, tags: tuple[str, ...], devices: Sequence[str] = ()
) -> RunDirectory:
    """Create a run directory, or open the one that was created for the same configuration and data.

    Args:
        path: the directory.
        config: configuration of the run.
        record: data and start of the run.
        tags: ordered tag names.
        devices: devices that the run is trained on, for `environment.json`.

    Returns:
        The run directory.

    Raises:
        UserError: the directory holds imported weights or a run with another configuration, other data or another
            start, or cannot be written.
    """
    run = RunDirectory(path)
    if run.config.exists():
        _check_same_config(run, config)
        _check_same_record(run, record)
        return run
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        write_tags(run.tags, tags)
        write_text(run.record, record.to_json())
        write_text(run.environment, json.dumps(environment_of(config, devices), indent=2))
        write_text(run.config, config.to_yaml())  # last, so if it exists, all others do
    return run


def discard_run(run: RunDirectory) -> None:
    """Remove the files of a run that has no model yet. Other files in its directory are kept."""
    if run.model.exists():
        return
    for folder in filter(Path.exists, (run.tensorboard, run.report)):
        shutil.rmtree(folder)
    for file in (run.rejected, run.config, run.environment, run.record, run.tags):
        file.unlink(missing_ok=True)
    with suppress(OSError):  # the directory is not empty
        run.path.rmdir()


def _check_no_foreign_files(run: RunDirectory) -> None:
    """Refuse a directory with other files, except those that an interrupted `create_run` has written."""
    begun = {path.name for path in (run.tags, run.record, run.environment)}
    found = sorted(entry.name for entry in run.path.iterdir()) if run.path.is_dir() else []
    if foreign := [name for name in found if name not in begun and not name.startswith(".")]:
        raise FieldError(
            "run",
            f"{run.path}: found {foreign[0]!r} and no run; expected a new or empty directory, or a run directory",
        )


def _check_same_config(run: RunDirectory, config: Config) -> None:
    if run.read_record().is_imported:
        raise UserError(
            f"{run.path}: found imported weights, which training would overwrite; expected another directory"
        )
    # The settings of inference, such as the number of windows scored at once, do not change a run.
    found, wanted = (flat(one.model_dump(exclude={"inference"})) for one in (run.read_config(), config))
    for key in {**wanted, **found}:
        if found.get(key) != wanted.get(key):
            raise UserError(
                f"{run.path}: found a run of another configuration ({key} is {found.get(key)!r} there, "
                f"{wanted.get(key)!r} here); expected the same configuration to resume, or another run directory"
            )


def _check_same_record(run: RunDirectory, record: RunRecord) -> None:
    found = run.read_record()
    if (found.hash, found.stream) != (record.hash, record.stream):
        raise UserError(
            f"{run.path}: found a run on {_data_of(found)}, expected {_data_of(record)}; use the same data to resume, "
            "or another run directory"
        )
    if not _is_same_start(found.start, record.start):
        raise UserError(
            f"{run.path}: found a run that started from {_named(found.start)}, expected {_named(record.start)}; use "
            "the same start to resume, or another run directory"
        )


def _data_of(record: RunRecord) -> str:
    return f"{'streamed' if record.stream else 'prepared'} data with the hash {str(record.hash)[:8]}"


def _is_same_start(found: StartRecord | None, wanted: StartRecord | None) -> bool:
    """Return whether two starts have the same weights and frozen layers. Their paths may differ."""
    if found is None or wanted is None:
        return found is wanted
    if found.digest is None:  # an older version recorded neither the weights nor the frozen layers
        return found.run == wanted.run
    return found.digest == wanted.digest and set(found.frozen) == set(wanted.frozen)


def _named(start: StartRecord | None) -> str:
    if start is None:
        return "random weights"
    model = f" (model {start.digest[:8]})" if start.digest else ""
    frozen = f" with {', '.join(start.frozen)} frozen" if start.frozen else ""
    return f"{start.run}{model}{frozen}"
