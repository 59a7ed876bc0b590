"""Asks a model server for the tags of audio files; needs no file of the model."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from genre_tagger.data.decode import Silent, Undecodable
from genre_tagger.errors import UserError
from genre_tagger.export.contract import MODEL_NAME, SILENCE, TOP_TAGS
from genre_tagger.export.pieces import MAX_REQUEST_BYTES, Piece, batches_of, pieces_of
from genre_tagger.export.transport import Busy, open_transport

MAX_WAIT_SECONDS = 8.0
MAX_TIMEOUT_SECONDS = 86_400.0  # sockets and gRPC overflow on what is meant as forever
SCORE_TOLERANCE = 1e-4
JSON_BYTES = 22  # of a sample as a number in JSON, at most

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """What a server says of one item.

    Attributes:
        error: why there are no scores; empty when there are.
        probabilities: float32 [tags], zeros where there is an error.
        top: the highest of them with their names, the highest first; empty where there is an error.
    """

    error: str
    probabilities: np.ndarray
    top: dict[str, float]


class Client:
    """A model of a server, by gRPC or REST.

    Refused connections, full queues and taken threads (UNAVAILABLE, RESOURCE_EXHAUSTED, HTTP 503 and 429) are tried
    again after waits that double, each drawn at random up to its bound ("full jitter": Brooker, "Exponential Backoff
    And Jitter", 2015), so that clients that were turned away together do not come back together. Nothing else is
    repeated.

    Args:
        server: HOST:PORT or grpc://HOST:PORT or unix:PATH for gRPC, http://HOST:PORT or https://HOST:PORT for REST.
        model: its name on the server.
        label: a version label (`stable`); the newest version by default.
        timeout_seconds: for each attempt of a request, from its first byte to the answer's last.
        attempts: of a request, the first included.
        first_wait_seconds: bound of the first wait; the next are twice as long each, 8 s at most.

    Raises:
        UserError: the address has none of these forms, or the timeout is not within a day.
    """

    def __init__(
        self,
        server: str,
        model: str = MODEL_NAME,
        *,
        label: str | None = None,
        timeout_seconds: float = 60.0,
        attempts: int = 6,
        first_wait_seconds: float = 0.5,
    ):
        if not 0 < timeout_seconds <= MAX_TIMEOUT_SECONDS:
            raise UserError(
                f"timeout_seconds: found {timeout_seconds}, expected over 0 and at most {MAX_TIMEOUT_SECONDS:g}"
            )
        self.server = server
        self._transport = open_transport(server, model, label)
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._first_wait_seconds = first_wait_seconds

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the end of a `with` does it too."""
        self._transport.close()

    def tag(self, path: Path) -> dict[str, float]:
        """The top tags of an audio file with their probabilities, the highest first.

        Raises:
            Undecodable: the file has no usable audio, or the server says so.
            UserError: the server cannot be reached, refuses or answers nonsense.
        """
        ((_, outcome),) = self.tag_files([path])
        if isinstance(outcome, Undecodable):
            raise outcome
        return outcome

    def tag_files(self, paths: Iterable[Path]) -> Iterator[tuple[Path, dict[str, float] | Undecodable]]:
        """Top tags of many files, or why there are none, in their order; several files go in a request.

        A file of over 10 minutes is sent in equal pieces whose probabilities are averaged by duration, whatever the
        run's pooling; silent pieces are left out, and a file of which the server refuses one for anything else has no
        tags. Only names that the server gave are known: a tag among the first five of no piece is not among the file's.

        Raises:
            UserError: the server cannot be reached, refuses or answers nonsense.
        """
        pieces = (piece for number, path in enumerate(paths) for piece in pieces_of(number, path))
        answered = (pair for batch in batches_of(pieces) for pair in self._answered(batch))
        for _, group in groupby(answered, key=lambda pair: pair[0].file):
            of_file = list(group)
            yield of_file[0][0].path, _merged(of_file)

    def predict(self, signature: str, audio: Sequence[bytes]) -> list[Answer]:
        """Asks a signature that takes bytes, in one request.

        Args:
            signature: `wav` (whole WAV files) or `pcm16` (one window each, raw 16-bit mono at the model's rate).
            audio: up to 32 items; about none nothing is asked.

        Raises:
            UserError: the server cannot be reached, refuses or answers nonsense.
        """
        if not audio:
            return []
        outputs = self._patiently(lambda: self._transport.predict(signature, audio, self._timeout_seconds))
        try:
            return _answers(outputs, len(audio))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{self.server}: its answer is not that of a tagger's signature {signature} ({error})"
            ) from None

    def embed(self, windows: np.ndarray) -> np.ndarray:
        """Embeddings [batch, dim] of windows float32 [batch, samples], by the signature `embed`, in few requests.

        Raises:
            UserError: as `predict`, or the server refuses a window.
        """
        size = max(1, MAX_REQUEST_BYTES // (JSON_BYTES * windows.shape[1]))
        return np.concatenate([self._embed(windows[first : first + size]) for first in range(0, len(windows), size)])

    def _embed(self, windows: np.ndarray) -> np.ndarray:
        outputs = self._patiently(lambda: self._transport.predict("embed", windows, self._timeout_seconds))
        try:
            embedding = np.asarray(outputs["embedding"], np.float32)
            errors = [error for error in np.asarray(outputs["error"], np.str_).ravel().tolist() if error]
            if embedding.ndim != 2 or len(embedding) != len(windows) or not np.isfinite(embedding).all():
                raise ValueError(f"not one vector for each of {len(windows)} windows")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.server}: its answer is not that of a tagger's signature embed ({error})") from None
        if errors:
            raise UserError(f"{self.server}: {errors[0]}")
        return embedding

    def _answered(self, batch: list[Piece]) -> Iterator[tuple[Piece, Answer | Undecodable]]:
        audio = [piece.wav for piece in batch if not piece.problem]
        answers = iter(self.predict("wav", audio))
        for piece in batch:
            yield piece, piece.problem or _heard(next(answers))

    def _patiently(self, request: Callable[[], Result]) -> Result:
        for attempt in range(self._attempts):
            if attempt:
                time.sleep(random.uniform(0, min(MAX_WAIT_SECONDS, self._first_wait_seconds * 2 ** (attempt - 1))))
            try:
                return request()
            except Busy as error:
                reason = error
        raise UserError(f"{self.server}: not available, {self._attempts} attempts: {reason}")


