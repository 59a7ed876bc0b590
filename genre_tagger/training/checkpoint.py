"""The whole state of training in one file, so that a killed run goes on as if it had not been."""

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from genre_tagger.errors import UserError
from genre_tagger.files import replacing


def save_state(path: Path, model: keras.Model, history: list[dict[str, Any]]) -> None:
    """Writes weights, seed states, optimizer and history; whoever is killed meanwhile leaves the old file.

    Keras' BackupAndRestore leaves out dropout's seed states and forgets what other callbacks knew; here all of that
    is in the variables or follows from the history.
    """
    path.parent.mkdir(exist_ok=True)
    arrays = {f"{number:05d}": np.asarray(variable) for number, variable in enumerate(_variables(model))}
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, history=np.array(json.dumps(history)), **arrays)


def load_state(path: Path, model: keras.Model) -> list[dict[str, Any]]:
    """Restores what `save_state` wrote into a model built from the same configuration; returns the history.

    Raises:
        UserError: the file is broken, or of a model with other variables.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        history = json.loads(str(arrays.pop("history")))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); remove it and the same command trains from the start"
        ) from None
    variables = _variables(model)
    if [array.shape for array in arrays.values()] != [tuple(variable.shape) for variable in variables]:
        raise UserError(f"{path}: holds another model's variables (another version?); expected those of this one")
    for variable, array in zip(variables, arrays.values(), strict=True):
        variable.assign(array)
    return history


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]
