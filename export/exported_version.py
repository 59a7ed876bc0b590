"""An exported version on disk, DIR/NAME/NUMBER. All code that locates or reads exported versions uses this module."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genre_tagger.config import Config, read_run_config
from genre_tagger.errors import UserError
from genre_tagger.export.contract import CONFIG_NAME, SAVED_MODEL_NAME, SIGNATURES, TAGS_NAME, THRESHOLDS_NAME
from genre_tagger.sources.clips import read_tags

DIGEST_DIGITS = 16  # of a SHA-256 in hexadecimal


@dataclass(frozen=True)
class ExportedVersion:
    """A SavedModel with its tags, thresholds and configuration.

    Attributes:
        path: directory of the version.

    Raises:
        UserError: a file of the version cannot be read. Every property and `load` can raise this error.
    """

    path: Path

    @classmethod
    def find(cls, path: Path) -> "ExportedVersion | None":
        """Return the version at a path; for a folder of versions, the latest one; None if there is no version."""
        if (path / SAVED_MODEL_NAME).is_file():
            return cls(path)
        versions = cls.all_in(path)
        return versions[-1] if versions else None

    @classmethod
    def open(cls, path: Path) -> "ExportedVersion":
        """Return the version at a path.

        Args:
            path: directory of the version, DIR/NAME/NUMBER.

        Raises:
            UserError: there is no version at this path.
        """
        if not (path / SAVED_MODEL_NAME).is_file():
            raise UserError(f"{path}: no exported version (no {SAVED_MODEL_NAME} in it); expected DIR/NAME/VERSION")
        return cls(path)

    @classmethod
    def all_in(cls, folder: Path) -> "list[ExportedVersion]":
        """Return the versions in the folder of a model, ordered by number. Other files and folders are ignored."""
        paths = [file.parent for file in folder.glob(f"*/{SAVED_MODEL_NAME}") if file.parent.name.isdecimal()]
        return [cls(path) for path in sorted(paths, key=lambda path: int(path.name))]

    @cached_property
    def config(self) -> Config:
        """The configuration in the current schema."""
        path = self._asset(CONFIG_NAME)
        try:
            return read_run_config(path)
        except UserError as error:
            if str(error).startswith(str(path)):
                raise
            raise UserError(f"{path}: {error}") from error

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """Names of the tags, in the order of the probabilities."""
        return read_tags(self._asset(TAGS_NAME))

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """The threshold of each tag."""
        path = self._asset(THRESHOLDS_NAME)
        try:
            thresholds = json.loads(path.read_text(encoding="utf-8"))["tags"]
            return {tag: float(thresholds[tag]) for tag in self.tags}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: cannot be read ({error!r}), expected a threshold for each tag") from error

    @cached_property
    def files(self) -> list[Path]:
        """The files that determine the scores: graph, weights, configuration and tags."""
        try:
            weights = sorted((self.path / "variables").iterdir())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read as an exported version ({error})") from error
        return [self.path / SAVED_MODEL_NAME, *weights, self._asset(CONFIG_NAME), self._asset(TAGS_NAME)]

    @property
    def all_files(self) -> list[Path]:
        """The files that another machine needs to load the version."""
        return [*self.files, self._asset(THRESHOLDS_NAME)]

    @cached_property
    def release(self) -> tuple[int, ...]:
        """The TensorFlow release that wrote the SavedModel, for example (2, 17, 1)."""
        from google.protobuf.message import DecodeError
        from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

        path, saved = self.path / SAVED_MODEL_NAME, SavedModel()
        try:
            saved.ParseFromString(path.read_bytes())
            release = saved.meta_graphs[0].meta_info_def.tensorflow_version
            return tuple(int(part) for part in release.split("-")[0].split("."))
        except (OSError, DecodeError, IndexError, ValueError) as error:
            raise UserError(f"{path}: not a SavedModel; expected one made by `genre-tagger export`") from error

    def load(self) -> Any:
        """Load the SavedModel with its signatures.

        The caller must keep a reference to the returned object: signatures alone do not keep the variables alive.

        Raises:
            UserError: the SavedModel cannot be loaded or has other signatures.
        """
        import tensorflow as tf

        try:
            loaded = tf.saved_model.load(str(self.path))
        except (OSError, ValueError, IndexError, RuntimeError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{self.path}: cannot be loaded as an exported version ({reason})") from error
        if missing := [name for name in SIGNATURES if name not in loaded.signatures]:
            raise UserError(f"{self.path}: found no signature {missing[0]}; expected an exported version of a tagger")
        return loaded

    def _asset(self, name: str) -> Path:
        return self.path / "assets" / name


def digest_of(files: Sequence[Path]) -> str:
    """Return a digest of the contents of files, in the given order. It does not depend on where the files are.

    Args:
        files: paths of the files.

    Returns:
        16 hexadecimal digits.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_DIGITS]
