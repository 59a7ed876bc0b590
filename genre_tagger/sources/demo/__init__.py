"""The demo dataset: music composed from a seed and rendered locally, with exact tags. It needs no download.

This package imports neither TensorFlow nor Keras, because every rendering process imports the whole package.
"""

from genre_tagger.sources.demo.composer import CLIP_SECONDS, CLIPS_PER_SONG, COMPOSER_VERSION
from genre_tagger.sources.demo.labels import TAGS
from genre_tagger.sources.demo.render import SAMPLE_RATE, render_demo

__all__ = ["CLIPS_PER_SONG", "CLIP_SECONDS", "COMPOSER_VERSION", "SAMPLE_RATE", "TAGS", "render_demo"]
