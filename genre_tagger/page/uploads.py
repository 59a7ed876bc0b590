"""Tags uploads and renders the answers that the browser page shows."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from genre_tagger.audio.decode import Undecodable, decode_blocks
from genre_tagger.page import drawing
from genre_tagger.tagging.song import ranked
from genre_tagger.tagging.tagger import Tagger, Taggram

SHOWN_TAGS = 12
QUEUED = 16  # maximum number of waiting requests, and of results that are kept for them
DECIMALS = 6
_DIGEST = re.compile("[0-9a-f]{64}")

TEMPLATES = Environment(loader=PackageLoader("genre_tagger.page", "."), autoescape=True, undefined=StrictUndefined)
_ANSWER = TEMPLATES.get_template("answer.html.jinja")


@dataclass(frozen=True)
class TaggedUpload:
    """The result for an upload that was decoded.

    Attributes:
        taggram: its tags over time.
        peaks: float32 [steps], from `drawing.peaks_of`.
    """

    taggram: Taggram
    peaks: np.ndarray


class UploadTagger:
    """Tags uploads and removes them afterwards.

    Args:
        tagger: the tagger.
        uploads: folder of uploads. Gradio names them SHA-256/NAME.
        max_minutes: length of the longest song that is tagged.
    """

    def __init__(self, tagger: Tagger, uploads: Path, max_minutes: float):
        self._tagger, self._uploads, self._max_minutes = tagger, uploads, max_minutes
        # The folder of an upload is named after its digest: if two visitors send the same song, the first answer
        # removes it for both.
        self._tag_once = lru_cache(QUEUED)(self._tag)

    def answer(self, path: str, name: str) -> dict[str, Any]:
        """Tag an upload, remove it, and return what the page shows.

        Args:
            path: path of the upload, from the browser. Only its digest is used, because it cannot be trusted.
            name: name of the file on the visitor's machine.

        Returns:
            `path`; `html` to show; and `json`, which has all tags and windows, or None if the song was not tagged.

        Raises:
            ValueError: the path has no digest.
        """
        digest = Path(path).parent.name
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"path: found {path!r}, expected the path of an upload")
        try:
            result = self._tag_once(digest)
        except FileNotFoundError:
            result = Undecodable("waited too long and was removed; send it again")
        finally:
            shutil.rmtree(self._uploads / digest, ignore_errors=True)
        if isinstance(result, Undecodable):
            return _refusal(path, name, str(result))
        if flag := result.taggram.flag:
            return _refusal(path, name, f"not tagged because it is {flag}")
        return {"path": path, "html": self._picture(result, name), "json": self._document(result.taggram, name)}

    def remove_older(self, seconds: float) -> None:
        """Remove uploads, complete or not, that are older than `seconds`. The age restarts when tagging starts."""
        for place in self._uploads.iterdir():
            with suppress(OSError):  # an answer removed it in the meantime, or the next call tries again
                if time.time() - place.stat().st_mtime > seconds:
                    shutil.rmtree(place) if place.is_dir() else place.unlink()

    def _tag(self, digest: str) -> TaggedUpload | Undecodable:
        folder = self._uploads / digest
        os.utime(folder)  # resets its age, so that it is not removed while it is tagged
        file = next(folder.iterdir())  # there may be several names, all with the same content
        rate = self._tagger.config.frontend.sample_rate
        try:
            peaks = drawing.peaks_of(self._bounded(decode_blocks(file, rate), rate), rate)
            return TaggedUpload(self._tagger.taggram(file), peaks)
        except Undecodable as reason:
            return reason

    def _bounded(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[np.ndarray]:
        """Yield the blocks. Samples are counted, because the length in a header may be wrong."""
        samples = 0
        for block in blocks:
            samples += len(block)
            if samples > 60 * self._max_minutes * sample_rate:
                raise Undecodable(f"longer than {self._max_minutes:g} minutes, which is the limit here")
            yield block

    def _picture(self, result: TaggedUpload, name: str) -> str:
        taggram = result.taggram
        best = dict(list(ranked(taggram.scores, self._tagger.tags).items())[:SHOWN_TAGS])
        shown = taggram.probabilities[:, [self._tagger.tags.index(tag) for tag in best]]
        strips = drawing.strips(shown, taggram.times, taggram.window_seconds, taggram.seconds)
        return _ANSWER.render(
            name=name,
            message="",
            seconds=taggram.seconds,
            clock=drawing.clock(taggram.seconds),
            rows=[(tag, score, strip) for (tag, score), strip in zip(best.items(), strips, strict=True)],
            outline=drawing.outline(result.peaks),
            ticks=drawing.ticks(taggram.seconds),
        )

    def _document(self, taggram: Taggram, name: str) -> dict[str, Any]:
        """Return the JSON that a visitor can download, with the best tags first. The bars of the page read it too."""
        scores = ranked(taggram.scores, self._tagger.tags)
        windows = dict(zip(self._tagger.tags, taggram.probabilities.T, strict=True))
        return {
            "path": name,
            "model": self._tagger.model_version,
            "seconds": taggram.seconds,
            "tags": {tag: round(score, DECIMALS) for tag, score in scores.items()},
            "window_seconds": taggram.window_seconds,
            "times": _rounded(taggram.times),
            "probabilities": {tag: _rounded(windows[tag]) for tag in scores},
        }


def _refusal(path: str, name: str, message: str) -> dict[str, Any]:
    return {"path": path, "html": _ANSWER.render(name=name, message=message), "json": None}


def _rounded(numbers: np.ndarray) -> list[float]:
    return [float(number) for number in numbers.astype(np.float64).round(DECIMALS)]
