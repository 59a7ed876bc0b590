"""Writes a tagger as a SavedModel that TensorFlow Serving loads: signatures, assets, warm-up requests."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf

from genre_tagger.export.signatures import ServedTagger


def write_savedmodel(directory: Path, served: ServedTagger, assets: Mapping[str, str]) -> None:
    """Writes the SavedModel with all its signatures.

    Args:
        directory: made if missing.
        served: the tagger.
        assets: the text of each file in `assets/`.
    """
    with TemporaryDirectory() as folder:
        for name, text in assets.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        served.assets = [tf.saved_model.Asset(f"{folder}/{name}") for name in assets]
        tf.saved_model.save(served, str(directory), signatures=served.signatures())