def _heard(answer: Answer) -> Answer | Undecodable:
    """The answer, or why there are no scores in it."""
    if not answer.error:
        return answer
    return Silent(answer.error) if answer.error == SILENCE else Undecodable(answer.error)


def _merged(answered: Sequence[tuple[Piece, Answer | Undecodable]]) -> dict[str, float] | Undecodable:
    """One file's tags from those of its pieces; a song may be silent for 10 minutes, but all else must be heard."""
    problems = [outcome for _, outcome in answered if isinstance(outcome, Undecodable)]
    if serious := [problem for problem in problems if not isinstance(problem, Silent)]:
        return serious[0]
    heard = [(piece, outcome) for piece, outcome in answered if isinstance(outcome, Answer)]
    if not heard:
        return problems[0]
    if len(heard) == 1:
        return heard[0][1].top
    weights = [piece.samples for piece, _ in heard]
    means = np.average([answer.probabilities for _, answer in heard], axis=0, weights=weights)
    tag_of = {tag: name for _, answer in heard for tag, name in zip(_ranking(answer), answer.top, strict=False)}
    ranked = sorted(tag_of, key=lambda tag: -means[tag])[:TOP_TAGS]
    return {tag_of[tag]: float(means[tag]) for tag in ranked}


def _ranking(answer: Answer) -> list[int]:
    return np.argsort(-answer.probabilities, kind="stable").tolist()


def _answers(outputs: dict[str, Any], count: int) -> list[Answer]:
    """Checks an answer's form and takes it apart; raises TypeError or ValueError where it is another's."""
    if missing := sorted({"probabilities", "top_scores", "top_tags", "error"} - set(outputs)):
        raise ValueError(f"no {', '.join(missing)}")
    probabilities = np.asarray(outputs["probabilities"], np.float32)
    scores = np.asarray(outputs["top_scores"], np.float32)
    names, errors = np.asarray(outputs["top_tags"], np.str_), np.asarray(outputs["error"], np.str_)
    if probabilities.ndim != 2 or names.shape != scores.shape or names.ndim != 2 or errors.ndim != 1:
        raise ValueError("outputs of unexpected shapes")
    if {len(array) for array in (probabilities, scores, errors)} != {count}:
        raise ValueError(f"not one answer for each of {count} items")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities that are no numbers")
    highest = -np.sort(-probabilities, axis=1)[:, : scores.shape[1]]
    if not np.allclose(highest, scores, atol=SCORE_TOLERANCE):
        raise ValueError("top_scores that are not the highest probabilities")
    rows = zip(errors.tolist(), probabilities, names.tolist(), scores.tolist(), strict=True)
    return [Answer(error, row, {} if error else dict(zip(*top, strict=True))) for error, row, *top in rows]
