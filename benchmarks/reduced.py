"""Write every preset at a size that two CPU cores can train, as YAML files for `genre-tagger compare`.

    python -m benchmarks.reduced DIR [--seconds 4]

Windows that cover a whole clip are shortened from 29.12 s to the given number of seconds. All widths are divided by 4.
Sizes in frames shrink with the window, by a power of 2: dilation depths, the frames that attention averages over, and
the recurrent preset's last pools along time. Receptive fields thus cover the same share of the window as before, and
the number of recurrent steps hardly changes. Presets with short windows keep their windows. Learning rates below 1e-3,
which are meant for hundreds of epochs, are raised to 1e-3.
"""

import argparse
import json
import math
from pathlib import Path

import yaml

from genre_tagger.config import load_config, preset_names

WIDTH_FACTOR = 4
LOWEST_RATE = 1e-3
WIDTHS = {
    "cnn": ("kernels", "output_width", "cardinality"),
    "wavenet.cascade": ("width",),
    "wavenet": ("residual_channels", "dilation_channels", "skip_channels", "output_width"),
    "crnn": ("kernels", "recurrent_widths"),
    "short_chunk": ("kernels",),
    "musicnn": ("timbral_filters", "temporal_filters", "midend_filters", "output_width"),
    "head": ("widths",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for name in preset_names():
        text = yaml.safe_dump(reduced(name, arguments.seconds), sort_keys=False)
        (arguments.directory / f"{name}.yaml").write_text(text, encoding="utf-8")


def reduced(preset: str, seconds: float) -> dict:
    """Return the resolved configuration of a preset at its reduced size."""
    values = json.loads(load_config(preset).model_dump_json())
    for name, keys in WIDTHS.items():
        section = _section(values["model"], name)
        for key in keys if section else ():
            section[key] = _divided(section[key])
    values["training"]["learning_rate"] = max(LOWEST_RATE, values["training"]["learning_rate"])
    if values["window"]["seconds"] > seconds:
        _shorten(values["model"], round(math.log2(values["window"]["seconds"] / seconds)))
        values["window"]["seconds"] = seconds
    return values


def _section(model: dict, name: str) -> dict | None:
    """Return a section by its dotted name; None if the model does not have it."""
    for part in name.split("."):
        model = model and model[part]
    return model


def _divided(width: int | list[int]) -> int | list[int]:
    return [_divided(one) for one in width] if isinstance(width, list) else max(1, round(width / WIDTH_FACTOR))


def _shorten(model: dict, halvings: int) -> None:
    """Halve all sizes that are counted in frames, `halvings` times."""
    if model["wavenet"]:
        model["wavenet"]["dilation_depth"] -= halvings
        if attention := model["wavenet"]["attention"]:
            attention["pool_frames"] //= 2**halvings
    if model["crnn"]:
        _halve_last(model["crnn"]["pools"], halvings)


def _halve_last(pools: list[list[int]], halvings: int) -> None:
    for pool in reversed(pools):
        while halvings and pool[1] % 2 == 0:
            pool[1] //= 2
            halvings -= 1


if __name__ == "__main__":
    main()
