"""MagnaTagATune: 25,863 clips of 29 s with 188 tags that players of a game agreed on (Law et al., ISMIR 2009)."""

from genre_tagger.sources.magnatagatune.files import fetch_missing
from genre_tagger.sources.magnatagatune.protocols import NUM_CLIPS, PROTOCOLS
from genre_tagger.sources.magnatagatune.source import CLIP_SECONDS, GROUPS, MagnaTagATuneSource

__all__ = ["CLIP_SECONDS", "GROUPS", "NUM_CLIPS", "PROTOCOLS", "MagnaTagATuneSource", "fetch_missing"]
