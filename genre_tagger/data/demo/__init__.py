"""The demo: music composed from a seed and rendered on the spot, with true tags. It needs no download.

Nothing here imports TensorFlow or Keras, since every rendering process imports all of it.
"""

from genre_tagger.data.demo.composer import CLIP_SECONDS, CLIPS_PER_SONG, COMPOSER_VERSION
from genre_tagger.data.demo.labels import TAGS
from genre_tagger.data.demo.render import SAMPLE_RATE, render_demo

__all__ = ["CLIPS_PER_SONG", "CLIP_SECONDS", "COMPOSER_VERSION", "SAMPLE_RATE", "TAGS", "render_demo"]
