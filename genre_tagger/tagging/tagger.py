"""Tags songs window by window, whatever their length."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genre_tagger.config import Config
from genre_tagger.evaluation.scoring import pool_windows
from genre_tagger.tagging.hearing import Heard
from genre_tagger.tagging.models import ModelFiles, WindowModel
from genre_tagger.tagging.windows import batches_of, cut_windows


@dataclass(frozen=True, eq=False)
class Taggram:
    """What a model says of a song, window by window.

    Attributes:
        times: float32 [windows], the second of the song at which each window starts, as in the signature `taggram`:
            that is where its first frame is centred.
        window_seconds: length of each window.
        probabilities: float32 [windows, tags]; no windows where there is a flag.
        pooling: how scores of windows become the song's, `mean` or `max`.
        seconds: length of the song.
        flag: `silent` or `too short` where the file is sound but not for judging; empty otherwise.
        embeddings: float32 [windows, dim], if asked for.
    """

    times: np.ndarray
    window_seconds: float
    probabilities: np.ndarray
    pooling: str
    seconds: float
    flag: str = ""
    embeddings: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """The song's probabilities [tags], float32; NaN where there is a flag."""
        if self.flag:
            return np.full(self.probabilities.shape[1], np.nan, np.float32)
        return pool_windows(self.probabilities, self.pooling)

    @property
    def embedding(self) -> np.ndarray:
        """The mean of the windows' embeddings [dim]; only where they were asked for and there is no flag."""
        return self.embeddings.mean(axis=0)


@dataclass(frozen=True)
class Tagger:
    """A model with its tags and windows.

    Attributes:
        model: scores windows.
        config: of the model; songs are covered by windows whatever `window.evaluate` says.
        tags: names of the probabilities.
        model_version: identifies weights, tags and configuration.
    """

    model: WindowModel
    config: Config
    tags: tuple[str, ...]
    model_version: str

    @classmethod
    def of_model(cls, path: Path) -> "Tagger":
        """Loads a run's best model, an exported version (DIR/NAME/3) or the latest of a folder of them (DIR/NAME).

        Raises:
            UserError: there is none of these.
        """
        files = ModelFiles.find(path)
        return cls(files.load(), files.config, files.tags, files.version)

    def taggram(self, path: Path, embed: bool = False) -> Taggram:
        """Scores all windows of an audio file, in memory that does not grow with its length.

        Args:
            path: the audio file.
            embed: whether to keep the windows' embeddings too.

        Raises:
            Undecodable: the file has no usable audio.
        """
        config, heard = self.config.covering, Heard(path, self.config.frontend.sample_rate)
        times, probabilities, embeddings = [], [np.zeros((0, len(self.tags)), np.float32)], []
        for starts, windows in batches_of(cut_windows(heard.blocks(), config), config.training.batch_size):
            scored, embedded = self.model(windows, embed)
            times += starts
            probabilities.append(scored)
            embeddings.append(embedded)
        flag = heard.flag(config.window.seconds)
        kept = slice(0, 0 if flag else None)
        return Taggram(
            times=(np.array(times, np.float32) / config.frontend.sample_rate)[kept],
            window_seconds=config.window.seconds,
            probabilities=np.concatenate(probabilities)[kept],
            pooling=config.window.pooling,
            seconds=heard.seconds,
            flag=flag,
            embeddings=np.concatenate(embeddings)[kept] if embed else None,
        )
