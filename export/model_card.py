"""The model card, which documents the interface, training data, metrics and limits of an exported model."""

from collections.abc import Mapping
from typing import Any

from genre_tagger.config import Config
from genre_tagger.evaluation.number_format import area_text, number_text
from genre_tagger.evaluation.thresholds import Thresholds
from genre_tagger.export.contract import THRESHOLDS_NAME, WAV_MAX_SECONDS, WAV_RATES_HZ
from genre_tagger.frontend import LOG10_FACTOR
from genre_tagger.runs.record import RunRecord, StartRecord

DEMO_LICENCE = (
    "composed from a seed by this package and rendered with the sound bank TimGM6mb.sf2 (GPL-2), which the package "
    "pretty_midi ships"
)
NO_LICENCE = "not stated; check it before you publish the model, and record it here with `--licence`"


def model_card(
    title: str,
    config: Config,
    tags: tuple[str, ...],
    *,
    record: RunRecord,
    metrics: Mapping[str, Any] | None,
    environment: Mapping[str, Any],
    thresholds: Thresholds,
    licence: str | None,
    is_onnx: bool = False,
) -> str:
    """Return the model card as Markdown.

    Args:
        title: name and version of the model.
        config: configuration of the run.
        tags: names of the tags, in the order of the probabilities.
        record: record of the run.
        metrics: content of the run's `metrics.json`, or None for an imported run that was not evaluated.
        environment: content of the run's `environment.json`.
        thresholds: thresholds of the exported version.
        licence: licence of the training audio as stated by the user, or None.
        is_onnx: whether the version is an ONNX file, which takes windows, returns probabilities and has no signatures.
    """
    origin = record.origin
    sections = {"Inputs and outputs": _interface(config, tags, is_onnx)}
    if origin:
        sections["Origin of the weights"] = _origin(origin)
    if record.start:
        sections["Started from"] = _started_from(record.start)
    if metrics:
        sections["Evaluation data" if origin else "Training data"] = _data(record, licence)
    elif licence:
        sections["Training data"] = _items(f"licence of the audio: {licence}")
    sections |= {
        "Protocol": _protocol(config, metrics, is_onnx, is_imported=bool(origin)),
        "Metrics": _metrics(metrics),
        "Thresholds": _thresholds(config, thresholds, is_onnx),
        "Features": _features(config),
        "Limits": _limits(config, metrics, is_onnx),
        "Environment": _versions(environment),
    }
    return f"# {title}\n" + "".join(f"\n## {name}\n\n{text}\n" for name, text in sections.items())


def _interface(config: Config, tags: tuple[str, ...], is_onnx: bool) -> str:
    rates = ", ".join(str(rate) for rate in WAV_RATES_HZ)
    files = (
        f"or input: whole WAV files (PCM of 16, 24 or 32 bits or 32-bit float, mono or stereo, {rates} Hz, up to "
        f"{WAV_MAX_SECONDS} s)"
    )
    return _items(
        f"input: windows of {config.window.seconds:g} s ({config.window_samples} samples), mono, "
        f"{config.frontend.sample_rate} Hz, full scale 1",
        *([] if is_onnx else [files]),
        f"output: independent probabilities of {len(tags)} tags: {', '.join(tags)}",
    )


def _origin(origin: Mapping[str, str]) -> str:
    facts = {name: value for name, value in origin.items() if name != "notice"}
    return f"{_items(*(f'{name}: {value}' for name, value in facts.items()))}\n\n{origin['notice']}"


def _started_from(start: StartRecord) -> str:
    """Describe the run whose weights training started from, and recursively the run that that one started from."""
    trained = f"trained on {start.source.source}" if start.source and not start.origin else "imported"
    protocol = f", protocol {start.protocol}" if start.protocol else ""
    texts = [_items(f"the run {start.run}, {trained}{protocol}")]
    if start.origin:
        texts.append(_origin(start.origin))
    if start.start:
        texts.append(_started_from(start.start))
    return "\n\n".join(texts)


def _data(record: RunRecord, licence: str | None) -> str:
    source = record.source.model_dump(exclude_none=True) if record.source else {"source": "unknown"}
    kind = source.pop("source")
    return _items(
        f"source: {', '.join([kind, *(f'{name} {value}' for name, value in source.items())])}",
        f"hash: {record.hash}",
        f"licence of the audio: {licence or (DEMO_LICENCE if kind == 'demo' else NO_LICENCE)}",
    )


