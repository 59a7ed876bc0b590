"""The tables of MTG-Jamendo: rows of any length, splits from three files, artists in one split."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from facts import expect_error

from genre_tagger.errors import FieldError
from genre_tagger.sources.jamendo import JamendoSource

HEADER = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"


def row(number: int, artist: int, *tags: str) -> str:
    fields = [
        f"track_{number:07d}",
        f"artist_{artist:06d}",
        "album_000001",
        f"{number % 100:02d}/{number}.mp3",
        "212.7",
    ]
    return "\t".join([*fields, *tags]) + "\n"


def write(path: Path, *rows: str) -> Path:
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return path


def write_three(folder: Path, test_artist: int = 4) -> Path:
    rows = [
        row(948, 1, "genre---rock", "instrument---bass"),
        row(1000, 1, "genre---rock"),
        row(12, 2, "mood/theme---sad"),
    ]
    write(folder / "top-validation.tsv", row(7, 3, "genre---rock", "mood/theme---sad", "instrument---bass"))
    write(folder / "top-test.tsv", row(8, test_artist, "instrument---bass"))
    return write(folder / "top-train.tsv", *rows)


def test_rows_of_any_length_and_splits_from_three_files(tmp_path: Path):
    source = JamendoSource(tmp_path, write_three(tmp_path))
    assert source.tags == ("genre---rock", "instrument---bass", "mood/theme---sad")
    clips = {clip.id: (clip.labels.tolist(), clip.group, clip.split) for clip in source.clips}
    assert clips == {
        "48/948.mp3": ([1, 1, 0], "artist_000001", "train"),
        "00/1000.mp3": ([1, 0, 0], "artist_000001", "train"),
        "12/12.mp3": ([0, 0, 1], "artist_000002", "train"),
        "07/7.mp3": ([1, 1, 1], "artist_000003", "valid"),
        "08/8.mp3": ([0, 1, 0], "artist_000004", "test"),
    }
    assert source.protocol == "files"


def test_low_quality_tracks_are_used(tmp_path: Path):
    table = write_three(tmp_path)
    (tmp_path / "48").mkdir()
    (tmp_path / "48/948.low.mp3").touch()
    paths = {clip.id: clip.path for clip in JamendoSource(tmp_path, table).clips}
    assert paths["48/948.mp3"] == tmp_path / "48/948.low.mp3"
    assert paths["12/12.mp3"] == tmp_path / "12/12.mp3"


def test_a_low_quality_track_outside_the_folder_is_not_used(tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    table = write_three(root)
    (tmp_path / "secret.mp3").touch()
    (root / "48").mkdir()
    (root / "48/948.low.mp3").symlink_to(tmp_path / "secret.mp3")
    paths = {clip.id: clip.path for clip in JamendoSource(root, table).clips}
    assert paths["48/948.mp3"] == root / "48/948.mp3"


@pytest.mark.parametrize("way", [None, "group", "stratified"])
def test_one_table_is_split_by_artist(tmp_path: Path, way):
    tags = ("a", "b", "c")
    table = write(tmp_path / "all.tsv", *(row(n, n // 2, *tags[: 1 + n // 2 % 3]) for n in range(200)))
    source = JamendoSource(tmp_path, table, way)
    splits = pd.Series([clip.split for clip in source.clips])
    assert (splits.groupby([clip.group for clip in source.clips]).nunique() == 1).all()
    assert Counter(splits) == pytest.approx({"train": 140, "valid": 20, "test": 40}, abs=6)
    assert source.protocol == (way or "group")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (HEADER, ["header", "no rows"]),
        ("", ["line 1", "''", "TRACK_ID"]),
        ("path\ttags\n", ["line 1", r"'path\ttags'", "TRACK_ID, ARTIST_ID"]),
        (HEADER + row(1, 1, "a") + "x\ty\n", ["line 3", "2 cells", "5"]),
        (HEADER + row(1, 1, "") + row(2, 2, ""), ["no tag", "column 6"]),
        (HEADER + row(1, 1, "a\x0cb"), ["line 2", "column 'tags'", r"'a\x0cb'"]),
        (HEADER + row(1, 1), ["line 2", "5 cells"]),
        (HEADER + row(1, 1, "a").replace("01/1", "../1"), ["line 2", "column 'PATH'", "'../1.mp3'"]),
        (HEADER + row(1, 1, "a") + row(1, 1, "b"), ["line 3", "column 'PATH'", "'01/1.mp3'", "line 2"]),
        (HEADER + row(1, 1, "a"), ["1 group", "train, valid, test"]),
    ],
)
def test_mistakes_name_file_and_line(tmp_path: Path, text: str, facts: list[str]):
    (tmp_path / "all.tsv").write_text(text)
    with expect_error(tmp_path / "all.tsv", *facts):
        JamendoSource(tmp_path, tmp_path / "all.tsv")


def test_a_file_in_two_tables_is_refused_even_with_different_artists(tmp_path: Path):
    table = write_three(tmp_path)
    write(tmp_path / "top-test.tsv", row(8, 4, "genre---rock"), row(948, 5, "genre---rock").replace("48/", "./48/"))
    with expect_error(tmp_path / "top-test.tsv", "line 3", "column 'PATH'", "'48/948.mp3'", "'train'"):
        JamendoSource(tmp_path, table)


def test_missing_files_and_wrong_arguments_are_reported(tmp_path: Path):
    with expect_error(tmp_path / "top-train.tsv", "No such file"):
        JamendoSource(tmp_path, tmp_path / "top-train.tsv")
    table = write_three(tmp_path, test_artist=1)
    with expect_error(tmp_path / "top-test.tsv", "line 2", "column 'ARTIST_ID'", "'artist_000001'", "'train'"):
        JamendoSource(tmp_path, table)
    (tmp_path / "top-test.tsv").unlink()
    with expect_error(tmp_path / "top-test.tsv", "No such file"):
        JamendoSource(tmp_path, table)
    with expect_error("split: ", "'files'", "all.tsv", "-train.tsv", kind=FieldError):
        JamendoSource(tmp_path, tmp_path / "all.tsv", "files")
    with expect_error("table: ", "'jamendo'", "TSV", kind=FieldError):
        JamendoSource(tmp_path, None)
    with expect_error(f"{tmp_path / 'nowhere'}: no such folder"):
        JamendoSource(tmp_path / "nowhere", table)
