"""Synthetic MP3 clips, and a source that repeats them to any number of clips."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks._common import NUM_TAGS
from genre_tagger.audio.decode import MIN_SECONDS
from genre_tagger.sources.clips import Clip

SOURCE_RATE = 16_000  # the rate of MagnaTagATune
CLIP_SECONDS = 29.12
DISTINCT_CLIPS = 8


def write_clips(folder: Path, clip_seconds: float = CLIP_SECONDS) -> list[Path]:
    """Write a few different MP3s of tones in noise, in MagnaTagATune's format (mono, 16 kHz, about 32 kbit/s)."""
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
    """A source that repeats a few files to any number of clips. A file is decoded once for each of its clips."""

    clips: Sequence[Clip]
    name: str = "benchmark"
    tags: tuple[str, ...] = tuple(f"tag{number}" for number in range(NUM_TAGS))
    protocol: None = None
    min_seconds: float = MIN_SECONDS
    clip_seconds: None = None

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """Return no notes."""
        return ()

    @classmethod
    def of(cls, paths: Sequence[Path], num_clips: int) -> "RepeatedFiles":
        """Return a source of `num_clips` training clips, with the validation and test clip that `prepare` requires."""
        splits = ["train"] * num_clips + ["valid", "test"]
        labels = np.random.default_rng(0).integers(0, 2, (len(splits), NUM_TAGS), dtype=np.int8)
        return cls(
            [
                Clip(f"clip{number}", paths[number % len(paths)], row, f"group{number}", split)
                for number, (row, split) in enumerate(zip(labels, splits, strict=True))
            ]
        )
