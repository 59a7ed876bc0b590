"""From an upload to the page's answer."""

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

from genre_tagger.data.decode import Undecodable, decode_blocks
from genre_tagger.page import drawing
from genre_tagger.tagging.results import ranked
from genre_tagger.tagging.tagger import Tagger, Taggram

SHOWN_TAGS = 12
QUEUED = 16  # requests that may wait, and songs that are remembered for them
DECIMALS = 6
_DIGEST = re.compile("[0-9a-f]{64}")

TEMPLATES = Environment(loader=PackageLoader("genre_tagger.page", "."), autoescape=True, undefined=StrictUndefined)
_ANSWER = TEMPLATES.get_template("answer.html.jinja")


@dataclass(frozen=True)
class Hearing:
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
            heard = self._heard(digest)
        except FileNotFoundError:
            heard = Undecodable("waited too long and was removed; send it again")
        finally:
            shutil.rmtree(self._uploads / digest, ignore_errors=True)
        if message := _why_not(heard):
            return {"path": path, "html": _ANSWER.render(name=name, message=message), "json": None}
        return {"path": path, "html": self._picture(heard, name), "json": self._document(heard.taggram, name)}

    def forget(self, seconds: float) -> None:
        """Removes uploads, broken off ones too, that came longer ago and are not being heard."""
        for place in self._uploads.iterdir():
            with suppress(OSError):  # answered meanwhile, or else next time
                if time.time() - place.stat().st_mtime > seconds:
                    shutil.rmtree(place) if place.is_dir() else place.unlink()

    def _hear(self, digest: str) -> Hearing | Undecodable:
        folder = self._uploads / digest
        os.utime(folder)  # so that it is not forgotten while it is heard
        file = next(folder.iterdir())  # the same under several names, if several sent it
        rate = self._tagger.config.frontend.sample_rate
        try:
            peaks = drawing.peaks_of(self._bounded(decode_blocks(file, rate), rate), rate)
            return Hearing(self._tagger.taggram(file), peaks)
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

    def _picture(self, heard: Hearing, name: str) -> str:
        taggram = heard.taggram
        best = dict(list(ranked(taggram.scores, self._tagger.tags).items())[:SHOWN_TAGS])
        shown = taggram.probabilities[:, [self._tagger.tags.index(tag) for tag in best]]
        strips = drawing.strips(shown, taggram.times, taggram.window_seconds, taggram.seconds)
        return _ANSWER.render(
            name=name,
            message="",
            seconds=taggram.seconds,
            clock=drawing.clock(taggram.seconds),
            rows=[(tag, score, strip) for (tag, score), strip in zip(best.items(), strips, strict=True)],
            outline=drawing.outline(heard.peaks),
            ticks=drawing.ticks(taggram.seconds),
        )

    def _document(self, taggram: Taggram, name: str) -> dict[str, Any]:
        """All of it for the visitor to keep, the best tags first; the page's bars read it too."""
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


def _why_not(heard: Hearing | Undecodable) -> str:
    """Why there are no tags to show, or nothing."""
    if isinstance(heard, Undecodable):
        return str(heard)
    return heard.taggram.flag and f"not judged: {heard.taggram.flag}"


def _rounded(numbers: np.ndarray) -> list[float]:
    return numbers.astype(np.float64).round(DECIMALS).tolist()
