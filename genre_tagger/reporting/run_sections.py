"""The sections on the data, the model and the training of a run."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from genre_tagger.config import Config, flat
from genre_tagger.dataset.card import CARD_NAME, PLOT_NAME
from genre_tagger.files import read_json
from genre_tagger.models.tagger import BRANCHES, load_tagger
from genre_tagger.reporting.content import ReportSection, ReportTable, count, name, number, plot_of
from genre_tagger.runs.directory import RunDirectory, read_table
from genre_tagger.runs.record import RunRecord
from genre_tagger.sources.registry import SourceOptions

SAME_SECONDS = 0.1  # clips whose lengths differ by no more than this count as equally long
NO_DATA = "The weights were imported and have not been evaluated, so the run has no data of its own."
STREAMED = "The run streams its clips from the audio files. Only prepared data has a dataset card."


def data_section(record: RunRecord) -> ReportSection:
    """Return the section with the origin of the clips and, if the prepared data still exists, its dataset card.

    Args:
        record: content of `data.json` of the run.
    """
    title = "Data"
    if record.source is None:
        return ReportSection("data", title, [NO_DATA])
    facts = {"source": _options(record.source)}
    if record.protocol:
        facts["protocol"] = record.protocol
    facts["hash"] = str(record.hash)[:16]
    if record.stream or record.prepared is None:
        return ReportSection("data", title, [STREAMED], facts)
    prepared = record.prepared
    if not (prepared / CARD_NAME).is_file():
        return ReportSection("data", title, [f"{prepared}: the dataset card no longer exists."], facts)
    card = read_json(prepared / CARD_NAME)
    return ReportSection(
        "data",
        title,
        lines=card["notes"],
        facts=facts | _card_facts(card),
        figures=plot_of(
            prepared / PLOT_NAME,
            "Tag counts and shares, co-occurrence, clip lengths and file formats",
        ),
        tables=[_splits_table(card["splits"])],
    )


def model_section(run: RunDirectory, config: Config, record: RunRecord) -> ReportSection:
    """Return the section with size, windows, front-end and branches, and origin and licence of imported weights."""
    front, window = config.frontend, config.window
    hop = f" every {window.hop_seconds:g} s" if window.hop_seconds else ""
    model = load_tagger(run.model)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    facts = {
        "parameters": f"{trainable:,} trainable, {model.count_params():,} in total",
        "window": f"{window.seconds:g} s; {window.train} in training, {window.evaluate} in evaluation{hop}, "
        f"pooled by {window.pooling}",
        "front-end": f"{front.sample_rate:,} Hz, log-mel with {front.n_mels} bands, n_fft {front.n_fft}, "
        f"hop length {front.hop_length}, {config.frames:,} frames per window",
    }
    sections = ("spec_augment", *BRANCHES, "head")
    facts |= {part: _settings(section) for part in sections if (section := getattr(config.model, part)) is not None}
    folded = {"The resolved configuration": config.to_yaml()}
    if origin := record.origin:
        facts |= {key: value for key, value in origin.items() if key != "notice"}
        folded["Licence of the imported weights"] = origin["notice"]
    return ReportSection("model", "Model", facts=facts, folded=folded)


def training_section(run: RunDirectory, config: Config, record: RunRecord) -> ReportSection:
    """Return the section with the best epoch, the history, and the hardware and software."""
    environment = read_json(run.environment)
    facts, lines, folded = {}, [], {}
    if run.history.exists():
        history = read_table(run.history)
        facts = _history_facts(history, config)
        folded["Every epoch"] = history.to_string(index=False, float_format="{:.5g}".format)
    else:
        lines.append("No training history: the weights were imported.")
    if start := record.start:
        frozen = f", with the layers {', '.join(start.frozen)} frozen" if start.frozen else ""
        facts["started from"] = f"the run {start.run}{frozen}"
    facts |= _environment_facts(environment)
    figures = plot_of(run.report / "history.png", "Loss, ROC-AUC, PR-AUC and learning rate by epoch")
    return ReportSection("training", "Training", lines, facts, figures, folded=folded)


def _options(source: SourceOptions) -> str:
    values = source.model_dump(exclude={"source"}, exclude_none=True)
    return ", ".join([source.source, *(f"{key} {value}" for key, value in values.items())])


def _card_facts(card: Mapping[str, Any]) -> dict[str, str]:
    shortest, median, longest = (card["seconds"][quantile] for quantile in ("5%", "50%", "95%"))
    spread = f" (median), 90 % from {shortest:.1f} to {longest:.1f} s" if longest - shortest > SAME_SECONDS else ""
    return {
        "prepared at": f"{card['sample_rate']:,} Hz, mono",
        "lengths": f"{median:.1f} s{spread}",
        "files": "; ".join(card["files"]["kinds"]),
        "rejected": "; ".join(f"{reason} ({times:,})" for reason, times in card["rejected"].items()) or "none",
    }


def _splits_table(splits: Mapping[str, Mapping[str, Any]]) -> ReportTable:
    rows = [
        [name(split), count(of["clips"]), count(of["groups"]), number(of["hours"], digits=2)]
        for split, of in splits.items()
    ]
    return ReportTable("Splits", ("split", "clips", "groups", "hours"), rows)


def _settings(section: Any) -> str:
    """Return the settings of a part of the model as text, without those that are off."""
    values = flat(section.model_dump())
    return ", ".join(_setting(key.replace("_", " "), value) for key, value in values.items() if not _is_off(value))


def _is_off(value: Any) -> bool:
    return not any(value) if isinstance(value, tuple) else not value


def _setting(words: str, value: Any) -> str:
    """Return the name and the value of a setting. A tuple is shown as its numbers, a pair of sizes as `2x4`."""
    if value is True:
        return words
    if isinstance(value, tuple):
        return f"{words} {' '.join('x'.join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)}"
    return f"{words} {value}"


def _history_facts(history: pd.DataFrame, config: Config) -> dict[str, str]:
    training = config.training
    facts = {"epochs": f"{len(history)} of {training.epochs}"}
    if "val_roc_auc" in history:
        best = history.iloc[int(history["val_roc_auc"].argmax())]
        facts["best epoch"] = f"{best['epoch']:.0f}, validation ROC-AUC {best['val_roc_auc']:.4f}; its weights are kept"
    facts["optimizer"] = (
        f"Adam, learning rate {training.learning_rate:g} ({training.schedule}), batch size {training.batch_size}, "
        f"{training.precision}"
    )
    return facts


def _environment_facts(environment: Mapping[str, Any]) -> dict[str, str]:
    versions = ", ".join(f"{package} {version}" for package, version in environment["packages"].items() if version)
    return {
        "device": ", ".join(environment["devices"]) or "none (not trained here)",
        "seed": str(environment["seed"]),
        "commit": environment["git_commit"] or "unknown (not run from a Git checkout)",
        "software": f"Python {environment['python']}, {versions}",
    }
