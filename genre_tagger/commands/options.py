"""The options that several commands share."""

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genre_tagger.errors import FieldError

if TYPE_CHECKING:
    from genre_tagger.config import Config
    from genre_tagger.dataset.request import DataRequest

Command = Callable[..., Any]

LOG_LEVEL, QUIET = "TF_CPP_MIN_LOG_LEVEL", "3"

Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of processes for rendering and decoding; one per core by default.")
]
Preset = Annotated[str | None, typer.Option(help="Name of a preset; small by default.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A configuration file instead of a preset.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="KEY=VALUE: override a configuration field, for example model.wavenet.blocks=4. Repeatable."
    ),
]
Init = Annotated[
    Path | None,
    typer.Option(
        help="Start from the weights of this run, which may have other tags. Unless --preset or --config is "
        "given, its configuration is used too."
    ),
]
Freeze = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYER",
        help="With --init: freeze the layers with this name or prefix, for example cnn. Repeatable.",
    ),
]
Families = Annotated[
    Path | None, typer.Option(help="TSV file with the family of each tag, instead of the built-in one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the content of metrics.json instead of tables.")]

SOURCE_HELP = "demo (rendered by the command), folder (audio files and a table of tags), magnatagatune or jamendo."
OPTIONAL_SOURCE = Annotated[
    str | None,
    typer.Argument(metavar="SOURCE", help=f"For an imported run, which has no data of its own: {SOURCE_HELP}"),
]
# The options that describe data, by name: type and default.
_DATA_OPTIONS: dict[str, tuple[Any, Any]] = {
    "source": (Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)], "demo"),
    "root": (
        Annotated[Path | None, typer.Option(help="Folder of the audio files; magnatagatune is downloaded into it.")],
        None,
    ),
    "table": (
        Annotated[
            Path | None, typer.Option(help="Table of tags (CSV or TSV); tags.csv or tags.tsv in --root by default.")
        ],
        None,
    ),
    "split": (
        Annotated[
            str | None,
            typer.Option(
                help="How to divide the clips into splits. folder: column, group or stratified. magnatagatune: "
                "standard, full, seed_random or artist. jamendo: files, group or stratified."
            ),
        ],
        None,
    ),
    "group": (
        Annotated[
            str | None,
            typer.Option(help="magnatagatune: unit that the bootstrap resamples, song (default), album or artist."),
        ],
        None,
    ),
    "mirror": (
        Annotated[str | None, typer.Option(help="magnatagatune: URL of the folder to download from.")],
        None,
    ),
    "songs": (
        Annotated[int | None, typer.Option(min=10, help="demo: number of songs to render (400 by default).")],
        None,
    ),
    "data_seed": (
        Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the demo's songs and of random splits.")],
        0,
    ),
    "data": (Annotated[Path, typer.Option(help="Folder for rendered and prepared audio.")], Path("data")),
    "stream": (Annotated[bool, typer.Option(help="Train directly on the audio files, without preparing them.")], False),
    "workers": (Workers, None),
}


def takes_data(*, stream: bool = False, optional: bool = False) -> Callable[[Command], Command]:
    """Give a command the options that describe data.

    The decorated function has a parameter `request`, a DataRequest. In the command, the options of `_DATA_OPTIONS` take
    the place of this parameter. If the function itself has a parameter with the name of such an option, that one is
    used instead.

    Args:
        stream: whether the command has `--stream`.
        optional: whether the source may be left out. `request` is then None.
    """

    def decorate(function: Command) -> Command:
        own = inspect.signature(function).parameters
        added = [name for name in _DATA_OPTIONS if name not in own and (stream or name != "stream")]

        @wraps(function)
        def command(**values: Any) -> Any:
            given = {name: values[name] for name in _DATA_OPTIONS if name in values}
            passed = {name: value for name, value in values.items() if name in own}
            return function(request=_data_request(given), **passed)

        parameters: list[inspect.Parameter] = []
        for parameter in own.values():
            if parameter.name != "request":
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
                continue
            for name in added:
                kind, default = _DATA_OPTIONS[name]
                if name == "source" and optional:
                    kind, default = OPTIONAL_SOURCE, None
                parameters.append(
                    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
                )
        # Typer must read this signature and these type hints, not those of the wrapped function.
        del command.__wrapped__
        setattr(command, "__signature__", inspect.Signature(parameters))  # noqa: B010, mypy knows no such attribute
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def configuration(
    preset: str | None, file: Path | None, overrides: Sequence[str], init: Path | None = None
) -> tuple["Config", str]:
    """Return the resolved configuration and a name for a run directory.

    Args:
        preset: name of a preset.
        file: a configuration file, instead of a preset.
        overrides: fields to override, as KEY=VALUE.
        init: a run to start from. Its configuration is used if there is neither a preset nor a file.

    Raises:
        UserError: as for `load_config`; or `init` is not a trained or imported run.
    """
    from genre_tagger.config import load_config, read_run_config

    if init and not (preset or file):
        from genre_tagger.runs.directory import open_run

        return read_run_config(open_run(init)[0].config, overrides), init.resolve().name
    preset = preset or (None if file else "small")
    return load_config(preset, file, overrides), preset or str(file and file.stem)


def read_families_option(path: Path | None) -> dict[str, str]:
    """Read the family of each tag from a file, or from the file of the package if the path is None."""
    from genre_tagger.evaluation.families import read_families

    return read_families(path)


def _data_request(values: dict[str, Any]) -> "DataRequest | None":
    """Return the data that the options describe; None if they name no source."""
    if values["source"] is None:
        given = [name for name in ("root", "table", "group", "mirror", "songs") if values[name] is not None]
        given += ["data_seed"] if values["data_seed"] else []
        if given:
            raise FieldError(given[0], "needs a SOURCE after the run, found none")
        return None
    from genre_tagger.audio.processes import available_cores
    from genre_tagger.dataset.request import DataRequest
    from genre_tagger.sources.registry import DEMO_SONGS, SourceOptions, check_options

    options = SourceOptions(
        source=values["source"],
        songs=values["songs"] or DEMO_SONGS,
        seed=values["data_seed"],
        **{name: values[name] for name in ("root", "table", "split", "group", "mirror")},
    )
    check_options(options)
    return DataRequest(options, values["data"], values.get("stream", False), values["workers"] or available_cores())
