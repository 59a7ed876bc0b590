"""Starting from another run: the weights of the layers that two models share, and layers that then stay as they are."""

from collections.abc import Sequence
from pathlib import Path

import keras

from genre_tagger.config import Config
from genre_tagger.data.clips import read_tags
from genre_tagger.errors import UserError
from genre_tagger.models.tagger import OUTPUT_NAME, load_tagger
from genre_tagger.run import RunDirectory, open_run


def check_init(config: Config) -> None:
    """Refuses a run that nothing can be taken from, before anything long begins.

    Raises:
        UserError: `training.init` is no trained run, or its features are others than the configuration's.
    """
    if config.training.init is None:
        return
    path = Path(config.training.init)
    theirs = open_run(path)[1].frontend.model_dump()
    for field, value in config.frontend.model_dump().items():
        if theirs[field] != value:
            raise UserError(
                f"--init {path}: hears other features (frontend.{field} is {theirs[field]!r} there, {value!r} here); "
                "expected the same front-end"
            )


def start_from(path: Path, model: keras.Model, tags: Sequence[str]) -> str:
    """Copies a run's weights into a model, layer by layer of one name and shape; the output layer's tag by tag.

    Args:
        path: directory of a trained run.
        model: the tagger to start, built for `tags`.
        tags: ordered names.

    Returns:
        What was taken, and what begins anew, in a line.

    Raises:
        UserError: it is no trained run, or the models have no such layer in common.
    """
    run = RunDirectory(path)
    theirs = {layer.name: layer for layer in load_tagger(run.model).layers}
    begun, taken = [], 0
    for layer in _weighted(model):
        if layer.name == OUTPUT_NAME:
            continue
        if _shapes(layer) == _shapes(theirs.get(layer.name)):
            layer.set_weights(theirs[layer.name].get_weights())
            taken += 1
        else:
            begun.append(layer.name)
    if not taken:
        raise UserError(f"--init {path}: its model has no layer in common with this one; expected a run of its preset")
    shared = _copy_tags(model.get_layer(OUTPUT_NAME), tags, theirs[OUTPUT_NAME], read_tags(run.tags))
    news = f"; new: {', '.join(begun)}" if begun else ""
    return f"starting from {path}: {taken} layers, and the output of {shared} of {len(tags)} tags{news}"


def freeze(model: keras.Model, count: int) -> None:
    """Keeps the first `count` layers with weights as they are, batch statistics included.

    Raises:
        UserError: no layer would be left to train but the output's.
    """
    layers = _weighted(model)
    if count >= len(layers):
        raise UserError(
            f"--freeze {count}: the model has {len(layers)} layers with weights, expected {len(layers) - 1} at most: "
            "all but the output"
        )
    for layer in layers[:count]:
        layer.trainable = False


def _weighted(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if layer.weights]


def _shapes(layer: keras.layers.Layer | None) -> list[tuple[int, ...]] | None:
    return layer and [tuple(weight.shape) for weight in layer.weights]


def _copy_tags(
    output: keras.layers.Dense, tags: Sequence[str], their_output: keras.layers.Dense, their_tags: Sequence[str]
) -> int:
    """Copies the weights of the tags that both have, by name; returns of how many."""
    (kernel, bias), (their_kernel, their_bias) = output.get_weights(), their_output.get_weights()
    if len(kernel) != len(their_kernel):
        return 0
    shared = [tag for tag in tags if tag in their_tags]
    ours, others = [tags.index(tag) for tag in shared], [their_tags.index(tag) for tag in shared]
    kernel[:, ours], bias[ours] = their_kernel[:, others], their_bias[others]
    output.set_weights([kernel, bias])
    return len(shared)
