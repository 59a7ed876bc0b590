"""Starting from another run: copy the weights of the layers that two models share, and freeze layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from genre_tagger.config import Config
from genre_tagger.errors import FieldError
from genre_tagger.files import sha256_of
from genre_tagger.models.tagger import OUTPUT_NAME, load_tagger
from genre_tagger.runs.directory import RunDirectory, open_run
from genre_tagger.runs.record import StartRecord
from genre_tagger.sources.clips import read_tags
from genre_tagger.training.start import Start

HEAD_PREFIX = "head_"


@dataclass(frozen=True)
class SharedLayers:
    """The layers that a model can take from a run.

    Attributes:
        theirs: layers of the run's model, by name.
        tags: ordered tags of the run.
        taken: names of the layers before the output that both models have with the same shapes, in the order of the
            model's summary.
        fresh: names of the other layers of the model before the output, which start from random weights.
    """

    theirs: dict[str, keras.layers.Layer]
    tags: tuple[str, ...]
    taken: list[str]
    fresh: list[str]


def check_start(model: keras.Model, config: Config, start: Start | None) -> None:
    """Check that a training can start from a run, before data is prepared.

    Args:
        model: tagger built from the configuration, for any tags.
        config: configuration of the run to train.
        start: the run to start from; None for random weights.

    Raises:
        FieldError: the start has another front-end or no layer in common with the model, or a layer to freeze does not
            exist, is the output layer, or would not get its weights from that run.
        UserError: the start is not a trained run.
    """
    if start is None:
        return
    shared = _shared(start.run, model, config)
    for name in frozen_layers(model, start.freeze):
        if name in shared.fresh:
            raise FieldError(
                "freeze",
                f"found the layer {name!r}, which would start from random weights because {start.run} has no layer "
                f"with its name and shape; expected layers of that run",
            )


def start_from(start: Start, model: keras.Model, config: Config, tags: Sequence[str]) -> str:
    """Copy the weights of a run into a model: by layer name and shape, in the output layer by tag.

    Args:
        start: the run to start from.
        model: the tagger, built for `tags`.
        config: configuration of the model.
        tags: ordered tag names.

    Returns:
        One line for the log: how many layers and output tags were copied, and which layers are new or frozen.

    Raises:
        UserError: see `check_start`.
    """
    shared = _shared(start.run, model, config)
    for name in shared.taken:
        model.get_layer(name).set_weights(shared.theirs[name].get_weights())
    copied = _copy_tags(model.get_layer(OUTPUT_NAME), tags, shared) if _reads_the_same(model, shared) else 0
    line = f"starting from {start.run}: {len(shared.taken)} layers, and the output of {copied} of {len(tags)} tags"
    for what, names in (("new", shared.fresh), ("frozen", frozen_layers(model, start.freeze))):
        line += f"; {what}: {', '.join(names)}" if names else ""
    return line


def freeze(model: keras.Model, prefixes: Sequence[str]) -> None:
    """Make layers keep their weights and batch statistics during training.

    Args:
        model: the tagger.
        prefixes: names or prefixes of its layers.

    Raises:
        FieldError: see `frozen_layers`.
    """
    for name in frozen_layers(model, prefixes):
        model.get_layer(name).trainable = False


def frozen_layers(model: keras.Model, prefixes: Sequence[str]) -> list[str]:
    """Find the layers before the output that have weights and a name that begins with one of the prefixes.

    Args:
        model: the tagger.
        prefixes: names or prefixes of its layers.

    Returns:
        The names in the order of the model's summary.

    Raises:
        FieldError: a prefix matches no such layer.
    """
    names = _before_output(model)
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            known = ", ".join(sorted({name.split("_")[0] for name in names}))
            raise FieldError(
                "freeze",
                f"found {prefix!r}, but no name of a layer before the output begins with it; expected for example "
                f"one of {known}",
            )
    return [name for name in names if name.startswith(tuple(prefixes))] if prefixes else []


def record_of(start: Start | None, begun: RunDirectory) -> StartRecord | None:
    """Return the record of a start for `data.json`.

    A run with a checkpoint no longer needs the run that it started from. If its `data.json` names the same path, the
    start recorded there is returned, with the given frozen layers. The run can therefore be resumed after the other run
    was trained further, moved or removed.

    Args:
        start: the run to start from; None for random weights.
        begun: directory of the run to train, which may not exist yet.

    Returns:
        The record; None for random weights.

    Raises:
        UserError: the start is not a trained run.
    """
    if start is None:
        return None
    path = str(start.run.resolve())
    known = begun.read_record().start if begun.checkpoint.exists() else None
    if known is not None and known.run == path:
        return known.model_copy(update={"frozen": start.freeze})
    run, _ = open_run(start.run)
    record = run.read_record()
    return StartRecord(
        run=path,
        digest=sha256_of(run.model),
        frozen=start.freeze,
        source=record.source,
        protocol=record.protocol,
        origin=record.origin,
        start=record.start,
    )


def _shared(path: Path, model: keras.Model, config: Config) -> SharedLayers:
    run, their_config = open_run(path)
    _check_features(path, their_config, config)
    theirs = {layer.name: layer for layer in load_tagger(run.model).layers}
    names = _before_output(model)
    taken = [name for name in names if _shapes(model.get_layer(name)) == _shapes(theirs.get(name))]
    if all(name.startswith(HEAD_PREFIX) for name in taken):
        raise FieldError(
            "init", f"{path}: its model has no layer in common with the one to train; expected a run of the same preset"
        )
    return SharedLayers(theirs, read_tags(run.tags), taken, [name for name in names if name not in taken])


def _check_features(path: Path, their_config: Config, config: Config) -> None:
    theirs = their_config.frontend.model_dump()
    for field, value in config.frontend.model_dump().items():
        if theirs[field] != value:
            raise FieldError(
                "init",
                f"{path}: found frontend.{field} {theirs[field]!r} there and {value!r} here; expected the same "
                "front-end",
            )


def _before_output(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if layer.weights and layer.name != OUTPUT_NAME]


def _shapes(layer: keras.layers.Layer | None) -> list[tuple[int, ...]] | None:
    return layer and [tuple(weight.shape) for weight in layer.weights]


def _reads_the_same(model: keras.Model, shared: SharedLayers) -> bool:
    """Return whether both output layers have the same input.

    They do if the last layer before the output was copied and the input widths of the output layers are equal.
    """
    last = _before_output(model)[-1]
    widths = [layer.kernel.shape[0] for layer in (model.get_layer(OUTPUT_NAME), shared.theirs[OUTPUT_NAME])]
    return last in shared.taken and bool(widths[0] == widths[1])


def _copy_tags(output: keras.layers.Dense, tags: Sequence[str], shared: SharedLayers) -> int:
    """Copy the output weights of the tags that both models have, by name. Return the number of these tags."""
    (kernel, bias), (their_kernel, their_bias) = output.get_weights(), shared.theirs[OUTPUT_NAME].get_weights()
    names = [tag for tag in tags if tag in shared.tags]
    ours, others = [tags.index(tag) for tag in names], [shared.tags.index(tag) for tag in names]
    kernel[:, ours], bias[ours] = their_kernel[:, others], their_bias[others]
    output.set_weights([kernel, bias])
    return len(names)