def _protocol(config: Config, metrics: Mapping[str, Any] | None, is_onnx: bool, is_imported: bool) -> str:
    is_center = config.window.evaluate == "center"
    all_windows = "; the signature `wav` always scores all windows" if is_center and not is_onnx else ""
    windows = f"windows scored per clip: {config.window.evaluate}, pooled by {config.window.pooling}{all_windows}"
    if metrics is None:
        return _items("no metrics: the run has not been evaluated", windows)
    named = metrics.get("protocol")
    return _items(
        f"protocol {named} of the data" if named else "each group (song, album or artist) is in one split only",
        *([] if is_imported else ["the best epoch was chosen by macro ROC-AUC on the validation clips"]),
        f"metrics were computed on {metrics['clips']} {metrics['split']} clips of {metrics['groups']} groups; unknown "
        "labels are left out",
        windows,
    )


def _metrics(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "Not measured."
    rows = [("model", metrics["roc_auc"], metrics["pr_auc"])]
    if metrics["baseline"]:
        rows.append(("logistic-regression baseline", metrics["baseline"]["roc_auc"], metrics["baseline"]["pr_auc"]))
    lines = ["| | macro ROC-AUC | macro PR-AUC |", "|---|---|---|"]
    lines += [f"| {name} | {area_text(roc)} | {area_text(pr)} |" for name, roc, pr in rows]
    lines += [
        "",
        "The brackets are 95 % confidence intervals, bootstrapped over groups.",
        "",
        "| tag | ROC-AUC | PR-AUC | positives |",
        "|---|---|---|---|",
    ]
    for tag, scores in metrics["tags"].items():
        lines.append(
            f"| {tag} | {number_text(scores['roc_auc'])} | {number_text(scores['pr_auc'])} | {scores['positives']} |"
        )
    return "\n".join(lines)


def _thresholds(config: Config, thresholds: Thresholds, is_onnx: bool) -> str:
    shared = ", ".join(thresholds.from_all_tags) or "none"
    file = THRESHOLDS_NAME if is_onnx else f"assets/{THRESHOLDS_NAME}"
    if not thresholds.are_chosen:
        return (
            f"`{file}` has the threshold {thresholds.all_tags:.3f} for every tag. It is a fixed value: the run was not "
            "evaluated, so there were no scores to choose thresholds from."
        )
    text = (
        f"`{file}` has a threshold for each tag, chosen for {thresholds.objective} on the {thresholds.split} clips. "
        f"Tags with fewer than {thresholds.min_positives} positives or negatives there use the threshold of all tags "
        f"({thresholds.all_tags:.3f}): {shared}."
    )
    if is_onnx or config.window.evaluate != "center":
        return text
    return (
        f"{text} They were chosen on one window per clip. The signature `wav` scores all windows, so other thresholds "
        "may suit it better on clips longer than a window."
    )


def _features(config: Config) -> str:
    front = config.frontend
    highest = front.fmax_hz or front.sample_rate / 2
    if front.compression == "log10":
        level = f"compressed by log10({LOG10_FACTOR} x + 1)"
    else:
        clamp = f"clamped {front.top_db:g} dB below the window's maximum" if front.top_db else "not clamped"
        level = f"in dB, {clamp}"
    frames = "" if front.center else ", no padding at the ends of the window"
    return (
        f"The model computes a log-mel spectrogram: n_fft {front.n_fft}, hop length {front.hop_length}{frames}, "
        f"{front.n_mels} Slaney mel bands from {front.fmin_hz:g} to {highest:g} Hz, mel power raised to "
        f"{front.mel_exponent:g}, {level}."
    )


def _limits(config: Config, metrics: Mapping[str, Any] | None, is_onnx: bool) -> str:
    limits = [
        "probabilities are meaningful on music similar to the training data; on other music the model may be "
        "confidently wrong",
        f"the model ignores frequencies above {config.frontend.sample_rate // 2} Hz",
        "silence and NaN are not detected; check for them before you call the model"
        if is_onnx
        else "stereo is mixed to mono; silence, NaN and files shorter than 0.1 s are rejected with an `error`",
    ]
    if metrics and metrics["left_out"]:
        limits.append(f"tags without a metric, for lack of positives or negatives: {', '.join(metrics['left_out'])}")
    return _items(*limits)


def _versions(environment: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    return _items(
        packages,
        f"Python {environment['python']}, {', '.join(environment['devices']) or 'no training device'}, "
        f"seed {environment['seed']}",
        f"commit: {environment['git_commit'] or 'none (not run from a git checkout)'}",
    )


def _items(*lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines)
