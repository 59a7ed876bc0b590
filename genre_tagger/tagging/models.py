"""Where a model lies, what identifies it, and how windows are scored by it: a run's, an exported one, a server's."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from genre_tagger.config import Config, load_config
from genre_tagger.data.clips import read_tags
from genre_tagger.errors import UserError
from genre_tagger.export.contract import CONFIG_NAME, SAVED_MODEL_NAME, TAGS_NAME
from genre_tagger.models.tagger import OUTPUT_NAME, load_tagger
from genre_tagger.run import RunDirectory, open_run
from genre_tagger.tagging.listing import latest_version
from genre_tagger.tagging.windows import never_silent

VERSION_DIGITS = 16  # of a SHA-256


class WindowModel(Protocol):
    """Scores windows, wherever it is."""

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Windows float32 [batch, samples] to probabilities [batch, tags] and, if wanted, embeddings [batch, dim]."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a run's model, or of an exported version's.

    Attributes:
        path: the run directory, or the directory of the version.
        config, tags: of the model.
        version: a digest of its weights, tags and configuration; equal files have equal ones wherever they lie.
        is_export: whether it is a SavedModel.
    """

    path: Path
    config: Config
    tags: tuple[str, ...]
    version: str
    is_export: bool

    @classmethod
    def find(cls, path: Path) -> "ModelFiles":
        """Looks at a run directory, an exported version (DIR/NAME/3), or the latest in a folder of them (DIR/NAME).

        Raises:
            UserError: it is none of these, or its configuration cannot be read.
        """
        if RunDirectory(path).config.exists():
            run, config = open_run(path)
            return cls(path, config, read_tags(run.tags), _digest([run.config, run.tags, run.model]), False)
        if (version := latest_version(path)) is None:
            below = next((folder for folder in sorted(path.glob("*/")) if latest_version(folder)), None)
            meant = f"; did you mean {below}?" if below else ""
            raise UserError(
                f"{path}: found no model in it, expected a run directory (with config.yaml), an exported version (with "
                f"{SAVED_MODEL_NAME}) or a folder of versions (1, 2, ...){meant}"
            )
        path = version
        assets = path / "assets"
        try:
            config, tags = load_config(path=assets / CONFIG_NAME), read_tags(assets / TAGS_NAME)
            weights = sorted((path / "variables").iterdir())
            version = _digest([path / SAVED_MODEL_NAME, *weights, assets / CONFIG_NAME, assets / TAGS_NAME])
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as an exported version ({error})") from None
        return cls(path, config, tags, version, True)

    def load(self) -> WindowModel:
        """Loads the model; raises UserError where that fails."""
        return ExportedModel(self.path) if self.is_export else RunModel(load_tagger(RunDirectory(self.path).model))


class RunModel:
    """A model of Keras."""

    def __init__(self, model: keras.Model):
        self._model = keras.Model(model.inputs[0], [model.outputs[0], model.get_layer(OUTPUT_NAME).input])

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """See WindowModel."""
        probabilities, embeddings = self._model.predict_on_batch(windows)
        return np.asarray(probabilities, np.float32), np.asarray(embeddings, np.float32) if embed else None


class ExportedModel:
    """A SavedModel's signatures, in this process."""

    def __init__(self, path: Path):
        import tensorflow as tf

        self._path = path
        try:
            self._loaded = tf.saved_model.load(str(path))  # signatures alone do not keep its variables alive
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise UserError(
                f"{path}: cannot be loaded as an exported version ({' '.join(str(error).split())})"
            ) from None

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """See WindowModel; raises UserError where a signature answers with an error, as its zeros are no scores."""
        windows = never_silent(windows)
        probabilities = self._ask("serving_default", windows)["probabilities"]
        return probabilities, self._ask("embed", windows)["embedding"] if embed else None

    def _ask(self, signature: str, windows: np.ndarray) -> dict[str, np.ndarray]:
        import tensorflow as tf

        answer = self._loaded.signatures[signature](waveform=tf.constant(windows))
        outputs = {name: output.numpy() for name, output in answer.items()}
        if errors := [error.decode() for error in outputs["error"] if error]:
            raise UserError(f"{self._path}: {errors[0]}; expected it to take the windows of its own configuration")
        return outputs


def _digest(files: list[Path]) -> str:
    """Of the contents, file by file."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:VERSION_DIGITS]
