"""The section on errors: the clips with the most confident mistakes of the model, with audio players."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genre_tagger.config import Config
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.reporting.clip_audio import LONGEST_SECONDS, NoSound, excerpt, read_waveforms, to_mp3
from genre_tagger.reporting.content import ClipView, ReportSection
from genre_tagger.reporting.evaluated_run import Evaluated
from genre_tagger.runs.record import RunRecord

CLIPS_OF_A_KIND = 4
KINDS = {"False positives: predicted, but not in the labels": 0, "False negatives: in the labels, but not predicted": 1}


@dataclass(frozen=True)
class Mistake:
    """The most confident mistake of the model on a clip.

    Attributes:
        row: index of the clip in the predictions.
        tag: index of the tag in the predictions.
        score: score of the tag.
    """

    row: int
    tag: int
    score: float


def errors_section(evaluated: Evaluated, config: Config, record: RunRecord) -> ReportSection:
    """Return the section with the clips of the most confident mistakes, a few of each kind.

    Args:
        evaluated: evaluation of the run.
        config: configuration of the run.
        record: content of `data.json` of the run.
    """
    predictions, limits = evaluated.predictions, evaluated.limits
    found = {title: largest_mistakes(predictions, limits, label, CLIPS_OF_A_KIND) for title, label in KINDS.items()}
    ids = [predictions.clip_ids[mistake.row] for mistakes in found.values() for mistake in mistakes]
    lines = [
        f"The {evaluated.metrics['split']} clips with the most confident mistakes, at most one per group. A tag is "
        "predicted if its probability is at least its threshold. If you listen to a clip and agree with the model, the "
        "label is wrong."
    ]
    sample_rate = config.frontend.sample_rate
    try:
        waveforms = read_waveforms(record, sample_rate, evaluated.metrics["split"], ids)
        lines.append(f"The audio is mono, resampled to the {sample_rate:,} Hz of the model, and then encoded as MP3.")
    except NoSound as reason:
        waveforms = {}
        lines.append(f"The audio is no longer available: {reason}")
    views = {
        title: [_view(evaluated, mistake, waveforms, sample_rate) for mistake in mistakes]
        for title, mistakes in found.items()
    }
    return ReportSection("errors", "Largest errors", lines, clips=views)


def largest_mistakes(predictions: Predictions, thresholds: np.ndarray, label: int, count: int) -> list[Mistake]:
    """Return the clips with the most confident mistakes of one kind, at most one per group, most confident first.

    Args:
        predictions: predictions for the clips; unknown labels are ignored.
        thresholds: float [tags]; a tag is predicted if its score is at least its threshold.
        label: 0 for false positives, 1 for false negatives.
        count: maximum number of clips.
    """
    predicted = predictions.scores >= thresholds
    wrong = (predictions.labels == label) & (predicted != (label == 1))
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
    predicted = [column for column in np.argsort(-scores, kind="stable") if scores[column] >= limits[column]]
    clip_id = predictions.clip_ids[mistake.row]
    sound, note = _sound(waveforms.get(clip_id), sample_rate)
    return ClipView(
        clip_id,
        f"{predictions.tags[mistake.tag]} {mistake.score:.3f}, threshold {limits[mistake.tag]:.3f}",
        [predictions.tags[column] for column in np.flatnonzero(labels == 1)],
        [(predictions.tags[column], f"{scores[column]:.2f}") for column in predicted],
        sound,
        note,
    )


def _sound(waveform: np.ndarray | None, sample_rate: int) -> tuple[bytes | None, str]:
    if waveform is None:
        return None, "The audio is no longer available."
    seconds = len(waveform) / sample_rate
    cut = f"{LONGEST_SECONDS:g} s from the middle of " if seconds > LONGEST_SECONDS else ""
    return to_mp3(excerpt(waveform, sample_rate), sample_rate), f"{cut}{seconds:.1f} s"
