import numpy as np
import pandas as pd
import pytest

from genre_tagger.errors import UserError
from genre_tagger.evaluation.predictions import Predictions, read_predictions, write_predictions


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip": ["a", "b"],
            "group": ["g", "h"],
            "split": ["test", "test"],
            "label:piano": [1, 0],
            "score:piano": [0.9, 0.1],
            "label:rock": [0.0, None],
            "score:rock": [0.2, 0.3],
        }
    )


def test_what_is_written_is_read_back(tmp_path, predictions):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, predictions)
    read = read_predictions(path)
    assert (read.clip_ids, read.tags) == (predictions.clip_ids, predictions.tags)
    for name in ("groups", "splits", "labels", "scores"):
        written_array, read_array = getattr(predictions, name), getattr(read, name)
        np.testing.assert_array_equal(read_array, written_array)
        assert read_array.dtype.kind == written_array.dtype.kind
    assert (read.labels.dtype, read.scores.dtype) == (np.int8, np.float32)
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.parquet"]


def test_columns_are_in_the_order_of_the_tags_and_unknown_is_blank(tmp_path, predictions):
    write_predictions(tmp_path / "p.parquet", predictions)
    table = pd.read_parquet(tmp_path / "p.parquet")
    pairs = [f"{kind}:{tag}" for tag in predictions.tags for kind in ("label", "score")]
    assert list(table.columns) == ["clip", "group", "split", *pairs]
    np.testing.assert_array_equal(table["label:rock"].isna(), predictions.labels[:, 1] == -1)


def test_a_failed_write_leaves_the_former_file(tmp_path, predictions, monkeypatch):
    path = tmp_path / "p.parquet"
    path.write_text("former")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda self, target, **_: target.write_text("half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_predictions(path, predictions)
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_from_elsewhere_is_read_by_name(tmp_path, table):
    table["label:piano"] = table["label:piano"].astype(bool)
    reordered = table[["split", "score:rock", "label:rock", "label:piano", "score:piano", "group", "clip"]]
    reordered.to_parquet(tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet")
    assert read.tags == ("rock", "piano")
    np.testing.assert_array_equal(read.labels, [[0, 1], [-1, 0]])
    np.testing.assert_array_equal(read.scores, np.float32([[0.2, 0.9], [0.3, 0.1]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label:piano": [2, 0]}, "column label:piano, row 0: found 2, expected 0, 1 or blank"),
        ({"label:piano": [0, -1]}, "column label:piano, row 1: found -1, expected 0, 1 or blank"),
        ({"label:piano": ["yes", "no"]}, "column label:piano, row 0: found yes, expected 0, 1 or blank"),
        ({"score:rock": [0.5, 1.01]}, "column score:rock, row 1: found 1.01, expected a number from 0 to 1"),
        ({"score:rock": [-0.1, 0.5]}, "column score:rock, row 0: found -0.1, expected a number from 0 to 1"),
        ({"score:rock": [0.5, np.nan]}, "column score:rock, row 1: found nan, expected a number from 0 to 1"),
        ({"score:rock": [np.inf, 0.5]}, "column score:rock, row 0: found inf, expected a number from 0 to 1"),
        ({"score:jazz": [0.5, 0.5]}, "found only one of label:TAG and score:TAG for jazz, expected both"),
        ({"label:jazz": [0, 1]}, "found only one of label:TAG and score:TAG for jazz, expected both"),
        ({"group": ["g", None]}, "column group is blank in row 1, expected a name"),
    ],
)
def test_bad_columns_are_refused_with_their_place(tmp_path, table, change, message):
    path = tmp_path / "p.parquet"
    table.assign(**change).to_parquet(path)
    with pytest.raises(UserError) as error:
        read_predictions(path)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["clip", "label:piano", "score:piano"], "found no column group, split, expected clip, group, split"),
        (["clip", "group", "split"], "found no column label:TAG"),
    ],
)
def test_missing_columns_are_named(tmp_path, table, columns, message):
    table[columns].to_parquet(tmp_path / "p.parquet")
    with pytest.raises(UserError, match=message):
        read_predictions(tmp_path / "p.parquet")


def test_no_file_no_parquet_and_no_rows_are_refused(tmp_path, table):
    path = tmp_path / "p.parquet"
    with pytest.raises(UserError, match=r"p\.parquet: no such file"):
        read_predictions(path)
    path.write_text("clip,group\n")
    with pytest.raises(UserError, match=r"p\.parquet: not a readable parquet file") as error:
        read_predictions(path)
    assert "\n" not in str(error.value)
    table.head(0).to_parquet(path)
    with pytest.raises(UserError, match=r"p\.parquet: found no rows, expected one a clip"):
        read_predictions(path)


def test_of_split_keeps_rows_together():
    both = Predictions(
        clip_ids=["a", "b", "c"],
        groups=np.array(["g", "h", "g"]),
        splits=np.array(["valid", "test", "valid"]),
        tags=("piano",),
        labels=np.int8([[1], [0], [-1]]),
        scores=np.float32([[0.1], [0.2], [0.3]]),
    )
    valid = both.of_split("valid")
    assert (valid.clip_ids, valid.groups.tolist(), valid.splits.tolist()) == (["a", "c"], ["g", "g"], ["valid"] * 2)
    assert (valid.labels.ravel().tolist(), valid.tags) == ([1, -1], ("piano",))
    np.testing.assert_array_equal(valid.scores, np.float32([[0.1], [0.3]]))
    assert both.of_split("train").clip_ids == []
