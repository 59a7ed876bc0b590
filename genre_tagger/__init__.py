"""Music tagging with a cascade WaveNet in parallel with a CNN.

The names below are imported when they are first used, so that `import genre_tagger` is quick:

- `Tagger`: a trained, imported or exported model that tags audio.
- `load_config`: a configuration from a preset or a YAML file.
- `train`, `evaluate`: what the commands of the same names do.
- `UserError`: an error that the user can correct. `Undecodable`: a file without usable audio.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers, which do not run `__getattr__`
    from genre_tagger.api import evaluate, train
    from genre_tagger.audio.decode import Undecodable
    from genre_tagger.config import load_config
    from genre_tagger.errors import UserError
    from genre_tagger.tagging.tagger import Tagger

__version__ = "0.2.0.dev0"

__all__ = ["Tagger", "Undecodable", "UserError", "__version__", "evaluate", "load_config", "train"]

_MODULE_OF = {
    "Tagger": "genre_tagger.tagging.tagger",
    "Undecodable": "genre_tagger.audio.decode",
    "UserError": "genre_tagger.errors",
    "load_config": "genre_tagger.config",
    "train": "genre_tagger.api",
    "evaluate": "genre_tagger.api",
}

# `tuning/` and `export/` lie next to this folder in a checkout and inside it in an installed package. In a checkout,
# these lines make them importable as genre_tagger.tuning and genre_tagger.export, however the package was installed.
if not Path(__file__).with_name("export").is_dir():
    __path__.append(str(Path(__file__).resolve().parents[1]))


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
