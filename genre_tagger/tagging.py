"""Tags audio files with a trained run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from genre_tagger.config import Config
from genre_tagger.data.clips import read_tags
from genre_tagger.data.decode import Undecodable, decode
from genre_tagger.data.pipeline import evaluation_starts
from genre_tagger.evaluation.scoring import pool_windows
from genre_tagger.models.tagger import load_tagger
from genre_tagger.run import open_run


@dataclass(frozen=True)
class Tagger:
    """A trained model with its tags and windows."""

    model: keras.Model
    config: Config
    tags: tuple[str, ...]

    @classmethod
    def of_run(cls, path: Path) -> "Tagger":
        """Loads the best model of a run; raises UserError where there is none."""
        run, config = open_run(path)
        return cls(load_tagger(run.model), config, read_tags(run.tags))

    def tag(self, path: Path) -> dict[str, float]:
        """Probabilities of all tags for an audio file, the highest first.

        Windows are cut and pooled as the run's configuration says of evaluation.

        Raises:
            Undecodable: the file has no usable audio.
        """
        waveform = decode(path, self.config.frontend.sample_rate)
        scores = pool_windows(self._score_windows(waveform), self.config)
        return {self.tags[number]: float(scores[number]) for number in np.argsort(-scores)}

    def tag_files(self, paths: Iterable[Path]) -> Iterator[tuple[Path, dict[str, float] | Undecodable]]:
        """The same for many files; where one has no usable audio, the reason."""
        for path in paths:
            try:
                yield path, self.tag(path)
            except Undecodable as reason:
                yield path, reason

    def _score_windows(self, waveform: np.ndarray) -> np.ndarray:
        waveform = np.pad(waveform, self.config.frontend.clip_margin)
        starts = evaluation_starts(len(waveform), self.config).numpy()
        size = self.config.training.batch_size
        batches = [starts[first : first + size] for first in range(0, len(starts), size)]
        return np.concatenate([self.model.predict_on_batch(self._windows(waveform, batch)) for batch in batches])

    def _windows(self, waveform: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Windows [batch, samples], filled with zeros where the waveform ends before them."""
        windows = np.zeros((len(starts), self.config.window_samples), np.float32)
        for window, start in zip(windows, starts, strict=True):
            part = waveform[start : start + len(window)]
            window[: len(part)] = part
        return windows
