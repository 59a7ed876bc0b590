"""The section on errors: the clips that the model is most confidently wrong about, with players."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre_tagger.config import Config
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.reporting.evaluated import Evaluated
from genre_tagger.reporting.sound import LONGEST_SECONDS, NoSound, excerpt, read_waveforms, to_mp3
from genre_tagger.reporting.view import ClipView, Section

CLIPS_OF_A_KIND = 4
KINDS = {"Given, but not true by the labels": 0, "True by the labels, but not given": 1}


@dataclass(frozen=True)
class Mistake:
    """A clip (its row) and the tag (its column) that the model is most confidently wrong about there."""

    row: int
    tag: int
    score: float


def errors_section(evaluated: Evaluated, config: Config, record: Mapping[str, Any]) -> Section:
    """The clips that the model is most confidently wrong about, a few of either kind.

    Args:
        evaluated: the evaluation.
        config: of the run.
        record: content of its `data.json`.
    """
    predictions, limits = evaluated.predictions, evaluated.limits
    found = {title: largest_mistakes(predictions, limits, label, CLIPS_OF_A_KIND) for title, label in KINDS.items()}
    ids = [predictions.clip_ids[mistake.row] for mistakes in found.values() for mistake in mistakes]
    lines = [
        f"The {evaluated.metrics['split']} clips with the most confident mistakes, one a group. A tag is given where "
        "its probability reaches its threshold. If your ear agrees with the model, the label is wrong."
    ]
    sample_rate = config.frontend.sample_rate
    try:
        waveforms = read_waveforms(record, sample_rate, evaluated.metrics["split"], ids)
        lines.append(f"The players have the audio as MP3, mono, at the model's {sample_rate:,} Hz before that.")
    except NoSound as reason:
        waveforms = {}
        lines.append(f"No players, as the audio is not there any more: {reason}")
    views = {
        title: [_view(evaluated, mistake, waveforms, sample_rate) for mistake in mistakes]
        for title, mistakes in found.items()
    }
    return Section("errors", "Largest errors", lines, clips=views)


def largest_mistakes(predictions: Predictions, thresholds: np.ndarray, label: int, count: int) -> list[Mistake]:
    """The clips with the most confident mistakes of one kind, one clip a group, the most confident first.

    Args:
        predictions: of the clips; unknown labels are no mistakes.
        thresholds: [tags], a tag is given where its score reaches its threshold.
        label: 0 for tags that are given and not true, 1 for tags that are true and not given.
        count: of clips, at most.
    """
    given = predictions.scores >= thresholds
    wrong = (predictions.labels == label) & (given != (label == 1))
    distances = np.where(wrong, np.abs(predictions.scores - label), -1)
    worst_tags, worst = distances.argmax(axis=1), distances.max(axis=1)
    order = np.argsort(-worst, kind="stable")
    ranked = order[worst[order] >= 0]
    _, firsts = np.unique(predictions.groups[ranked], return_index=True)
    chosen = ranked[np.sort(firsts)[:count]]
    return [Mistake(int(row), int(worst_tags[row]), float(predictions.scores[row, worst_tags[row]])) for row in chosen]


def _view(evaluated: Evaluated, mistake: Mistake, waveforms: Mapping[str, np.ndarray], sample_rate: int) -> ClipView:
    predictions, limits = evaluated.predictions, evaluated.limits
    labels, scores = predictions.labels[mistake.row], predictions.scores[mistake.row]
    given = [column for column in np.argsort(-scores, kind="stable") if scores[column] >= limits[column]]
    clip_id = predictions.clip_ids[mistake.row]
    sound, note = _sound(waveforms.get(clip_id), sample_rate)
    return ClipView(
        clip_id,
        f"{predictions.tags[mistake.tag]} {mistake.score:.3f}, threshold {limits[mistake.tag]:.3f}",
        [predictions.tags[column] for column in np.flatnonzero(labels == 1)],
        [(predictions.tags[column], f"{scores[column]:.2f}") for column in given],
        sound,
        note,
    )


def _sound(waveform: np.ndarray | None, sample_rate: int) -> tuple[bytes | None, str]:
    if waveform is None:
        return None, "The audio is not there any more."
    seconds = len(waveform) / sample_rate
    cut = f"{LONGEST_SECONDS:g} s from the middle of " if seconds > LONGEST_SECONDS else ""
    return to_mp3(excerpt(waveform, sample_rate), sample_rate), f"{cut}{seconds:.1f} s"
