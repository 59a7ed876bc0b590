"""The model card names the protocol that its figures stand on."""

import pytest

from genre_tagger.config import Config
from genre_tagger.evaluation.predictions import read_predictions
from genre_tagger.evaluation.report import evaluate_predictions
from genre_tagger.export.card import model_card
from genre_tagger.export.thresholds import Thresholds


@pytest.mark.parametrize(
    ("protocol", "words"), [("seed_random", "protocol seed_random of the data"), (None, "on one side")]
)
def test_the_protocol_stands_beside_the_figures(run, protocol, words):
    metrics = evaluate_predictions(read_predictions(run.predictions), replicates=5) | {"protocol": protocol}
    card = model_card(
        "tiny",
        Config(),
        ("a",),
        data={"source": {"source": "folder"}, "hash": "c0ffee", "stream": False},
        metrics=metrics,
        environment={"python": "3", "packages": {}, "git_commit": None, "devices": ["CPU"], "seed": 0},
        thresholds=Thresholds("f1", 0.5, {"a": 0.5}, {"a": 1}, []),
        licence=None,
    )
    section = card.split("## Protocol")[1].split("##")[0]
    assert words in section
    assert ("on one side" in section) == (protocol is None)
