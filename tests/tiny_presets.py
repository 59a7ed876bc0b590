"""Presets, reduced to a size for tests."""

import json

from genre_tagger.config import load_config, parse_config


def tiny(name, **changes):
    """Return a preset with small widths, depth and window. `changes` replace values of its model."""
    values = json.loads(load_config(name).model_dump_json())
    values["window"].update(seconds=0.5, hop_seconds=None)
    cuts = {
        "cnn": {"cardinality": 2, "output_width": 6},
        "wavenet": {"dilation_depth": 2, "blocks": 1, "residual_channels": 4, "dilation_channels": 4}
        | {"skip_channels": 8, "output_width": 6},
        "crnn": {"recurrent_widths": [6, 6], "pools": [[2, 2]] * 4},
        "short_chunk": {},
    }
    for section, cut in cuts.items():
        if (found := values["model"][section]) is not None:
            found.update(cut)
            if "kernels" in found:
                found["kernels"] = [8] * len(found["kernels"])
            if found.get("cascade") is not None:
                found["cascade"]["width"] = 8
    values["model"]["head"]["widths"] = [8] * len(values["model"]["head"]["widths"])
    values["model"].update(changes)
    return parse_config(values)
