"""The tagger, which tags songs of any length, window by window."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from genre_tagger.audio.decode import Silent, TooShort, Undecodable, decode_blocks, waveform_blocks
from genre_tagger.config import Config
from genre_tagger.evaluation.scoring import pool_windows
from genre_tagger.tagging.decoded_song import DecodedSong
from genre_tagger.tagging.song import ranked
from genre_tagger.tagging.window_models import ModelFiles, WindowModel
from genre_tagger.tagging.windows import batches_of, cut_windows

Audio = str | Path | np.ndarray
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Taggram:
    """The probabilities of a song's tags over time.

    Attributes:
        times: float32 [windows], start of each window in seconds, which is the centre of its first frame. The times
            equal those of the signature `taggram` of an exported model.
        window_seconds: length of each window.
        probabilities: float32 [windows, tags]; without windows if there is a flag.
        pooling: how the scores of the windows are pooled to those of the song, `mean` or `max`.
        seconds: length of the song.
        flag: `silent` or `too short` if the song is not tagged, otherwise empty.
        embeddings: float32 [windows, dim] if they were requested, otherwise None.
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
        """Probabilities of the whole song, float32 [tags]; NaN if there is a flag."""
        if self.flag:
            return np.full(self.probabilities.shape[1], np.nan, np.float32)
        return pool_windows(self.probabilities, self.pooling)

    @property
    def embedding(self) -> np.ndarray:
        """Mean of the embeddings of the windows, float32 [dim].

        Raises:
            ValueError: the embeddings were not requested.
        """
        if self.embeddings is None:
            raise ValueError("embeddings: found none, expected a taggram that was made with embed=True")
        return np.asarray(self.embeddings.mean(axis=0))


