import numpy as np
import pandas as pd
import pytest
from facts import expect_error

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


def test_written_predictions_are_read_back(tmp_path, predictions):
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


def test_columns_are_in_the_order_of_the_tags_and_unknown_labels_are_blank(tmp_path, predictions):
    write_predictions(tmp_path / "p.parquet", predictions)
    table = pd.read_parquet(tmp_path / "p.parquet")
    pairs = [f"{kind}:{tag}" for tag in predictions.tags for kind in ("label", "score")]
    assert list(table.columns) == ["clip", "group", "split", *pairs]
    np.testing.assert_array_equal(table["label:rock"].isna(), predictions.labels[:, 1] == -1)


def test_a_failed_write_keeps_the_old_file(tmp_path, predictions, monkeypatch):
    path = tmp_path / "p.parquet"
    path.write_text("old")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda self, target, **_: target.write_text("half") and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_predictions(path, predictions)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_columns_of_any_file_are_read_by_name(tmp_path, table):
    table["label:piano"] = table["label:piano"].astype(bool)
    reordered = table[["split", "score:rock", "label:rock", "label:piano", "score:piano", "group", "clip"]]
    reordered.to_parquet(tmp_path / "p.parquet")
    read = read_predictions(tmp_path / "p.parquet")
    assert read.tags == ("rock", "piano")
    np.testing.assert_array_equal(read.labels, [[0, 1], [-1, 0]])
    np.testing.assert_array_equal(read.scores, np.float32([[0.2, 0.9], [0.3, 0.1]]))


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"label:piano": [2, 0]}, ("column label:piano", "row 0", "found 2")),
        ({"label:piano": [0, -1]}, ("column label:piano", "row 1", "found -1")),
        ({"label:piano": ["yes", "no"]}, ("column label:piano", "row 0", "found yes")),
        ({"score:rock": [0.5, 1.01]}, ("column score:rock", "row 1", "found 1.01")),
        ({"score:rock": [-0.1, 0.5]}, ("column score:rock", "row 0", "found -0.1")),
        ({"score:rock": [0.5, np.nan]}, ("column score:rock", "row 1", "found nan")),
        ({"score:rock": [np.inf, 0.5]}, ("column score:rock", "row 0", "found inf")),
        ({"score:jazz": [0.5, 0.5]}, ("label:TAG", "score:TAG", "jazz")),
        ({"label:jazz": [0, 1]}, ("label:TAG", "score:TAG", "jazz")),
        ({"group": ["g", None]}, ("column group", "row 1", "blank")),
    ],
)
def test_errors_name_the_column_and_the_row(tmp_path, table, change, facts):
    path = tmp_path / "p.parquet"
    table.assign(**change).to_parquet(path)
    with expect_error(path, *facts):
        read_predictions(path)


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        (["clip", "label:piano", "score:piano"], ("column group, split,", "clip, group, split")),
        (["clip", "group", "split"], ("column label:TAG", "score:TAG")),
    ],
)
def test_errors_name_missing_columns(tmp_path, table, columns, facts):
    table[columns].to_parquet(tmp_path / "p.parquet")
    with expect_error("p.parquet", *facts):
        read_predictions(tmp_path / "p.parquet")


def test_files_that_are_missing_or_not_parquet_or_empty_raise_errors(tmp_path, table):
    path = tmp_path / "p.parquet"
    with expect_error(path, "no such file"):
        read_predictions(path)
    path.write_text("clip,group\n")
    with expect_error(path, "Parquet magic bytes") as error:  # the message of pyarrow
        read_predictions(path)
    assert "\n" not in str(error.value)
    table.head(0).to_parquet(path)
    with expect_error(path, "no rows"):
        read_predictions(path)


def test_of_split_keeps_the_rows_of_each_clip_together():
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
