"""The model card names the protocol that its figures stand on, and says nothing that its version does not have."""

import pytest

from genre_tagger.config import Config, parse_config
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.evaluation.report import evaluate_predictions
from genre_tagger.export.card import model_card
from genre_tagger.export.thresholds import Thresholds


@pytest.mark.parametrize(
    ("protocol", "words"), [("seed_random", "protocol seed_random of the data"), (None, "on one side")]
)
def test_the_protocol_stands_beside_the_figures(run, protocol, words):
    section = card_of(run, protocol=protocol).split("## Protocol")[1].split("##")[0]
    assert words in section
    assert ("on one side" in section) == (protocol is None)


def test_an_onnx_version_is_not_given_what_signatures_have(run):
    centre = parse_config({"window": {"evaluate": "center"}})
    saved, onnx = (card_of(run, centre, is_onnx=is_onnx) for is_onnx in (False, True))
    for words in ("WAV", "`error`", "`assets/thresholds.json`", "`wav`"):
        assert words in saved and words not in onnx, words
    assert "`thresholds.json`" in onnx


def test_thresholds_of_the_centre_window_are_not_those_of_all_windows(run):
    cards = (card_of(run, parse_config({"window": {"evaluate": which}})) for which in ("center", "all"))
    assert ["Chosen on one window a clip" in card for card in cards] == [True, False]


def card_of(run, config=None, protocol=None, **options):
    metrics = evaluate_predictions(read_predictions(run.predictions), replicates=5) | {"protocol": protocol}
    return model_card(
        "tiny",
        config or Config(),
        ("a",),
        data={"source": {"source": "folder"}, "hash": "c0ffee", "stream": False},
        metrics=metrics,
        environment={"python": "3", "packages": {}, "git_commit": None, "devices": ["CPU"], "seed": 0},
        thresholds=Thresholds("f1", 0.5, {"a": 0.5}, {"a": 1}, []),
        licence=None,
        **options,
    )
