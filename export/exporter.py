"""Export of a run as the next version of a SavedModel, or as ONNX."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from genre_tagger.audio.processes import available_cores
from genre_tagger.backend import check_backend
from genre_tagger.config import Config
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.evaluation.thresholds import Thresholds, check_objective, choose_thresholds, fixed_thresholds
from genre_tagger.export.contract import (
    CARD_NAME,
    CONFIG_NAME,
    MODEL_NAME,
    SAVED_MODEL_NAME,
    TAGS_NAME,
    THRESHOLDS_NAME,
)
from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.export.folding import inference_model
from genre_tagger.export.model_card import model_card
from genre_tagger.export.onnx import DIFFERENCE_NAME, ONNX_NAME, check_onnx, onnx_difference, write_onnx
from genre_tagger.export.reference_windows import reference_windows
from genre_tagger.export.savedmodel import write_savedmodel
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.export.version_drift import Comparison, LoadedVersion, check_comparable, compare
from genre_tagger.export.version_folder import add_version, check_name, check_versions
from genre_tagger.export.warmup import write_warmup
from genre_tagger.files import read_json
from genre_tagger.models.tagger import load_tagger
from genre_tagger.runs.directory import RunDirectory, check_evaluated, open_run
from genre_tagger.runs.record import read_metrics
from genre_tagger.runs.run_data import data_of_run
from genre_tagger.sources.clips import read_tags

REFERENCE_WINDOWS = 256  # number of windows of the test clips on which two models are compared


class Drifted(Exception):  # noqa: N818, a result of the comparison
    """The share of decisions that differ between the new and the older version exceeds the limit. Nothing was written.

    Attributes:
        comparison: the comparison of the two versions.
    """

    def __init__(self, comparison: Comparison):
        super().__init__()
        self.comparison = comparison


@dataclass(frozen=True)
class ExportRequest:
    """The arguments of an export.

    Attributes:
        run: directory of a trained and evaluated run, or of an imported run.
        directory: directory of the exported models, which a server watches.
        name: name of the model. If the name exists, the export is its next version.
        objective: objective of the thresholds, see `choose_thresholds`.
        licence: licence of the training audio, for the model card.
        against: an older version, with which the new one is compared on windows of the run's test clips before it
            becomes visible.
        limit: largest share of decisions that may differ from those of the older version.
        workers: number of processes that prepare the run's data again if that data was removed.
    """

    run: Path
    directory: Path
    name: str = MODEL_NAME
    objective: str = "f1"
    licence: str | None = None
    against: Path | None = None
    limit: float = 1.0
    workers: int = field(default_factory=available_cores)


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        path: directory of the new version.
        thresholds: its thresholds.
        comparison: comparison with the older version, if one was given.
        onnx_difference: largest difference between the probabilities of ONNX Runtime and TensorFlow, for ONNX.
    """

    path: Path
    thresholds: Thresholds
    comparison: Comparison | None = None
    onnx_difference: float | None = None


@dataclass(frozen=True)
class RunToExport:
    """The content of a run that is exported.

    Attributes:
        run: run directory.
        config: configuration of the run.
        tags: names of the tags, in the order of the probabilities.
        model: inference model, waveform -> (probabilities, embedding).
        thresholds: thresholds chosen on the validation clips, or fixed ones.
        metrics: content of `metrics.json`; None for an imported run that was not evaluated.
    """

    run: RunDirectory
    config: Config
    tags: tuple[str, ...]
    model: keras.Model
    thresholds: Thresholds
    metrics: dict[str, Any] | None

    @classmethod
    def open(cls, path: Path, objective: str) -> "RunToExport":
        """Open a trained and evaluated run, or an imported run.

        Args:
            path: run directory.
            objective: objective of the thresholds.

        Raises:
            UserError: there is no such run, a trained run has not been evaluated since it was last trained, or the
                objective is unknown.
        """
        check_backend()
        run, config = open_run(path)
        tags, metrics = read_tags(run.tags), None
        if run.read_record().has_data:
            check_evaluated(run)
            thresholds = choose_thresholds(read_predictions(run.predictions), objective)
            metrics = read_metrics(run.metrics)
        else:
            check_objective(objective)
            thresholds = fixed_thresholds(tags)
        return cls(run, config, tags, inference_model(load_tagger(run.model)), thresholds, metrics)

    def texts(self) -> dict[str, str]:
        """Return the text of the tags, thresholds and configuration, by file name."""
        return {
            TAGS_NAME: "".join(f"{tag}\n" for tag in self.tags),
            THRESHOLDS_NAME: json.dumps(self.thresholds.to_dict(), indent=2, ensure_ascii=False),
            CONFIG_NAME: self.config.to_yaml(),
        }

    def card(self, title: str, licence: str | None, is_onnx: bool = False) -> str:
        """Return the model card as Markdown, see `model_card`."""
        return model_card(
            title,
            self.config,
            self.tags,
            record=self.run.read_record(),
            metrics=self.metrics,
            environment=read_json(self.run.environment),
            thresholds=self.thresholds,
            licence=licence,
            is_onnx=is_onnx,
        )

    def windows_to_compare(self, workers: int) -> np.ndarray:
        """Return windows of the test clips, float32 [windows, samples].

        Args:
            workers: number of processes that prepare the data again if it was removed.

        Raises:
            UserError: the run has no data, or its data is missing or has changed.
        """
        clips = data_of_run(self.run, self.config, workers).splits["test"]
        return reference_windows(clips.reader, self.config, REFERENCE_WINDOWS)


