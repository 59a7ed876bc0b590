"""A model server at work: on whole files, or on windows where files of its model give the names of all tags."""

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genre_tagger.config import Config
from genre_tagger.data.decode import PCM16_SCALE, Undecodable, to_pcm16
from genre_tagger.errors import UserError
from genre_tagger.export.client import SCORE_TOLERANCE, Answer, Client
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES
from genre_tagger.tagging.results import Song
from genre_tagger.tagging.windows import never_silent

if TYPE_CHECKING:
    from genre_tagger.tagging.models import ModelFiles

MAX_ITEMS = ALLOWED_BATCH_SIZES[-1]
# Of a probability. One model in float32 and bfloat16 differed by 0.008, one trained an epoch more or anew by over 0.1.
MODEL_TOLERANCE = 0.03


def ask_server(client: Client, files: Iterable[Path]) -> Generator[Song, None, None]:
    """What a server says of each file without any file of its model: the highest tags, by the names it gives.

    Raises:
        UserError: the server cannot be reached, refuses or answers nonsense.
    """
    for path, outcome in client.tag_files(files):
        if isinstance(outcome, Undecodable):
            yield Song(path, flag=outcome.flag, reason="" if outcome.flag else str(outcome))
        else:
            yield Song(path, scores=outcome)


class ServedModel:
    """A `WindowModel` by the signatures `pcm16` and `embed`.

    Args:
        client: of the server.
        files: of the model that it ought to have; every answer is compared with its tags.
    """

    def __init__(self, client: Client, files: "ModelFiles"):
        self._client, self._files = client, files

    def __call__(self, windows: np.ndarray, embed: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """See WindowModel; raises UserError where the server cannot be asked or has other tags or windows."""
        windows = never_silent(windows)
        parts = np.split(windows, range(MAX_ITEMS, len(windows), MAX_ITEMS))
        probabilities = np.concatenate([self._scores(part) for part in parts])
        return probabilities, np.concatenate([self._client.embed(part) for part in parts]) if embed else None

    def refuse_another(self) -> None:
        """Lets the server and the model of the files score one sound; a retrained model may have the same tags.

        Raises:
            UserError: they differ, the server cannot be asked, or the model cannot be loaded.
        """
        sound = _reference(self._files.config)
        (found,), _ = self(sound, embed=False)
        (expected,), _ = self._files.load()(sound, embed=False)
        worst = np.abs(found - expected).argmax()
        if abs(found[worst] - expected[worst]) > MODEL_TOLERANCE:
            raise UserError(
                f"{self._client.server}: has another model than {self._files.path}: scores {self._files.tags[worst]!r} "
                f"{found[worst]:.3f} in a reference sound, expected {expected[worst]:.3f}"
            )

    def _scores(self, windows: np.ndarray) -> np.ndarray:
        answers = self._client.predict("pcm16", [to_pcm16(window).tobytes() for window in windows])
        for answer in answers:
            self._check(answer)
        return np.stack([answer.probabilities for answer in answers])

    def _check(self, answer: Answer) -> None:
        server, path, tags = self._client.server, self._files.path, self._files.tags
        if answer.error:
            raise UserError(f"{server}: {answer.error}; expected it to take the windows of {path}")
        if len(answer.probabilities) != len(tags):
            raise UserError(
                f"{server}: its model has {len(answer.probabilities)} tags, expected the {len(tags)} of {path}"
            )
        for tag, score in answer.top.items():
            if tag not in tags or abs(answer.probabilities[tags.index(tag)] - score) > SCORE_TOLERANCE:
                raise UserError(f"{server}: its model has the tag {tag!r} where {path} has another or none")


def _reference(config: Config) -> np.ndarray:
    """One window float32 [1, samples]: a chord in noise, in steps of 16 bits, as servers get it."""
    rng = np.random.default_rng(0)
    seconds = np.arange(config.window_samples) / config.frontend.sample_rate
    chord = sum(np.sin(2 * np.pi * hertz * seconds) for hertz in rng.uniform(100, 2000, 4))
    sound = 0.1 * chord + rng.uniform(-0.05, 0.05, config.window_samples)
    return (to_pcm16(sound) / np.float32(PCM16_SCALE))[None]
