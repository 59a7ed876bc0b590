"""Reading a search space: every mistake names the field."""

import pytest
from facts import expect_error

from genre_tagger.tuning.space_file import load_space, parse_space, space_names

DEPTH = "model.wavenet.dilation_depth"


@pytest.mark.parametrize(
    ("entries", "facts"),
    [
        ({"model.wavenet.dilation_deph": {"min": 4, "max": 9}}, ("'model.wavenet.dilation_deph'", "'dilation_depth'")),
        ({"model.wavnet.blocks": 3}, ("'model.wavnet.blocks'", "'wavenet'")),
        ({"model.cascade.width": 64}, ("'model.cascade.width'", "'model.wavenet.cascade.width'")),
        ({"training.augment.spectrogram": "none"}, ("'training.augment.spectrogram'", "'model.spec_augment'")),
        ({"seed.deeper": 3}, ("'seed.deeper'", "seed is")),
        ({DEPTH: {"min": 9, "max": 4}}, (DEPTH, "min", "9", "max", "4")),
        ({DEPTH: {"values": []}}, (DEPTH, "values", "[]")),
        ({DEPTH: {"min": 4.5, "max": 9}}, (DEPTH, "4.5", "integer")),
        ({DEPTH: {"min": 0, "max": 9}}, (DEPTH, "found 0", "greater than 0")),
        ({DEPTH: {"min": 4}}, (DEPTH, "max", "None")),
        ({DEPTH: {"min": "four", "max": 9}}, (DEPTH, "min", "'four'")),
        ({DEPTH: {"min": 4, "max": 9, "stepp": 2}}, (DEPTH, "'stepp'", "'step'")),
        ({DEPTH: {"min": 4, "max": 9, "step": 0}}, (DEPTH, "step is 0", "whole", "above 0")),
        ({DEPTH: {"min": 4, "max": 9, "step": 1, "sampling": "log"}}, (DEPTH, "step is 1", "whole", "above 1")),
        ({DEPTH: {"min": 4, "max": 9, "sampling": "lgo"}}, (DEPTH, "'lgo'", "linear or log")),
        ({DEPTH: {"values": [4, "deep"]}}, (DEPTH, "'deep'", "integer")),
        ({DEPTH: "deep"}, (DEPTH, "'deep'", "integer")),
        (
            {"model.head.dropout": {"min": 0, "max": 0.1, "sampling": "log"}},
            ("'model.head.dropout'", "min is 0", "more than 0", "log"),
        ),
        ({"model.merge": {"min": 1, "max": 2}}, ("'model.merge'", "values: [...]")),
        ({"model.merge": {"values": ["multiply"]}}, ("'model.merge'", "'multiply'", "'concat' or 'add'")),
        ({"model.cnn.kernels": {"values": [[8, 0]]}}, ("'model.cnn.kernels'", "[8, 0]", "greater than 0")),
        ({"model.merge, model.wavenet.gate": {"values": ["add"]}}, ("'model.wavenet.gate'", "'add'", "'sigmoid'")),
        ({"seed": 1, "seed, training.epochs": 2}, ("'seed'", "twice")),
        (
            {"training.batch_size, training.alpha": {"min": 1, "max": 2}},
            ("'training.batch_size, training.alpha'",),
        ),
        ({"training.batch_size": {"values": [8, 16, 8]}}, ("'training.batch_size'", "8 twice")),
        ([], ("[]",)),
    ],
)
def test_mistakes_name_the_field(entries, facts):
    with expect_error("--space x: ", *facts):
        parse_space(entries, "--space x")


def test_missing_and_broken_files_are_named(tmp_path):
    assert space_names() == ["demo", "seed"]
    with expect_error("space", "sede", "demo, seed"):
        load_space("sede")
    (tmp_path / "space.yaml").write_text("{")
    with expect_error("space", tmp_path / "space.yaml", "line 1, column 2"):
        load_space(str(tmp_path / "space.yaml"))
