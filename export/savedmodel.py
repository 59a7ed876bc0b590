"""Export of a tagger as a SavedModel with signatures and assets, which TensorFlow Serving can load."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf

from genre_tagger.export.signatures import ServedTagger


def write_savedmodel(directory: Path, served: ServedTagger, assets: Mapping[str, str]) -> None:
    """Write a SavedModel with all signatures and assets.

    Args:
        directory: directory to write, created if missing.
        served: tagger with signatures.
        assets: text of each file in `assets/`, by file name.
    """
    with TemporaryDirectory() as folder:
        for name, text in assets.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        served.assets = [tf.saved_model.Asset(f"{folder}/{name}") for name in assets]
        tf.saved_model.save(served, str(directory), signatures=served.signatures())
