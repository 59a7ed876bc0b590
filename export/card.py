"""The model card: what a served version was trained on, how good it is, what it takes and where it ends."""

from collections.abc import Mapping
from typing import Any

from genre_tagger.config import Config
from genre_tagger.evaluation.words import area_text, number_text
from genre_tagger.export.contract import THRESHOLDS_NAME, WAV_MAX_SECONDS, WAV_RATES_HZ
from genre_tagger.export.thresholds import Thresholds
from genre_tagger.frontend import LOG10_FACTOR

DEMO_LICENCE = (
    "composed from a seed by this package and rendered with the sound bank TimGM6mb.sf2 (GPL-2), which the package "
    "pretty_midi ships"
)
NO_LICENCE = "not stated; find out before you publish the model (`--licence` writes it here)"


def model_card(
    title: str,
    config: Config,
    tags: tuple[str, ...],
    *,
    data: Mapping[str, Any],
    metrics: Mapping[str, Any] | None,
    environment: Mapping[str, Any],
    thresholds: Thresholds,
    licence: str | None,
    is_onnx: bool = False,
) -> str:
    """The card as Markdown.

    Args:
        title: name and version.
        config: of the run.
        tags: names of the outputs.
        data, metrics, environment: content of the run's `data.json`, `metrics.json` (None where an imported run was
            not evaluated) and `environment.json`.
        thresholds: of the version.
        licence: of the training audio, as the user states it.
        is_onnx: the version has windows in, probabilities out and no signatures.
    """
    origin = data.get("origin")
    sections = {"Takes and gives": _interface(config, tags, is_onnx)}
    if origin:
        sections["Origin of the weights"] = _origin(origin)
    if init := data.get("init"):
        sections["Started from"] = _started_from(init)
    if metrics:
        sections["Evaluation data" if origin else "Training data"] = _data(data, licence)
    elif licence:
        sections["Training data"] = _items(f"licence of the audio: {licence}")
    sections |= {
        "Protocol": _protocol(config, metrics, is_onnx, is_imported=bool(origin)),
        "Metrics": _metrics(metrics),
        "Thresholds": _thresholds(config, thresholds, is_onnx),
        "Features": _features(config),
        "Limits": _limits(config, metrics, is_onnx),
        "Made with": _versions(environment),
    }
    return f"# {title}\n" + "".join(f"\n## {name}\n\n{text}\n" for name, text in sections.items())


def _interface(config: Config, tags: tuple[str, ...], is_onnx: bool) -> str:
    rates = ", ".join(str(rate) for rate in WAV_RATES_HZ)
    files = (
        f"or whole WAV files (PCM of 16, 24 or 32 bits or 32-bit float, mono or stereo, {rates} Hz, up to "
        f"{WAV_MAX_SECONDS} s)"
    )
    return _items(
        f"windows of {config.window.seconds:g} s ({config.window_samples} samples), mono, "
        f"{config.frontend.sample_rate} Hz, full scale 1",
        *([] if is_onnx else [files]),
        f"probabilities of {len(tags)} tags, each on its own: {', '.join(tags)}",
    )


def _origin(origin: Mapping[str, str]) -> str:
    facts = {name: value for name, value in origin.items() if name != "notice"}
    return f"{_items(*(f'{name}: {value}' for name, value in facts.items()))}\n\n{origin['notice']}"


def _started_from(init: Mapping[str, Any]) -> str:
    """The run whose weights training began with, and what that one began with in its turn."""
    trained = "imported" if "origin" in init else f"trained on {init['source']['source']}"
    protocol = f", protocol {init['protocol']}" if "protocol" in init else ""
    text = _items(f"the run {init['run']}, {trained}{protocol}")
    texts = [text, *([_origin(init["origin"])] if "origin" in init else [])]
    return "\n\n".join([*texts, *([_started_from(init["init"])] if "init" in init else [])])


