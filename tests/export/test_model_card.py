"""The model card names the protocol of its metrics, and describes only what the exported version has."""

import pytest
from facts import check_facts

from genre_tagger.config import Config, parse_config
from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.evaluation.thresholds import Thresholds
from genre_tagger.export.model_card import model_card
from genre_tagger.runs.record import RunRecord, StartRecord
from genre_tagger.sources.registry import SourceOptions


@pytest.mark.parametrize("protocol", ["seed_random", None])
def test_card_names_the_protocol_of_the_metrics(run, protocol):
    """Without a named protocol, the card describes the groups that are kept in one split."""
    text = section(card_of(run, protocol=protocol), "Protocol")
    check_facts(text, protocol or "album")
    assert ("album" in text) == (protocol is None)


def test_card_of_an_onnx_version_leaves_out_what_signatures_have(run):
    centre = parse_config({"window": {"evaluate": "center"}})
    saved, onnx = (card_of(run, centre, is_onnx=is_onnx) for is_onnx in (False, True))
    for fact in ("WAV", "`error`", "`assets/thresholds.json`", "`wav`"):
        assert fact in saved and fact not in onnx, fact
    check_facts(onnx, "`thresholds.json`")


def test_card_warns_that_thresholds_of_the_centre_window_may_not_suit_all_windows(run):
    """The signature `wav` scores all windows, so it is named with the thresholds if they are those of one window."""
    cards = (card_of(run, parse_config({"window": {"evaluate": which}})) for which in ("center", "all"))
    assert ["`wav`" in section(card, "Thresholds") for card in cards] == [True, False]


def test_card_names_every_run_that_training_started_from(run):
    """A start of a start is listed too, with the notice of imported weights."""
    imported = StartRecord(run="runs/musicnn", origin={"weights": "MTT_musicnn", "notice": "Copyright notice."})
    source = SourceOptions(source="magnatagatune", root="/mtt")
    started = StartRecord(run="runs/mtt", source=source, protocol="artist", start=imported)
    text = section(card_of(run, record=RunRecord(source=source, hash="c0ffee", start=started)), "Started from")
    check_facts(text, "runs/mtt", "magnatagatune", "artist", "runs/musicnn", "MTT_musicnn", "Copyright notice.")
    assert "## Started from" not in card_of(run)


def section(card, name):
    return card.split(f"## {name}\n")[1].split("\n## ")[0]


def card_of(run, config=None, protocol=None, record=None, **options):
    metrics = evaluate_predictions(read_predictions(run.predictions), replicates=5) | {"protocol": protocol}
    return model_card(
        "tiny",
        config or Config(),
        ("a",),
        record=record or RunRecord(source=SourceOptions(source="folder"), hash="c0ffee"),
        metrics=metrics,
        environment={"python": "3", "packages": {}, "git_commit": None, "devices": ["CPU"], "seed": 0},
        thresholds=Thresholds("f1", 0.5, {"a": 0.5}, {"a": 1}, []),
        licence=None,
        **options,
    )
