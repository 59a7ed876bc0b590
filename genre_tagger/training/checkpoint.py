"""The complete state of training in one file, so that an interrupted run can resume exactly where it stopped."""

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import keras
import numpy as np

from genre_tagger.errors import UserError
from genre_tagger.files import replacing


def save_state(path: Path, model: keras.Model, history: list[dict[str, Any]]) -> None:
    """Write the weights, seed states, optimizer state and history of a model.

    If the process is interrupted while writing, the previous file stays intact. Keras' `BackupAndRestore` does not save
    the seed states of dropout or the state of other callbacks. Here, the seed states are among the variables of the
    model, and the state of the other callbacks follows from the history.

    Args:
        path: file to write; its folder is created if missing.
        model: compiled model.
        history: one dictionary per finished epoch.
    """
    path.parent.mkdir(exist_ok=True)
    arrays = {f"{number:05d}": np.asarray(variable) for number, variable in enumerate(_variables(model))}
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, history=np.array(json.dumps(history)), **arrays)


def load_state(path: Path, model: keras.Model) -> list[dict[str, Any]]:
    """Restore a state written by `save_state` and return its history.

    Args:
        path: file written by `save_state`.
        model: compiled model, built from the same configuration.

    Returns:
        One dictionary per finished epoch.

    Raises:
        UserError: the file is damaged or belongs to a model with other variables.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        history: list[dict[str, Any]] = json.loads(str(arrays.pop("history")))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it to train from the start") from error
    variables = _variables(model)
    if [array.shape for array in arrays.values()] != [tuple(variable.shape) for variable in variables]:
        raise UserError(
            f"{path}: found the variables of another model, perhaps of another version of the package; remove it to "
            "train from the start"
        )
    for variable, array in zip(variables, arrays.values(), strict=True):
        variable.assign(array)
    return history


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]