def _data(data: Mapping[str, Any], licence: str | None) -> str:
    source = {name: value for name, value in data["source"].items() if value is not None}
    kind = source.pop("source")
    return _items(
        f"source: {', '.join([kind, *(f'{name} {value}' for name, value in source.items())])}",
        f"hash: {data['hash']}",
        f"licence of the audio: {licence or (DEMO_LICENCE if kind == 'demo' else NO_LICENCE)}",
    )


def _protocol(config: Config, metrics: Mapping[str, Any] | None, is_onnx: bool, is_imported: bool) -> str:
    is_center = config.window.evaluate == "center"
    all_windows = "; the signature `wav` always takes all" if is_center and not is_onnx else ""
    windows = f"scored windows of a clip: {config.window.evaluate}, pooled by {config.window.pooling}{all_windows}"
    if metrics is None:
        return _items("no metrics: the run has not been evaluated", windows)
    named = metrics.get("protocol")
    return _items(
        f"protocol {named} of the data" if named else "splits keep a group (song, album or artist) on one side",
        *([] if is_imported else ["the best epoch was chosen by macro ROC-AUC on the validation clips"]),
        f"metrics on {metrics['clips']} {metrics['split']} clips of {metrics['groups']} groups; unknown labels count "
        "nowhere",
        windows,
    )


def _metrics(metrics: Mapping[str, Any] | None) -> str:
    if metrics is None:
        return "Not measured."
    rows = [("model", metrics["roc_auc"], metrics["pr_auc"])]
    if metrics["floor"]:
        rows.append(("logistic-regression floor", metrics["floor"]["roc_auc"], metrics["floor"]["pr_auc"]))
    lines = ["| | macro ROC-AUC | macro PR-AUC |", "|---|---|---|"]
    lines += [f"| {name} | {area_text(roc)} | {area_text(pr)} |" for name, roc, pr in rows]
    lines += [
        "",
        "95 % intervals, bootstrapped over groups.",
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
        return f"{thresholds.all_tags:.3f} for every tag, in `{file}`: chosen on nothing, since nothing was evaluated."
    text = (
        f"Chosen for {thresholds.objective} on the {thresholds.split} clips, in `{file}`. Fewer than "
        f"{thresholds.min_positives} positives or negatives there, so with the threshold of all tags "
        f"({thresholds.all_tags:.3f}): {shared}."
    )
    if is_onnx or config.window.evaluate != "center":
        return text
    return f"{text} Chosen on one window a clip: `wav`, which takes all, may want others on clips longer than a window."


def _features(config: Config) -> str:
    front = config.frontend
    highest = front.fmax_hz or front.sample_rate / 2
    if front.compression == "log10":
        level = f"log10({LOG10_FACTOR} x + 1)"
    else:
        level = f"clamp {front.top_db:g} dB below the window's maximum" if front.top_db else "no clamp"
    frames = "" if front.center else ", frames inside the window alone"
    return (
        f"Log-mel spectrogram inside the model: n_fft {front.n_fft}, hop {front.hop_length}{frames}, {front.n_mels} "
        f"Slaney bands from {front.fmin_hz:g} to {highest:g} Hz, power raised to {front.mel_exponent:g}, {level}."
    )


def _limits(config: Config, metrics: Mapping[str, Any] | None, is_onnx: bool) -> str:
    limits = [
        "a probability says how sure the model is on music like its training data; on other music it may be wrong and "
        "sure",
        f"nothing above {config.frontend.sample_rate // 2} Hz is heard",
        "silence and NaN are not refused: look for them before you ask"
        if is_onnx
        else "stereo is mixed to mono; silence, NaN and files shorter than 0.1 s are refused with an `error`",
    ]
    if metrics and metrics["left_out"]:
        limits.append(f"never measured, for want of positives or negatives: {', '.join(metrics['left_out'])}")
    return _items(*limits)


def _versions(environment: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items() if version)
    return _items(
        packages,
        f"Python {environment['python']}, {', '.join(environment['devices']) or 'not trained there'}, "
        f"seed {environment['seed']}",
        f"commit: {environment['git_commit'] or 'not from a checkout'}",
    )


def _items(*lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines)
