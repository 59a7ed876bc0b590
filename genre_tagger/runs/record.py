"""The record of a run (`data.json`): its data, and the origin of its weights."""

from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from genre_tagger.errors import UserError
from genre_tagger.files import read_json
from genre_tagger.sources.registry import SourceOptions


class StartRecord(BaseModel):
    """The run that a training started from.

    Attributes:
        run: its path.
        digest: SHA-256 of its model file; None in records of older versions.
        frozen: names or prefixes of the layers that were not trained.
        source, protocol: collection of that run, and how it was divided into splits.
        origin: origin and licence of its weights, if they were imported.
        start: the run that this run itself started from, if any.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    digest: str | None = None
    frozen: tuple[str, ...] = ()
    source: SourceOptions | None = None
    protocol: str | None = None
    origin: dict[str, str] | None = None
    start: "StartRecord | None" = Field(default=None, validation_alias=AliasChoices("start", "init"))


class RunRecord(BaseModel):
    """The content of `data.json`.

    Attributes:
        source: the collection; None for an imported run that has not been evaluated.
        folder: folder for rendered and prepared audio.
        prepared: directory of the prepared data; None if the audio files were streamed.
        stream: whether the audio files were decoded during training.
        hash: hash that identifies the data.
        protocol: name of the protocol that divided the data into splits, if the source has several protocols.
        origin: origin and licence of imported weights.
        start: the run that training started from, if any.
    """

    model_config = ConfigDict(frozen=True)

    source: SourceOptions | None = None
    folder: Path | None = Field(default=None, validation_alias=AliasChoices("folder", "data"))
    prepared: Path | None = None
    stream: bool = False
    hash: str | None = None
    protocol: str | None = None
    origin: dict[str, str] | None = None
    start: StartRecord | None = Field(default=None, validation_alias=AliasChoices("start", "init"))

    @property
    def has_data(self) -> bool:
        """Whether the run has data to be evaluated on."""
        return self.source is not None

    @property
    def is_imported(self) -> bool:
        """Whether the weights were imported."""
        return self.origin is not None

    def to_json(self) -> str:
        """Return the text of `data.json`."""
        return self.model_dump_json(indent=2, exclude_none=True)


def read_record(path: Path) -> RunRecord:
    """Read the record of a run.

    Args:
        path: the file `data.json`.

    Raises:
        UserError: the file is missing or is not a valid record.
    """
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(
            f"{path}: cannot be read ({_first(error)}); restore the file, or train again into another directory"
        ) from error


def read_metrics(path: Path) -> dict[str, Any]:
    """Read `metrics.json`. Files of version 0.1.0, where the key of the baseline is `floor`, are converted.

    Raises:
        UserError: the file is missing or does not contain a JSON object.
    """
    metrics = read_json(path)
    if "floor" in metrics:
        metrics["baseline"] = metrics.pop("floor")
    return metrics


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
