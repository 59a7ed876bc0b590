"""A client of a model server. It needs no file of the model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from genre_tagger.audio.decode import Silent, Undecodable
from genre_tagger.errors import FieldError, UserError
from genre_tagger.export.contract import MODEL_NAME, SILENCE, TOP_TAGS
from genre_tagger.export.request_audio import MAX_REQUEST_BYTES, Piece, batches_of, pieces_of
from genre_tagger.export.transport import Busy, open_transport

MAX_WAIT_SECONDS = 8.0
MAX_TIMEOUT_SECONDS = 86_400.0  # sockets and gRPC overflow on very long timeouts
SCORE_TOLERANCE = 1e-4
JSON_BYTES = 22  # largest size of a sample as a number in JSON

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answer:
    """The answer of a server for one item.

    Attributes:
        error: why the item has no scores, empty if it has.
        probabilities: float32 [tags], zeros if there is an error.
        top: the highest probabilities by tag name, the highest first; empty if there is an error.
    """

    error: str
    probabilities: np.ndarray
    top: dict[str, float]


class Client:
    """A client of one model on a server, over gRPC or REST.

    A request is retried if the connection is refused or the server is overloaded (UNAVAILABLE, RESOURCE_EXHAUSTED,
    HTTP 503 and 429). Other failures are not retried. The wait before each retry is drawn between 0 and a bound that
    doubles ("full jitter": Brooker, "Exponential Backoff And Jitter", 2015), so that clients that were rejected at the
    same time do not retry at the same time.

    Args:
        server: HOST:PORT, grpc://HOST:PORT or unix:PATH for gRPC, http://HOST:PORT or https://HOST:PORT for REST.
        model: name of the model on the server.
        label: version label, for example `stable`; by default the server uses the newest version.
        timeout_seconds: timeout of one attempt, from the first byte of the request to the last byte of the answer.
        attempts: maximum number of attempts, including the first.
        first_wait_seconds: bound of the first wait. The bound doubles for each further wait, up to 8 s.

    Raises:
        FieldError: the address has none of these forms, or the timeout is not between 0 and one day.

    Example:
        with Client("http://localhost:8501") as client:
            client.tag(Path("song.mp3"))  # {'jazz': 0.93, 'piano': 0.88, ...}
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
            raise FieldError(
                "timeout_seconds", f"found {timeout_seconds}, expected over 0 and at most {MAX_TIMEOUT_SECONDS:g}"
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
        """Close the connections. A `with` block calls this at its end."""
        self._transport.close()

    def tag(self, path: Path) -> dict[str, float]:
        """Return the top tags of an audio file with their probabilities, the highest first.

        Args:
            path: path of the audio file.

        Raises:
            Undecodable: the file has no usable audio, or the server rejects it.
            UserError: the server cannot be reached, refuses the request or returns an invalid answer.
        """
        ((_, outcome),) = self.tag_files([path])
        if isinstance(outcome, Undecodable):
            raise outcome
        return outcome

    def tag_files(self, paths: Iterable[Path]) -> Iterator[tuple[Path, dict[str, float] | Undecodable]]:
        """Yield each file with its top tags, or with the reason why it has none, in order.

        One request carries several files. A file longer than 10 minutes is sent as several pieces of equal length. The
        probabilities of the pieces are averaged, weighted by duration, even if the run pools by maximum. Silent pieces
        are left out. If the server rejects a piece for another reason, the file has no tags. The client knows only the
        tag names that the server returns, which are those of the five highest tags of each piece.

        Args:
            paths: paths of the audio files.

        Raises:
            UserError: the server cannot be reached, refuses a request or returns an invalid answer.
        """
        pieces = (piece for number, path in enumerate(paths) for piece in pieces_of(number, path))
        answered = (pair for batch in batches_of(pieces) for pair in self._answered(batch))
        for _, group in groupby(answered, key=lambda pair: pair[0].file):
            answered_pieces = list(group)
            yield answered_pieces[0][0].path, _merged(answered_pieces)

    def predict(self, signature: str, audio: Sequence[bytes]) -> list[Answer]:
        """Call a signature that takes bytes, in one request.

        Args:
            signature: `wav` (whole WAV files) or `pcm16` (windows as raw 16-bit mono PCM at the model's sample rate).
            audio: up to 32 items. Without items, no request is sent.

        Returns:
            One answer per item.

        Raises:
            UserError: the server cannot be reached, refuses the request or returns an invalid answer.
        """
        if not audio:
            return []
        outputs = self._with_retries(lambda: self._transport.predict(signature, audio, self._timeout_seconds))
        try:
            return _answers(outputs, len(audio))
        except (TypeError, ValueError) as error:
            raise self._invalid_answer(signature, error) from error

    def embed(self, windows: np.ndarray) -> np.ndarray:
        """Return the embeddings of windows, with as few requests as their size allows.

        Args:
            windows: float32 [batch, samples].

        Returns:
            float32 [batch, dim].

        Raises:
            UserError: as for `predict`, or the server rejects a window.
        """
        size = max(1, MAX_REQUEST_BYTES // (JSON_BYTES * windows.shape[1]))
        return np.concatenate([self._embed(windows[first : first + size]) for first in range(0, len(windows), size)])

    def _embed(self, windows: np.ndarray) -> np.ndarray:
        outputs = self._with_retries(lambda: self._transport.predict("embed", windows, self._timeout_seconds))
        try:
            embedding = np.asarray(outputs["embedding"], np.float32)
            errors = [error for error in np.asarray(outputs["error"], np.str_).ravel().tolist() if error]
            if embedding.ndim != 2 or len(embedding) != len(windows) or not np.isfinite(embedding).all():
                raise ValueError(f"expected one vector for each of {len(windows)} windows")
        except (KeyError, TypeError, ValueError) as error:
            raise self._invalid_answer("embed", error) from error
        if errors:
            raise UserError(f"{self.server}: {errors[0]}")
        return embedding

    def _answered(self, batch: list[Piece]) -> Iterator[tuple[Piece, Answer | Undecodable]]:
        audio = [piece.wav for piece in batch if not piece.problem]
        answers = iter(self.predict("wav", audio))
        for piece in batch:
            yield piece, piece.problem or _answer_or_problem(next(answers))

    def _invalid_answer(self, signature: str, error: Exception) -> UserError:
        return UserError(f"{self.server}: invalid answer, expected that of a tagger's signature {signature} ({error})")

    def _with_retries(self, request: Callable[[], Result]) -> Result:
        retrying = Retrying(
            retry=retry_if_exception_type(Busy),
            stop=stop_after_attempt(self._attempts),
            wait=wait_random_exponential(multiplier=self._first_wait_seconds, max=MAX_WAIT_SECONDS),
            reraise=True,
        )
        try:
            return retrying(request)
        except Busy as error:
            attempts = "1 attempt" if self._attempts == 1 else f"{self._attempts} attempts"
            raise UserError(f"{self.server}: not available after {attempts}: {error}") from error


def _answer_or_problem(answer: Answer) -> Answer | Undecodable:
    """Return the answer, or an exception with its error message."""
    if not answer.error:
        return answer
    return Silent(answer.error) if answer.error == SILENCE else Undecodable(answer.error)


def _merged(answered: Sequence[tuple[Piece, Answer | Undecodable]]) -> dict[str, float] | Undecodable:
    """Return the tags of one file, or why it has none, from the answers for its pieces. Silent pieces are ignored."""
    problems = [outcome for _, outcome in answered if isinstance(outcome, Undecodable)]
    if serious := [problem for problem in problems if not isinstance(problem, Silent)]:
        return serious[0]
    scored = [(piece, outcome) for piece, outcome in answered if isinstance(outcome, Answer)]
    if not scored:
        return problems[0]
    if len(scored) == 1:
        return scored[0][1].top
    weights = [piece.samples for piece, _ in scored]
    means = np.average([answer.probabilities for _, answer in scored], axis=0, weights=weights)
    tag_of = {tag: name for _, answer in scored for tag, name in zip(_ranking(answer), answer.top, strict=False)}
    ranked = sorted(tag_of, key=lambda tag: -means[tag])[:TOP_TAGS]
    return {tag_of[tag]: float(means[tag]) for tag in ranked}


def _ranking(answer: Answer) -> list[int]:
    ranking: list[int] = np.argsort(-answer.probabilities, kind="stable").tolist()
    return ranking


def _answers(outputs: dict[str, Any], count: int) -> list[Answer]:
    """Split the outputs of a request into one answer per item; raise TypeError or ValueError if they are invalid."""
    if missing := sorted({"probabilities", "top_scores", "top_tags", "error"} - set(outputs)):
        raise ValueError(f"missing: {', '.join(missing)}")
    probabilities = np.asarray(outputs["probabilities"], np.float32)
    scores = np.asarray(outputs["top_scores"], np.float32)
    names, errors = np.asarray(outputs["top_tags"], np.str_), np.asarray(outputs["error"], np.str_)
    if probabilities.ndim != 2 or names.shape != scores.shape or names.ndim != 2 or errors.ndim != 1:
        raise ValueError("outputs have unexpected shapes")
    if {len(array) for array in (probabilities, scores, errors)} != {count}:
        raise ValueError(f"expected one answer for each of {count} items")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities are not finite")
    highest = -np.sort(-probabilities, axis=1)[:, : scores.shape[1]]
    if not np.allclose(highest, scores, atol=SCORE_TOLERANCE):
        raise ValueError("top_scores are not the highest probabilities")
    rows = zip(errors.tolist(), probabilities, names.tolist(), scores.tolist(), strict=True)
    return [Answer(error, row, {} if error else dict(zip(*top, strict=True))) for error, row, *top in rows]
