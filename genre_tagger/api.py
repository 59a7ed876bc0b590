"""The functions `genre_tagger.train` and `genre_tagger.evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genre_tagger.audio.processes import available_cores
from genre_tagger.config import Config, load_config
from genre_tagger.dataset.request import DataRequest
from genre_tagger.evaluation.evaluate import EvaluateRequest
from genre_tagger.evaluation.evaluate import evaluate as evaluate_request
from genre_tagger.runs.directory import open_run
from genre_tagger.sources.registry import DEMO_SONGS, SourceOptions, check_options
from genre_tagger.training.start import Start, start_of
from genre_tagger.training.train import TrainingResult, TrainRequest, train_run


def train(
    source: str = "demo",
    *,
    config: Config | str | None = None,
    run: str | Path | None = None,
    root: str | Path | None = None,
    table: str | Path | None = None,
    split: str | None = None,
    group: str | None = None,
    mirror: str | None = None,
    songs: int = DEMO_SONGS,
    data_seed: int = 0,
    data: str | Path = "data",
    stream: bool = False,
    init: str | Path | None = None,
    freeze: Sequence[str] | str = (),
    workers: int | None = None,
) -> TrainingResult:
    """Prepare a collection, train a tagger on it and evaluate it. If interrupted, repeat the call to resume.

    Args:
        source: `demo`, `folder`, `magnatagatune` or `jamendo`.
        config: configuration of the run, or the name of a preset. By default the configuration of `init` or, without
            `init`, the preset `small`.
        run: the run directory. By default `runs/SOURCE-NAME`, as for `genre-tagger train`. NAME is the
            name of the preset or of `init`, or `custom` for a configuration.
        root: folder of the audio files.
        table: CSV or TSV of the clips and their tags.
        split: how clips are assigned to splits.
        group: unit that bootstrap intervals resample, for `magnatagatune`.
        mirror: URL that `magnatagatune` is downloaded from.
        songs: number of songs of the demo.
        data_seed: seed of the demo's songs and of drawn splits.
        data: folder for rendered and prepared audio.
        stream: decode the audio files during training instead of preparing them first.
        init: directory of a run to start from; random weights by default.
        freeze: names or prefixes of layers that keep the weights of `init`.
        workers: number of processes that render and decode; one per core by default.

    Returns:
        The run directory, the history of epochs, the metrics and the predictions.

    Raises:
        UserError: any error that the user can correct.

    Examples:
        >>> result = train("folder", root="MUSIC", config=load_config("small"), run="runs/mine")
        >>> result.metrics["roc_auc"]["value"]
    """
    options = SourceOptions(
        source=source,
        root=Path(root) if root else None,
        table=Path(table) if table else None,
        split=split,
        group=group,
        mirror=mirror,
        songs=songs,
        seed=data_seed,
    )
    check_options(options)
    request = DataRequest(options, Path(data), stream, available_cores() if workers is None else workers)
    start = start_of(Path(init) if init else None, (freeze,) if isinstance(freeze, str) else tuple(freeze))
    config, name = _named(config, start)
    path = Path(run) if run else Path("runs") / f"{source}-{name}"
    return train_run(TrainRequest(request, config, path, start))


def evaluate(
    run: str | Path,
    *,
    source: DataRequest | None = None,
    robustness: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:
    """Evaluate a run on its own data.

    Args:
        run: a run directory.
        source: data for an imported run, which has none of its own until its first evaluation.
        robustness: score the test clips under perturbations too.
        workers: number of processes that prepare data, if it is missing; one per core by default.

    Returns:
        The content of `metrics.json`, and with `robustness` also the key `robustness`.

    Raises:
        UserError: the run does not exist, has no data, or its data is missing.

    Examples:
        >>> metrics = evaluate("runs/mine")
        >>> metrics["roc_auc"]["value"], metrics["tags"]["rock"]["roc_auc"]
    """
    workers = available_cores() if workers is None else workers
    return evaluate_request(EvaluateRequest(Path(run), source, robustness=robustness, workers=workers))


def _named(config: Config | str | None, start: Start | None) -> tuple[Config, str]:
    """Return the configuration of a run, and a name for its directory."""
    if isinstance(config, str):
        return load_config(config), config
    if config is not None:
        return config, "custom"
    if start is not None:
        return open_run(start.run)[1], start.run.name
    return load_config("small"), "small"
