"""Helpers of the tests: a tiny configuration, noise, and a fake model that scores windows by their samples."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000
TAGS = ("rock", "jazz", "no drums", "café", "a $ b")
TINY = {
    "frontend": {"sample_rate": RATE, "n_fft": 256, "n_mels": 16},
    "window": {"seconds": 0.5, "hop_seconds": 0.2, "evaluate": "all"},
    "model": {
        "cnn": {"kernels": [4], "pools": [[4, 4]], "dropouts": [0], "output_width": 6},
        "head": {"widths": []},
    },
    "inference": {"batch_size": 3},
}


def noise(seconds: float, seed: int = 0, level: float = 0.2) -> np.ndarray:
    """Return white noise float32 [samples] at RATE."""
    return level * np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE)).astype(np.float32)


def write(path: Path, waveform: np.ndarray, rate: int = RATE) -> Path:
    """Write an audio file. WAV files have float samples, so that they are exact."""
    soundfile.write(path, waveform, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


class Measuring:
    """A fake model. Its scores are the first sample, the last sample, the mean square, and two constants."""

    def __init__(self):
        self.windows = 0

    def __call__(self, windows, embed):
        self.windows += len(windows)
        columns = [windows[:, 0], windows[:, -1], np.mean(windows**2, axis=1)]
        columns += [np.full(len(windows), value) for value in (0.5, 0.25)]
        return np.stack(columns, axis=1).astype(np.float32), windows[:, :2].copy() if embed else None
