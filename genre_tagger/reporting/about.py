"""What the run is: the sections on its data, its model and its training."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from genre_tagger.config import Config
from genre_tagger.data.card import CARD_NAME, PLOT_NAME
from genre_tagger.models.tagger import BRANCHES, load_tagger
from genre_tagger.reporting.view import Section, Table, count, name, number, plot_of
from genre_tagger.run import RunDirectory, flat, read_json, read_table

LIKE_SECONDS = 0.1  # clips that differ by less are of one length
NO_DATA = "The weights were imported and have not been evaluated, so the run has no data of its own."
STREAMED = "The run reads its clips straight from their files; a dataset card is made of prepared data only."


def data_section(record: Mapping[str, Any]) -> Section:
    """Where the clips came from, and their dataset card where the prepared data is still there.

    Args:
        record: content of the run's `data.json`.
    """
    title = "Data"
    if record["source"] is None:
        return Section("data", title, [NO_DATA])
    facts = {"source": _options(record["source"])}
    if record.get("protocol"):
        facts["protocol"] = record["protocol"]
    facts["hash"] = record["hash"][:16]
    if record["stream"]:
        return Section("data", title, [STREAMED], facts)
    prepared = Path(record["prepared"])
    if not (prepared / CARD_NAME).is_file():
        return Section("data", title, [f"{prepared}: the dataset card is not there any more."], facts)
    card = read_json(prepared / CARD_NAME)
    return Section(
        "data",
        title,
        lines=card["notes"],
        facts=facts | _card_facts(card),
        figures=plot_of(prepared / PLOT_NAME, "Tag counts, shares, co-occurrence, lengths and kinds of the clips"),
        tables=[_splits_table(card["splits"])],
    )


def model_section(run: RunDirectory, config: Config, record: Mapping[str, Any]) -> Section:
    """Windows, front-end, branches and size; where imported weights come from, with the notice that goes with them."""
    front, window = config.frontend, config.window
    hop = f" every {window.hop_seconds:g} s" if window.hop_seconds else ""
    model = load_tagger(run.model)
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    facts = {
        "parameters": f"{trainable:,} trainable, {model.count_params():,} in all",
        "window": f"{window.seconds:g} s; in training {window.train}, in evaluation {window.evaluate}{hop}, "
        f"pooled by {window.pooling}",
        "front-end": f"{front.sample_rate:,} Hz, log-mel of {front.n_mels} bands, n_fft {front.n_fft}, "
        f"hop {front.hop_length}, {config.frames:,} frames a window",
    }
    sections = ("cascade", *BRANCHES, "head")
    facts |= {part: _settings(section) for part in sections if (section := getattr(config.model, part)) is not None}
    folded = {"The resolved configuration": config.to_yaml()}
    if origin := record.get("origin"):
        facts |= {key: value for key, value in origin.items() if key != "notice"}
        folded["Licence of the imported weights"] = origin["notice"]
    return Section("model", "Model", facts=facts, folded=folded)


def training_section(run: RunDirectory, config: Config, record: Mapping[str, Any]) -> Section:
    """The best epoch, the history, and what it was made with."""
    environment = read_json(run.environment)
    facts, lines, folded = {}, [], {}
    if run.history.exists():
        history = read_table(run.history)
        facts = _history_facts(history, config)
        folded["Every epoch"] = history.to_string(index=False, float_format="{:.5g}".format)
    else:
        lines.append("No history: the weights were imported, not trained here.")
    if init := record.get("init"):
        facts["started from"] = f"the run {init['run']}, first {config.training.freeze} layers frozen"
    facts |= _environment_facts(environment)
    figures = plot_of(run.report / "history.png", "Loss, ROC-AUC, PR-AUC and learning rate by epoch")
    return Section("training", "Training", lines, facts, figures, folded=folded)


def _options(source: Mapping[str, Any]) -> str:
    others = [f"{key} {value}" for key, value in source.items() if key != "source" and value is not None]
    return ", ".join([source["source"], *others])


def _card_facts(card: Mapping[str, Any]) -> dict[str, str]:
    shortest, median, longest = (card["seconds"][quantile] for quantile in ("5%", "50%", "95%"))
    spread = f", nine of ten from {shortest:.1f} to {longest:.1f} s" if longest - shortest > LIKE_SECONDS else ""
    return {
        "prepared at": f"{card['sample_rate']:,} Hz, mono",
        "lengths": f"{median:.1f} s{spread}",
        "files": "; ".join(card["files"]["kinds"]),
        "rejected": "; ".join(f"{reason} ({times:,})" for reason, times in card["rejected"].items()) or "none",
    }


def _splits_table(splits: Mapping[str, Mapping[str, float]]) -> Table:
    rows = [
        [name(split), count(of["clips"]), count(of["groups"]), number(of["hours"], digits=2)]
        for split, of in splits.items()
    ]
    return Table("Splits", ("split", "clips", "groups", "hours"), rows)


def _settings(section: Any) -> str:
    """The settings of a part of the model, but for those that are off."""
    values = flat(section.model_dump())
    return ", ".join(_setting(key.replace("_", " "), value) for key, value in values.items() if not _is_off(value))


def _is_off(value: Any) -> bool:
    return not any(value) if isinstance(value, tuple) else not value


def _setting(words: str, value: Any) -> str:
    """A name and its value; a series by its numbers, a pair of sizes with a cross between."""
    if value is True:
        return words
    if isinstance(value, tuple):
        return f"{words} {' '.join('x'.join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)}"
    return f"{words} {value}"


def _history_facts(history: pd.DataFrame, config: Config) -> dict[str, str]:
    training = config.training
    facts = {"epochs": f"{len(history)} of {training.epochs}"}
    if "val_roc_auc" in history:
        best = history.loc[history["val_roc_auc"].idxmax()]
        facts["best epoch"] = f"{best['epoch']:.0f}, validation ROC-AUC {best['val_roc_auc']:.4f}; this is the model"
    facts["optimizer"] = (
        f"Adam, learning rate {training.learning_rate:g} ({training.schedule}), batches of {training.batch_size}, "
        f"{training.precision}"
    )
    return facts


def _environment_facts(environment: Mapping[str, Any]) -> dict[str, str]:
    versions = ", ".join(f"{package} {version}" for package, version in environment["packages"].items() if version)
    return {
        "device": ", ".join(environment["devices"]) or "not trained here",
        "seed": str(environment["seed"]),
        "commit": environment["git_commit"] or "not from a checkout",
        "made with": f"Python {environment['python']}, {versions}",
    }