@dataclass(frozen=True)
class Tagger:
    """A model that tags songs.

    Attributes:
        model: the model that scores windows.
        config: configuration of the model. Windows cover the whole song even if `window.evaluate` is `center`.
        tags: ordered tag names, as in the output of the model.
        model_version: digest that identifies weights, tags and configuration.

    Examples:
        >>> tagger = Tagger.load("runs/mine")
        >>> scores = tagger.tag("song.mp3")
        >>> best = next(iter(scores))  # the tag with the highest probability
    """

    model: WindowModel
    config: Config
    tags: tuple[str, ...]
    model_version: str

    @classmethod
    def load(cls, path: str | Path) -> "Tagger":
        """Load a model.

        Args:
            path: a run directory, an exported version (DIR/NAME/3) or a folder of versions (DIR/NAME), whose latest
                is loaded.

        Raises:
            UserError: there is no model, or the model cannot be loaded.
        """
        files = ModelFiles.find(Path(path))
        return cls(files.load(), files.config, files.tags, files.version)

    @overload
    def tag(self, audio: Audio, *, sample_rate: int | None = None) -> dict[str, float]: ...  # type: ignore[overload-overlap]
    @overload
    def tag(self, audio: Sequence[Audio], *, sample_rate: int | None = None) -> list[dict[str, float]]: ...

    def tag(
        self, audio: Audio | Sequence[Audio], *, sample_rate: int | None = None
    ) -> dict[str, float] | list[dict[str, float]]:
        """Return the probability of every tag, the highest first.

        Args:
            audio: path of an audio file; a float waveform [samples] or [samples, channels] with full scale 1; or a list
                of these, for a list of results in the same order.
            sample_rate: sample rate of the waveforms, in Hz. Files have their own.

        Raises:
            Silent: a song is silent throughout.
            TooShort: a song is shorter than a quarter of a window or than 0.1 s.
            Undecodable: a file is missing or has no usable audio, or a waveform contains NaN or infinity. Silent and
                TooShort are subclasses of it. The first such song of a list raises its error, with its name.
            ValueError: a waveform has no sample rate, one that is too low, or the wrong shape or type.
            UserError: a server does not answer, or a server or an exported model refuses a window.
        """
        if isinstance(audio, str | Path | np.ndarray):
            return ranked(self._tagged(audio, sample_rate).scores, self.tags)
        return _of_each(self.tag, audio, sample_rate)

    @overload
    def embed(self, audio: Audio, *, sample_rate: int | None = None) -> np.ndarray: ...  # type: ignore[overload-overlap]
    @overload
    def embed(self, audio: Sequence[Audio], *, sample_rate: int | None = None) -> list[np.ndarray]: ...

    def embed(self, audio: Audio | Sequence[Audio], *, sample_rate: int | None = None) -> np.ndarray | list[np.ndarray]:
        """Return the embedding of a song, float32 [dim]: the input of the output layer, averaged over all windows.

        Args:
            audio: as in `tag`; a list gives a list of embeddings.
            sample_rate: as in `tag`.

        Raises:
            Undecodable, ValueError, UserError: as in `tag`.
        """
        if isinstance(audio, str | Path | np.ndarray):
            return self._tagged(audio, sample_rate, embed=True).embedding
        return _of_each(self.embed, audio, sample_rate)

    def taggram(self, audio: Audio, *, sample_rate: int | None = None, embed: bool = False) -> Taggram:
        """Return the probabilities of every window of a song. Decoding takes the same memory for files of any length.

        Args:
            audio: path of an audio file, or a float waveform [samples] or [samples, channels] with full scale 1.
            sample_rate: sample rate of the waveform, in Hz.
            embed: whether to keep the embeddings of the windows.

        Raises:
            Undecodable: as in `tag`, except that a silent or too short song has a flag instead.
            ValueError, UserError: as in `tag`.
        """
        config = self.config.covering
        song = DecodedSong(self._blocks(audio, sample_rate), config.frontend.sample_rate)
        times: list[int] = []
        probabilities, embeddings = [np.zeros((0, len(self.tags)), np.float32)], []
        for starts, windows in batches_of(cut_windows(song.blocks(), config), config.inference.batch_size):
            scored, embedded = self.model(windows, embed)
            times += starts
            probabilities.append(scored)
            if embedded is not None:
                embeddings.append(embedded)
        flag = song.flag(config.window.seconds)
        kept = slice(0, 0 if flag else None)
        return Taggram(
            times=(np.array(times, np.float32) / config.frontend.sample_rate)[kept],
            window_seconds=config.window.seconds,
            probabilities=np.concatenate(probabilities)[kept],
            pooling=config.window.pooling,
            seconds=song.seconds,
            flag=flag,
            embeddings=np.concatenate(embeddings)[kept] if embed else None,
        )

    def _blocks(self, audio: Audio, sample_rate: int | None) -> Iterable[np.ndarray]:
        target = self.config.frontend.sample_rate
        if not isinstance(audio, np.ndarray):
            return decode_blocks(Path(audio), target)
        if sample_rate is None:
            raise ValueError("sample_rate: found none, expected the sample rate of the waveform")
        return waveform_blocks(audio, sample_rate, target)

    def _tagged(self, audio: Audio, sample_rate: int | None, embed: bool = False) -> Taggram:
        """Return the taggram of a song. Raise Silent or TooShort instead of returning one with a flag."""
        taggram = self.taggram(audio, sample_rate=sample_rate, embed=embed)
        if taggram.flag:
            kind = Silent if taggram.flag == Silent.flag else TooShort
            raise kind(f"{taggram.flag}: {taggram.seconds:.3f} s")
        return taggram


def _of_each(function: Callable[..., Result], audio: Sequence[Audio], sample_rate: int | None) -> list[Result]:
    """Return the results of a function for each song. The message of an error names the song."""
    results = []
    for number, one in enumerate(audio):
        try:
            results.append(function(one, sample_rate=sample_rate))
        except Undecodable as error:
            name = f"waveform {number}" if isinstance(one, np.ndarray) else one
            raise type(error)(f"{name}: {error}") from error
    return results
