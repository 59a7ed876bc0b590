"""Starting from another run: the weights of the layers that two models share, and layers that then stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from genre_tagger.config import Config
from genre_tagger.data.clips import read_tags
from genre_tagger.errors import UserError
from genre_tagger.models.tagger import OUTPUT_NAME, load_tagger
from genre_tagger.run import open_run, read_data

HEAD_PREFIX = "head_"


@dataclass(frozen=True)
class Start:
    """What a model can take from a run.

    Attributes:
        theirs: the run's layers, by name.
        tags: of the run, ordered.
        taken, fresh: names of the model's layers before the output, in the order of its summary: of the same name and
            shapes in the run, and the others.
    """

    theirs: dict[str, keras.layers.Layer]
    tags: tuple[str, ...]
    taken: list[str]
    fresh: list[str]


def check_start(model: keras.Model, config: Config) -> None:
    """Refuses what no training could start from, before anything long begins.

    Args:
        model: built from the configuration, for whatever tags.
        config: says from what run, and how many layers stay frozen.

    Raises:
        UserError: `training.init` is no trained run, has another front-end or no layer in common; `training.freeze` is
            given without it, covers all layers, or one that begins anew.
    """
    training = config.training
    if training.init is None:
        if training.freeze:
            raise UserError(f"--freeze {training.freeze}: goes with --init RUN, whose layers it freezes")
        return
    start = _shared(Path(training.init), model, config)
    for name in frozen_layers(model, training.freeze):
        if name in start.fresh:
            raise UserError(
                f"--freeze {training.freeze}: layer {name!r} begins anew, since {training.init} has none of its shape; "
                "expected layers of that run alone"
            )


def start_from(path: Path, model: keras.Model, config: Config, tags: Sequence[str]) -> str:
    """Copies a run's weights into a model, layer by layer of one name and shape; the output layer's tag by tag.

    Args:
        path: directory of a trained run.
        model: the tagger to start, built for `tags`.
        config: of the model.
        tags: ordered names.

    Returns:
        What was taken, what begins anew and what stays frozen, in a line.

    Raises:
        UserError: as `check_start`.
    """
    start = _shared(path, model, config)
    for name in start.taken:
        model.get_layer(name).set_weights(start.theirs[name].get_weights())
    shared = _copy_tags(model.get_layer(OUTPUT_NAME), tags, start) if _reads_the_same(model, start) else 0
    said = f"starting from {path}: {len(start.taken)} layers, and the output of {shared} of {len(tags)} tags"
    for what, names in (("new", start.fresh), ("frozen", frozen_layers(model, config.training.freeze))):
        said += f"; {what}: {', '.join(names)}" if names else ""
    return said


def freeze(model: keras.Model, count: int) -> None:
    """Keeps the first `count` layers with weights as they are, batch statistics included.

    Raises:
        UserError: no layer would be left to train but the output's.
    """
    for name in frozen_layers(model, count):
        model.get_layer(name).trainable = False


def frozen_layers(model: keras.Model, count: int) -> list[str]:
    """Names of the first `count` layers with weights, in the order of the model's summary; raises as `freeze`."""
    names = _before_output(model)
    if count > len(names):
        raise UserError(
            f"--freeze {count}: the model has {len(names)} layers with weights before its output, expected so many at "
            "most"
        )
    return names[:count]


def origin_of(path: Path) -> dict[str, Any]:
    """What has to be told of a run that another one starts from: its place, its data, where its weights come from."""
    data = read_data(open_run(path)[0])
    told = ("source", "protocol", "origin", "init")
    return {"run": str(path), **{name: data[name] for name in told if data.get(name) is not None}}


def _shared(path: Path, model: keras.Model, config: Config) -> Start:
    run, their_config = open_run(path)
    _check_features(path, their_config, config)
    theirs = {layer.name: layer for layer in load_tagger(run.model).layers}
    names = _before_output(model)
    taken = [name for name in names if _shapes(model.get_layer(name)) == _shapes(theirs.get(name))]
    if all(name.startswith(HEAD_PREFIX) for name in taken):
        raise UserError(f"--init {path}: its model has no layer in common with this one; expected a run of its preset")
    return Start(theirs, read_tags(run.tags), taken, [name for name in names if name not in taken])


def _check_features(path: Path, their_config: Config, config: Config) -> None:
    theirs = their_config.frontend.model_dump()
    for field, value in config.frontend.model_dump().items():
        if theirs[field] != value:
            raise UserError(
                f"--init {path}: hears other features (frontend.{field} is {theirs[field]!r} there, {value!r} here); "
                "expected the same front-end"
            )


def _before_output(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.weights and layer.name != OUTPUT_NAME]


def _shapes(layer: keras.layers.Layer | None) -> list[tuple[int, ...]] | None:
    return layer and [tuple(weight.shape) for weight in layer.weights]


def _reads_the_same(model: keras.Model, start: Start) -> bool:
    """Whether the output layer reads what the run's does: the layer before it was taken, and is as wide."""
    last = _before_output(model)[-1]
    widths = [layer.kernel.shape[0] for layer in (model.get_layer(OUTPUT_NAME), start.theirs[OUTPUT_NAME])]
    return last in start.taken and widths[0] == widths[1]


def _copy_tags(output: keras.layers.Dense, tags: Sequence[str], start: Start) -> int:
    """Copies the weights of the tags that both have, by name; returns of how many."""
    (kernel, bias), (their_kernel, their_bias) = output.get_weights(), start.theirs[OUTPUT_NAME].get_weights()
    shared = [tag for tag in tags if tag in start.tags]
    ours, others = [tags.index(tag) for tag in shared], [start.tags.index(tag) for tag in shared]
    kernel[:, ours], bias[ours] = their_kernel[:, others], their_bias[others]
    output.set_weights([kernel, bias])
    return len(shared)
