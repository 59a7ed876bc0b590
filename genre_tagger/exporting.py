"""A trained run to a served version: the steps of `genre-tagger export`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genre_tagger.backend import check_backend
from genre_tagger.config import Config
from genre_tagger.data.clips import read_tags
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.export.against import Comparison, Version, check_comparable, compare
from genre_tagger.export.card import model_card
from genre_tagger.export.contract import (
    CARD_NAME,
    CONFIG_NAME,
    MODEL_NAME,
    SAVED_MODEL_NAME,
    TAGS_NAME,
    THRESHOLDS_NAME,
)
from genre_tagger.export.folding import inference_model
from genre_tagger.export.golden import golden_windows
from genre_tagger.export.onnx import DIFFERENCE_NAME, ONNX_NAME, check_onnx, onnx_difference, write_onnx
from genre_tagger.export.savedmodel import write_savedmodel
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.export.thresholds import Thresholds, check_objective, choose_thresholds, fixed_thresholds
from genre_tagger.export.versions import add_version, check_name, check_versions
from genre_tagger.export.warmup import write_warmup
from genre_tagger.models.tagger import load_tagger
from genre_tagger.run import RunDirectory, check_evaluated, open_run, read_data, read_json
from genre_tagger.workflow import ProgressBar, dataset_of_run

GOLDEN_WINDOWS = 256  # of the test clips, when two models are compared


class Drifted(Exception):  # noqa: N818, a finding and no fault
    """The new version differs from the old one by more than the limit, and was not written."""

    def __init__(self, comparison: Comparison):
        super().__init__()
        self.comparison = comparison


@dataclass(frozen=True)
class Exported:
    """A new version, its thresholds, and what was measured on the way."""

    path: Path
    thresholds: Thresholds
    comparison: Comparison | None = None
    onnx_difference: float | None = None


@dataclass(frozen=True)
class ExportedRun:
    """What an export takes from a run; one that was imported and has no data has no metrics either."""

    run: RunDirectory
    config: Config
    tags: tuple[str, ...]
    model: keras.Model  # waveform -> probabilities, embedding
    thresholds: Thresholds
    metrics: dict[str, Any] | None

    @classmethod
    def open(cls, path: Path, objective: str) -> "ExportedRun":
        """Opens a trained and evaluated run, or an imported one.

        Raises:
            UserError: it is none, was trained on since its evaluation, or the objective is unknown.
        """
        check_backend()
        run, config = open_run(path)
        tags, metrics = read_tags(run.tags), None
        if _has_data(run):
            check_evaluated(run)
            thresholds = choose_thresholds(read_predictions(run.predictions), objective)
            metrics = read_json(run.metrics)
        else:
            check_objective(objective)
            thresholds = fixed_thresholds(tags)
        return cls(run, config, tags, inference_model(load_tagger(run.model)), thresholds, metrics)

    def texts(self) -> dict[str, str]:
        """Names and thresholds of the tags and the configuration, as the files that go with a model."""
        return {
            TAGS_NAME: "".join(f"{tag}\n" for tag in self.tags),
            THRESHOLDS_NAME: json.dumps(self.thresholds.to_dict(), indent=2, ensure_ascii=False),
            CONFIG_NAME: self.config.to_yaml(),
        }

    def card(self, title: str, licence: str | None, is_onnx: bool = False) -> str:
        """The model card."""
        return model_card(
            title,
            self.config,
            self.tags,
            data=read_data(self.run),
            metrics=self.metrics,
            environment=read_json(self.run.environment),
            thresholds=self.thresholds,
            licence=licence,
            is_onnx=is_onnx,
        )

    def golden_windows(self, workers: int, progress: ProgressBar) -> np.ndarray:
        """Windows [windows, samples] of the test clips; raises UserError where the data is gone."""
        clips = dataset_of_run(self.run, self.config, workers, progress).splits["test"]
        return golden_windows(clips.reader, self.config, GOLDEN_WINDOWS)


def export_savedmodel(
    run_path: Path,
    directory: Path,
    *,
    name: str = MODEL_NAME,
    objective: str = "f1",
    licence: str | None = None,
    against: Path | None = None,
    limit: float = 1.0,
    workers: int,
    progress: ProgressBar,
) -> Exported:
    """Writes a run's best model to `directory`/NAME/VERSION/, VERSION being the next number.

    Args:
        run_path: a trained and evaluated run.
        directory: that a server watches.
        name: of the model: another run exported under the same name is its next version.
        objective: of the thresholds, see `choose_thresholds`.
        licence: of the training audio, for the model card.
        against: an older version, to compare with on windows of the run's test clips before anything is published.
        limit: share of decisions that may flip.
        workers, progress: for data that has to be prepared again.

    Raises:
        UserError: no trained and evaluated run, a directory of something else, an unknown objective, a sample rate
            that no filter exists for, an older version that cannot be compared.
        Drifted: more decisions flip than `limit`; no version was written.
    """
    check_name(name)
    check_versions(directory / name, SAVED_MODEL_NAME)
    old = against and Version.load(against)
    source = ExportedRun.open(run_path, objective)
    windows = None
    if old:
        check_comparable(old, source.config, source.tags)
        windows = source.golden_windows(workers, progress)
    served = ServedTagger(source.model, source.config, source.tags)
    comparisons = []

    def write(folder: Path, version: int) -> None:
        write_savedmodel(folder, served, source.texts())
        write_warmup(folder, name, source.config.window_samples)
        (folder / CARD_NAME).write_text(source.card(f"{name}, version {version}", licence), encoding="utf-8")
        if old:
            comparisons.append(compare(old, Version.load(folder), windows))
            if comparisons[0].flips > limit:
                raise Drifted(comparisons[0])

    path = add_version(directory / name, SAVED_MODEL_NAME, write)
    return Exported(path, source.thresholds, comparison=comparisons[0] if comparisons else None)


def export_onnx(
    run_path: Path,
    directory: Path,
    *,
    name: str = MODEL_NAME,
    objective: str = "f1",
    licence: str | None = None,
    workers: int,
    progress: ProgressBar,
) -> Exported:
    """Writes `directory`/NAME-onnx/VERSION/: the model as ONNX, tags, thresholds, card, and the measured difference.

    The difference is the largest of any probability to the SavedModel's, on windows of the run's test clips.

    Raises:
        UserError: as `export_savedmodel`, or the packages for ONNX are not installed.
    """
    check_name(name)
    check_onnx()
    directory = directory / f"{name}-onnx"
    check_versions(directory, ONNX_NAME)
    source = ExportedRun.open(run_path, objective)
    windows = source.golden_windows(workers, progress)
    differences = []

    def write(folder: Path, version: int) -> None:
        write_onnx(folder / ONNX_NAME, source.model)
        differences.append(onnx_difference(folder / ONNX_NAME, source.model, windows))
        measured = {"windows": len(windows), "largest_difference": differences[0]}
        card = source.card(f"{name}, ONNX version {version}", licence, is_onnx=True)
        for file, text in {**source.texts(), DIFFERENCE_NAME: json.dumps(measured), CARD_NAME: card}.items():
            (folder / file).write_text(text, encoding="utf-8")

    path = add_version(directory, ONNX_NAME, write)
    return Exported(path, source.thresholds, onnx_difference=differences[0])


def _has_data(run: RunDirectory) -> bool:
    return read_data(run)["source"] is not None
