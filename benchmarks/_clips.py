"""MP3 clips made on the spot, and a source that yields them as often as wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks._common import NUM_TAGS
from genre_tagger.data.clips import Clip
from genre_tagger.data.decode import MIN_SECONDS

SOURCE_RATE = 16_000  # as MagnaTagATune's
CLIP_SECONDS = 29.12
DISTINCT_CLIPS = 8


def write_clips(folder: Path, clip_seconds: float = CLIP_SECONDS) -> list[Path]:
    """Writes a few different MP3s (mono, 16 kHz, about 32 kbit/s: MagnaTagATune's form) of tones in noise."""
    paths = [folder / f"{number}.mp3" for number in range(DISTINCT_CLIPS)]
    for seed, path in enumerate(paths):
        soundfile.write(path, _tones_in_noise(seed, clip_seconds), SOURCE_RATE)
    return paths


def _tones_in_noise(seed: int, clip_seconds: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(round(clip_seconds * SOURCE_RATE)) / SOURCE_RATE
    tones = sum(np.sin(2 * np.pi * pitch_hz * time) for pitch_hz in rng.uniform(100, 4000, 6))
    return 0.05 * tones + rng.normal(0, 0.05, len(time))


@dataclass(frozen=True)
class RepeatedFiles:
    """A source of as many clips as wanted from a few files; each is decoded as often as it occurs."""

    clips: Sequence[Clip]
    name: str = "benchmark"
    tags: tuple[str, ...] = tuple(f"tag{number}" for number in range(NUM_TAGS))
    protocol: None = None
    notes: tuple[str, ...] = ()
    min_seconds: float = MIN_SECONDS
    clip_seconds: None = None

    @classmethod
    def of(cls, paths: Sequence[Path], num_clips: int) -> "RepeatedFiles":
        """`num_clips` training clips, and the one of each other split that preparing asks for."""
        splits = ["train"] * num_clips + ["valid", "test"]
        labels = np.random.default_rng(0).integers(0, 2, (len(splits), NUM_TAGS), dtype=np.int8)
        return cls(
            [
                Clip(f"clip{number}", paths[number % len(paths)], row, f"group{number}", split)
                for number, (row, split) in enumerate(zip(labels, splits, strict=True))
            ]
        )
