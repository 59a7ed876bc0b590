"""Tags files with a model server. Windows are sent if the files of its model are available, whole files otherwise."""

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genre_tagger.audio.decode import PCM16_SCALE, Undecodable, to_pcm16
from genre_tagger.config import Config
from genre_tagger.errors import UserError
from genre_tagger.export.client import SCORE_TOLERANCE, Answer, Client
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES
from genre_tagger.tagging.song import Song
from genre_tagger.tagging.windows import never_silent

if TYPE_CHECKING:
    from genre_tagger.tagging.window_models import ModelFiles

MAX_ITEMS = ALLOWED_BATCH_SIZES[-1]
# Largest accepted difference of a probability. One model in float32 and bfloat16 differed by 0.008. Models that were
# trained for one more epoch, or trained again, differed by more than 0.1.
MODEL_TOLERANCE = 0.03


def tag_by_server(client: Client, files: Iterable[Path]) -> Generator[Song, None, None]:
    """Yield the result for each file, with the highest tags, which the server names. No file of the model is needed.

    Args:
        client: client of the server.
        files: the audio files.

    Raises:
        UserError: the server cannot be reached, refuses a request or sends an invalid answer.
    """
    for path, result in client.tag_files(files):
        if isinstance(result, Undecodable):
            yield Song(path, flag=result.flag, reason="" if result.flag else str(result))
        else:
            yield Song(path, scores=result)


class ServedModel:
    """A `WindowModel` that calls the signatures `pcm16` and `embed` of a server.

    Args:
        client: client of the server.
        files: files of the model that the server is expected to have. Every answer is compared with their tags.
    """

    def __init__(self, client: Client, files: "ModelFiles"):
        self._client, self._files = client, files

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """See WindowModel. Raises UserError if the server does not answer, or has other tags or windows."""
        windows = never_silent(windows)
        parts = np.split(windows, range(MAX_ITEMS, len(windows), MAX_ITEMS))
        probabilities = np.concatenate([self._scores(part) for part in parts])
        return probabilities, np.concatenate([self._client.embed(part) for part in parts]) if embed else None

    def check_model(self) -> None:
        """Check that the server has the model of the files: both must give the same scores to a reference sound.

        The tags are not enough, because two models may have the same tags.

        Raises:
            UserError: the scores differ, the server does not answer, or the model cannot be loaded.
        """
        sound = _reference_sound(self._files.config)
        (found,), _ = self(sound, embed=False)
        (expected,), _ = self._files.load()(sound, embed=False)
        worst = np.abs(found - expected).argmax()
        if abs(found[worst] - expected[worst]) > MODEL_TOLERANCE:
            raise UserError(
                f"{self._client.server}: has another model than {self._files.path}: found {found[worst]:.3f} for "
                f"{self._files.tags[worst]!r} in a reference sound, expected {expected[worst]:.3f}"
            )

    def _scores(self, windows: np.ndarray) -> np.ndarray:
        answers = self._client.predict("pcm16", [to_pcm16(window).tobytes() for window in windows])
        for answer in answers:
            self._check_answer(answer)
        return np.stack([answer.probabilities for answer in answers])

    def _check_answer(self, answer: Answer) -> None:
        server, path, tags = self._client.server, self._files.path, self._files.tags
        if answer.error:
            raise UserError(f"{server}: {answer.error}; expected it to accept the windows of {path}")
        if len(answer.probabilities) != len(tags):
            raise UserError(f"{server}: found {len(answer.probabilities)} tags, expected the {len(tags)} of {path}")
        for tag, score in answer.top.items():
            if tag not in tags or abs(answer.probabilities[tags.index(tag)] - score) > SCORE_TOLERANCE:
                raise UserError(f"{server}: found the tag {tag!r}, expected the tags of {path} in the same order")


def _reference_sound(config: Config) -> np.ndarray:
    """Return one window float32 [1, samples]: a chord with noise, rounded to 16 bits like what servers receive."""
    rng = np.random.default_rng(0)
    seconds = np.arange(config.window_samples) / config.frontend.sample_rate
    chord = np.sum([np.sin(2 * np.pi * hertz * seconds) for hertz in rng.uniform(100, 2000, 4)], axis=0)
    sound = 0.1 * chord + rng.uniform(-0.05, 0.05, config.window_samples)
    return (to_pcm16(sound) / np.float32(PCM16_SCALE))[None]
