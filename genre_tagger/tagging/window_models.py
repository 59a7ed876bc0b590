"""Finds, identifies and loads the model of a run or an exported model, and scores windows with it.

TensorFlow is imported only when a model is loaded, because the command that tags on a cluster only finds its model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from genre_tagger.config import Config
from genre_tagger.errors import UserError
from genre_tagger.export.contract import SAVED_MODEL_NAME
from genre_tagger.export.exported_version import ExportedVersion, digest_of
from genre_tagger.runs.directory import RunDirectory, open_run
from genre_tagger.sources.clips import read_tags
from genre_tagger.tagging.windows import never_silent

if TYPE_CHECKING:
    import keras


class WindowModel(Protocol):
    """A function that scores windows, by a model in this process or on a server."""

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Score windows.

        Args:
            windows: float32 [batch, samples].
            embed: whether to return embeddings.

        Returns:
            Probabilities float32 [batch, tags], and embeddings float32 [batch, dim] or None.
        """


@dataclass(frozen=True)
class ModelFiles:
    """The files of a run's model or of an exported version.

    Attributes:
        path: the run directory, or the directory of the version.
        config: configuration of the model.
        tags: ordered tag names.
        version: digest of weights, tags and configuration, which does not depend on the path.
        is_export: whether the model is an exported version.
    """

    path: Path
    config: Config
    tags: tuple[str, ...]
    version: str
    is_export: bool

    @classmethod
    def find(cls, path: Path) -> "ModelFiles":
        """Find the model at a path.

        Args:
            path: a run directory, an exported version (DIR/NAME/3) or a folder of versions (DIR/NAME).

        Raises:
            UserError: there is no model, or its configuration cannot be read.
        """
        if RunDirectory(path).config.exists():
            run, config = open_run(path)
            return cls(path, config, read_tags(run.tags), digest_of([run.config, run.tags, run.model]), False)
        version = ExportedVersion.find(path)
        if version is None:
            below = next((folder for folder in sorted(path.glob("*/")) if ExportedVersion.find(folder)), None)
            meant = f"; did you mean {below}?" if below else ""
            raise UserError(
                f"{path}: found no model in it, expected a run directory (with config.yaml), an exported version (with "
                f"{SAVED_MODEL_NAME}) or a folder of versions (1, 2, ...){meant}"
            )
        try:
            return cls(version.path, version.config, version.tags, digest_of(version.files), True)
        except OSError as error:
            raise UserError(f"{version.path}: cannot be read as an exported version ({error})") from error

    def load(self) -> WindowModel:
        """Load the model.

        Raises:
            UserError: the model cannot be loaded.
        """
        if self.is_export:
            return ExportedModel(ExportedVersion(self.path))
        from genre_tagger.models.tagger import load_tagger  # imports TensorFlow, which a client does not need

        return RunModel(load_tagger(RunDirectory(self.path).model))


def is_model(path: Path) -> bool:
    """Return whether a path is a run directory, an exported version or a folder of versions."""
    return RunDirectory(path).config.is_file() or ExportedVersion.find(path) is not None


class RunModel:
    """A `WindowModel` of a Keras model.

    Args:
        model: the tagger.
    """

    def __init__(self, model: "keras.Model"):
        from genre_tagger.models.tagger import with_embedding

        self._model = with_embedding(model)

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """See WindowModel."""
        probabilities, embeddings = self._model.predict_on_batch(windows)
        return np.asarray(probabilities, np.float32), np.asarray(embeddings, np.float32) if embed else None


class ExportedModel:
    """A `WindowModel` of the signatures of a SavedModel, in this process.

    Args:
        version: the exported version.

    Raises:
        UserError: the version cannot be loaded.
    """

    def __init__(self, version: ExportedVersion):
        self._path = version.path
        self._loaded = version.load()  # signatures alone do not keep the variables alive

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """See WindowModel. Raises UserError if a signature returns an error, because the scores are then zeros."""
        windows = never_silent(windows)
        probabilities = self._call("serving_default", windows)["probabilities"]
        return probabilities, self._call("embed", windows)["embedding"] if embed else None

    def _call(self, signature: str, windows: np.ndarray) -> dict[str, np.ndarray]:
        import tensorflow as tf

        answer = self._loaded.signatures[signature](waveform=tf.constant(windows))
        outputs = {name: output.numpy() for name, output in answer.items()}
        if errors := [error.decode() for error in outputs["error"] if error]:
            raise UserError(f"{self._path}: {errors[0]}; expected it to accept the windows of its own configuration")
        return outputs