def export_savedmodel(request: ExportRequest) -> Exported:
    """Write the best model of a run to DIRECTORY/NAME/VERSION/. VERSION is the next number.

    Args:
        request: arguments of the export.

    Returns:
        The new version, its thresholds, and its comparison with the older version if one was given.

    Raises:
        UserError: the name is invalid, the run is not ready (see `RunToExport.open`), the directory holds other files
            or cannot be written, the objective is unknown, the sample rate is not supported, or the older version
            cannot be compared with the run.
        Drifted: the share of decisions that differ from those of the older version exceeds `limit`. Nothing was
            written.
    """
    check_name(request.name)
    folder = request.directory / request.name
    check_versions(folder, SAVED_MODEL_NAME)
    old = LoadedVersion(ExportedVersion.open(request.against)) if request.against else None
    source = RunToExport.open(request.run, request.objective)
    compare_new: Callable[[LoadedVersion], Comparison] | None = None
    if old:
        check_comparable(old, source.config, source.tags)
        compare_new = partial(compare, old, windows=source.windows_to_compare(request.workers))
    served = ServedTagger(source.model, source.config, source.tags)
    comparisons: list[Comparison] = []

    def write(unfinished: Path, version: int) -> None:
        write_savedmodel(unfinished, served, source.texts())
        write_warmup(unfinished, request.name, source.config.window_samples)
        card = source.card(f"{request.name}, version {version}", request.licence)
        (unfinished / CARD_NAME).write_text(card, encoding="utf-8")
        if compare_new:
            comparisons.append(compare_new(LoadedVersion(ExportedVersion(unfinished))))
            if comparisons[0].flips > request.limit:
                raise Drifted(comparisons[0])

    path = add_version(folder, SAVED_MODEL_NAME, write)
    return Exported(path, source.thresholds, comparison=comparisons[0] if comparisons else None)


def export_onnx(request: ExportRequest) -> Exported:
    """Write the best model of a run as ONNX to DIRECTORY/NAME-onnx/VERSION/, with tags, thresholds and model card.

    The largest difference between the probabilities of the ONNX model and those of the Keras model is measured on
    windows of the run's test clips, and is also written.

    Args:
        request: arguments of the export. `against` and `limit` are ignored.

    Returns:
        The new version, its thresholds and the largest difference.

    Raises:
        UserError: the name is invalid, the packages for ONNX are not installed, the run is not ready (see
            `RunToExport.open`) or has no data, the directory holds other files or cannot be written, or the objective
            is unknown.
    """
    check_name(request.name)
    check_onnx()
    directory = request.directory / f"{request.name}-onnx"
    check_versions(directory, ONNX_NAME)
    source = RunToExport.open(request.run, request.objective)
    windows = source.windows_to_compare(request.workers)
    differences: list[float] = []

    def write(folder: Path, version: int) -> None:
        write_onnx(folder / ONNX_NAME, source.model)
        differences.append(onnx_difference(folder / ONNX_NAME, source.model, windows))
        measured = {"windows": len(windows), "largest_difference": differences[0]}
        card = source.card(f"{request.name}, ONNX version {version}", request.licence, is_onnx=True)
        for file, text in {**source.texts(), DIFFERENCE_NAME: json.dumps(measured), CARD_NAME: card}.items():
            (folder / file).write_text(text, encoding="utf-8")

    path = add_version(directory, ONNX_NAME, write)
    return Exported(path, source.thresholds, onnx_difference=differences[0])
