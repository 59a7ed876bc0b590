"""The command `train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.commands.options import (
    ConfigFile,
    Freeze,
    Init,
    Overrides,
    Preset,
    configuration,
    takes_data,
)
from genre_tagger.commands.training_tables import print_training
from genre_tagger.training.start import start_of

if TYPE_CHECKING:
    from genre_tagger.dataset.request import DataRequest


@takes_data(stream=True)
def train(
    request: "DataRequest",
    preset: Preset = None,
    config: ConfigFile = None,
    set_: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="The run directory; runs/SOURCE-PRESET by default.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Shorthand for --set training.epochs=...")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Shorthand for --set seed=...")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32, mixed_bfloat16 or mixed_float16; shorthand for --set training.precision=..."),
    ] = None,
    jit: Annotated[bool | None, typer.Option(help="Compile with XLA; shorthand for --set training.jit=...")] = None,
    init: Init = None,
    freeze: Freeze = None,
) -> None:
    """Train a tagger on raw audio and report its ROC-AUC.

    If interrupted, rerun the command to resume after the last finished epoch.
    """
    short = {"training.epochs": epochs, "seed": seed, "training.precision": precision, "training.jit": jit}
    overrides = [*(set_ or []), *(f"{key}={value}" for key, value in short.items() if value is not None)]
    resolved, name = configuration(preset, config, overrides, init)
    start = start_of(init, freeze or ())
    from genre_tagger.training.train import TrainRequest, train_run

    path = run or Path("runs") / f"{request.source.source}-{name}"
    print_training(train_run(TrainRequest(request, resolved, path, start)))
