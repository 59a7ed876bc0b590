"""The data that a command trains or evaluates on: a source, and how its audio is read."""

from dataclasses import dataclass, field
from pathlib import Path

from genre_tagger.audio.processes import available_cores
from genre_tagger.sources.registry import SourceOptions


@dataclass(frozen=True)
class DataRequest:
    """The data that a caller asks for.

    Attributes:
        source: the collection of music.
        folder: folder for rendered and prepared audio.
        stream: decode the audio files during training instead of preparing them.
        workers: number of processes that render and decode; one per core by default.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    folder: Path = Path("data")
    stream: bool = False
    workers: int = field(default_factory=available_cores)
