"""From an upload to the page's answer."""

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader

from genre_tagger.data.decode import Undecodable, decode_blocks
from genre_tagger.page import drawing
from genre_tagger.tagging.tagger import Taggram, Tagger

SHOWN_TAGS = 12
QUEUED = 16  # requests that may wait, and songs that are remembered for them
DECIMALS = 6
_DIGEST = re.compile("[0-9a-f]{64}")

_answer = Environment(autoescape=True, loader=PackageLoader("genre_tagger.page", "")).get_template("answer.html")


@dataclass(frozen=True)
class Song:
    """What was heard of an upload: its tags over time, and its peaks as `peaks_of` finds them."""

    taggram: Taggram
    peaks: np.ndarray


class Listener:
    """Answers uploads with their tags, and removes them.

    Args:
        tagger: the model.
        uploads: where Gradio puts uploads, UPLOADS/SHA-256/NAME.
        max_minutes: length of the longest song that is listened to.
    """

    def __init__(self, tagger: Tagger, uploads: Path, max_minutes: float):
        self._tagger, self._uploads, self._max_minutes = tagger, uploads, max_minutes
        # An upload lies under its own digest: of two who send the same song, the second finds it removed.
        self._heard = lru_cache(QUEUED)(self._hear)

    def answer(self, path: str, name: str) -> dict[str, Any]:
        """What the page shows of an upload, which is gone afterwards.

        Args:
            path: of the upload, as the browser was told; of a stranger's making, so only its digest is used.
            name: that the file has for the visitor.

        Returns:
            `path` again; `html` to show; and `json`, all tags and windows, or None where the song was not judged.
        """
        digest = Path(path).parent.name
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"not the path of an upload: {path!r}")
        try:
            song = self._heard(digest)
        finally:
            shutil.rmtree(self._uploads / digest, ignore_errors=True)
        message = song if isinstance(song, Undecodable) else song.taggram.flag
        if message:
            return {"path": path, "html": _answer.render(name=name, message=message), "json": None}
        return {"path": path, "html": self._picture(song, name), "json": self._document(song.taggram, name)}

    def _hear(self, digest: str) -> Song | Undecodable:
        try:
            (file,) = (self._uploads / digest).iterdir()
            rate = self._tagger.config.frontend.sample_rate
            peaks = drawing.peaks_of(self._bounded(decode_blocks(file, rate), rate), rate)
            return Song(self._tagger.taggram(file), peaks)
        except Undecodable as reason:
            return reason

    def _bounded(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
        """Passes blocks on; counts them, as a header may lie about the length."""
        samples = 0
        for block in blocks:
            samples += len(block)
            if samples > 60 * self._max_minutes * sample_rate:
                raise Undecodable(f"longer than {self._max_minutes:g} minutes, which is the limit here")
            yield block

    def _picture(self, song: Song, name: str) -> str:
        taggram = song.taggram
        best = np.argsort(-taggram.scores)[:SHOWN_TAGS]
        strips = drawing.strips(
            taggram.probabilities[:, best], taggram.times, taggram.window_seconds, taggram.seconds
        )
        return _answer.render(
            name=name,
            seconds=taggram.seconds,
            clock=drawing.clock(taggram.seconds),
            rows=list(zip([self._tagger.tags[tag] for tag in best], taggram.scores[best], strips, strict=True)),
            outline=drawing.outline(song.peaks),
            ticks=drawing.ticks(taggram.seconds),
        )

    def _document(self, taggram: Taggram, name: str) -> dict[str, Any]:
        """All of it for the visitor to keep, the best tags first; the page's bars read it too."""
        order, scores = np.argsort(-taggram.scores), taggram.scores
        return {
            "file": name,
            "model_version": self._tagger.model_version,
            "seconds": round(taggram.seconds, DECIMALS),
            "tags": {self._tagger.tags[tag]: _rounded(scores[tag]) for tag in order},
            "window_seconds": taggram.window_seconds,
            "times": _rounded(taggram.times),
            "probabilities": {self._tagger.tags[tag]: _rounded(taggram.probabilities[:, tag]) for tag in order},
        }


def _rounded(numbers: np.ndarray) -> Any:
    return np.asarray(numbers, np.float64).round(DECIMALS).tolist()
