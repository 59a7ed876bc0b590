"""A trained run to a served version: the steps of `genre-tagger export`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genre_tagger.config import Config
from genre_tagger.data.clips import read_tags
from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.export.card import model_card
from genre_tagger.export.contract import CARD_NAME, MODEL_NAME, TAGS_NAME, THRESHOLDS_NAME
from genre_tagger.export.folding import inference_model
from genre_tagger.export.savedmodel import SAVED_MODEL_NAME, write_savedmodel
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.export.thresholds import Thresholds, choose_thresholds
from genre_tagger.export.versions import add_version, check_name, check_versions
from genre_tagger.export.warmup import write_warmup
from genre_tagger.models.tagger import load_tagger
from genre_tagger.run import RunDirectory, open_run, read_data


@dataclass(frozen=True)
class Exported:
    """A new version and the thresholds in it."""

    path: Path
    thresholds: Thresholds


def export(
    run_path: Path, directory: Path, *, name: str = MODEL_NAME, objective: str = "f1", licence: str | None = None
) -> Exported:
    """Writes the run's best model to `directory`/NAME/VERSION/, VERSION being the next number.

    Args:
        run_path: a trained and evaluated run.
        directory: that a server watches.
        name: of the model: another run exported under the same name is its next version.
        objective: of the thresholds, see `choose_thresholds`.
        licence: of the training audio, for the model card.

    Raises:
        UserError: no trained and evaluated run, a directory of something else, an unknown objective, a sample rate
            that no filter exists for.
    """
    run, config = open_run(run_path)
    check_name(name)
    check_versions(directory / name, SAVED_MODEL_NAME)
    tags = read_tags(run.tags)
    thresholds = choose_thresholds(read_predictions(_evaluated(run).predictions), objective)
    served = ServedTagger(inference_model(load_tagger(run.model)), config, tags)

    def write(folder: Path, version: int) -> None:
        write_savedmodel(folder, served, _assets(tags, thresholds))
        write_warmup(folder, name, config.window_samples)
        card = _card(f"{name}, version {version}", run, config, tags, thresholds, licence)
        (folder / CARD_NAME).write_text(card, encoding="utf-8")

    return Exported(add_version(directory / name, SAVED_MODEL_NAME, write), thresholds)


def _evaluated(run: RunDirectory) -> RunDirectory:
    for path in (run.predictions, run.metrics):
        if not path.exists():
            raise UserError(f"{path}: no such file; `genre-tagger evaluate {run.path}` writes it")
    return run


def _assets(tags: tuple[str, ...], thresholds: Thresholds) -> dict[str, str]:
    return {
        TAGS_NAME: "".join(f"{tag}\n" for tag in tags),
        THRESHOLDS_NAME: json.dumps(thresholds.to_dict(), indent=2, ensure_ascii=False),
    }


def _card(
    title: str, run: RunDirectory, config: Config, tags: tuple[str, ...], thresholds: Thresholds, licence: str | None
) -> str:
    return model_card(
        title,
        config,
        tags,
        data=read_data(run),
        metrics=_read_json(run.metrics),
        environment=_read_json(run.environment),
        thresholds=thresholds,
        licence=licence,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
