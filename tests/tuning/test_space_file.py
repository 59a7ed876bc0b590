"""Reading a space: its mistakes are named."""

import re

import pytest

from genre_tagger.errors import UserError
from genre_tagger.tuning.space_file import load_space, parse_space

DEPTH = "model.wavenet.dilation_depth"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"model.wavenet.dilation_deph": {"min": 4, "max": 9}}, "unknown field .*did you mean dilation_depth"),
        ({"model.wavnet.blocks": 3}, "unknown field 'model.wavnet.blocks'; did you mean wavenet"),
        ({"seed.deeper": 3}, "seed is a field, and has none of its own"),
        ({DEPTH: {"min": 9, "max": 4}}, "an empty range: min 9 is above max 4"),
        ({DEPTH: {"values": []}}, "an empty range"),
        ({DEPTH: {"min": 4.5, "max": 9}}, "found 4.5, expected .*integer"),
        ({DEPTH: {"min": 0, "max": 9}}, "found 0, expected"),
        ({DEPTH: {"min": 4}}, "max is None, expected a number"),
        ({DEPTH: {"min": "four", "max": 9}}, "min is 'four', expected a number"),
        ({DEPTH: {"min": 4, "max": 9, "stepp": 2}}, "unknown 'stepp'; did you mean step"),
        ({DEPTH: {"min": 4, "max": 9, "step": 0}}, "step is 0, expected a whole number above 0"),
        ({DEPTH: {"min": 4, "max": 9, "step": 1, "sampling": "log"}}, "step is 1, expected a whole number above 1"),
        ({DEPTH: {"min": 4, "max": 9, "sampling": "lgo"}}, "sampling is 'lgo', expected linear or log"),
        ({DEPTH: {"values": [4, "deep"]}}, "found 'deep', expected .*integer"),
        ({DEPTH: "deep"}, "found 'deep', expected .*integer"),
        ({"model.head.dropout": {"min": 0, "max": 0.1, "sampling": "log"}}, "min is 0, expected more than 0"),
        ({"model.merge": {"min": 1, "max": 2}}, "has no range, since it is no number"),
        ({"model.merge": {"values": ["multiply"]}}, "found 'multiply', expected 'concat' or 'add'"),
        ({"model.cnn.kernels": {"values": [[8, 0]]}}, "found .*expected greater than 0"),
        ({"model.merge, model.wavenet.gate": {"values": ["add"]}}, "'model.wavenet.gate': found 'add'"),
        ({"seed": 1, "seed, training.epochs": 2}, "'seed' stands in it twice"),
        ({"training.batch_size, training.alpha": {"min": 1, "max": 2}}, "expected fields of one kind"),
        ({"training.batch_size": {"values": [8, 16, 8]}}, "8 is twice among the values"),
        ([], "expected lines of FIELD: VALUES"),
    ],
)
def test_mistakes_name_the_field(line, expected):
    with pytest.raises(UserError, match=re.escape("--space x") + ": .*" + expected):
        parse_space(line, "--space x")


def test_missing_and_broken_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no such file, and none of the package's: demo, seed"):
        load_space("sede")
    (tmp_path / "space.yaml").write_text("{")
    with pytest.raises(UserError, match="cannot be read as YAML"):
        load_space(str(tmp_path / "space.yaml"))
