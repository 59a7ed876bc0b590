"""Every preset at a size that two cores bear, as YAML files for `genre-tagger compare`.

    python -m benchmarks.reduced DIR [--seconds 4]

Windows of whole clips are so many seconds long in place of 29.12. All widths are divided by 4. What is counted in
frames shrinks with the window, by a power of 2: dilation depths, the frames that attention averages over, and the
recurrent preset's last pools along time, so that receptive fields and recurrent steps keep their share of the window.
Presets of short windows keep those. Learning rates below 1e-3, made for hundreds of epochs, are raised to it.
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
    "cascade": ("width",),
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
    """The resolved configuration of a preset, reduced."""
    values = json.loads(load_config(preset).model_dump_json())
    for section, keys in WIDTHS.items():
        for key in keys if values["model"][section] else ():
            values["model"][section][key] = _divided(values["model"][section][key])
    values["training"]["learning_rate"] = max(LOWEST_RATE, values["training"]["learning_rate"])
    if values["window"]["seconds"] > seconds:
        _shorten(values["model"], round(math.log2(values["window"]["seconds"] / seconds)))
        values["window"]["seconds"] = seconds
    return values


def _divided(width: int | list[int]) -> int | list[int]:
    return [_divided(one) for one in width] if isinstance(width, list) else max(1, round(width / WIDTH_FACTOR))


def _shorten(model: dict, halvings: int) -> None:
    """Halves what is counted in frames so many times."""
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
