"""MTG-Jamendo's tables: rows of any length, three files of splits, artists kept whole."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from genre_tagger.data.jamendo import JamendoSource
from genre_tagger.errors import UserError

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


def test_rows_of_any_length_and_the_splits_of_three_files(tmp_path: Path):
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


def test_tracks_of_lower_quality_will_do(tmp_path: Path):
    table = write_three(tmp_path)
    (tmp_path / "48").mkdir()
    (tmp_path / "48/948.low.mp3").touch()
    paths = {clip.id: clip.path for clip in JamendoSource(tmp_path, table).clips}
    assert paths["48/948.mp3"] == tmp_path / "48/948.low.mp3"
    assert paths["12/12.mp3"] == tmp_path / "12/12.mp3"


def test_a_track_of_lower_quality_outside_the_folder_will_not(tmp_path: Path):
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
    ("text", "message"),
    [
        (HEADER, r"found a header but no rows"),
        ("", r"line 1: found '', expected the columns TRACK_ID"),
        ("path\ttags\n", r"line 1: found 'path\\ttags', expected the columns TRACK_ID, ARTIST_ID"),
        (HEADER + row(1, 1, "a") + "x\ty\n", r"line 3: found 2 cells, expected 5 and one a tag"),
        (HEADER + row(1, 1, "") + row(2, 2, ""), r"all.tsv: found no tag in any line, expected some after the fifth"),
        (HEADER + row(1, 1, "a\x0cb"), r"line 2, column 'tags': found the tag 'a\\x0cb', expected names of one line"),
        (HEADER + row(1, 1), r"line 2: found 5 cells, expected 5 and one a tag"),
        (HEADER + row(1, 1, "a").replace("01/1", "../1"), r"line 2, column 'PATH': found '../1.mp3'"),
        (HEADER + row(1, 1, "a") + row(1, 1, "b"), r"line 3, column 'PATH': found '01/1.mp3' again after line 2"),
        (HEADER + row(1, 1, "a"), r"all.tsv: found 1 group\(s\), expected at least one for each"),
    ],
)
def test_mistakes_name_file_and_line(tmp_path: Path, text: str, message: str):
    (tmp_path / "all.tsv").write_text(text)
    with pytest.raises(UserError, match=message):
        JamendoSource(tmp_path, tmp_path / "all.tsv")


def test_a_file_in_two_tables_is_refused_whoever_made_it(tmp_path: Path):
    table = write_three(tmp_path)
    write(tmp_path / "top-test.tsv", row(8, 4, "genre---rock"), row(948, 5, "genre---rock").replace("48/", "./48/"))
    with pytest.raises(UserError, match=r"top-test.tsv, line 3, column 'PATH': found '48/948.mp3', which is in train"):
        JamendoSource(tmp_path, table)


def test_what_is_missing_or_does_not_fit_is_said(tmp_path: Path):
    with pytest.raises(UserError, match=r"top-train.tsv: cannot be read"):
        JamendoSource(tmp_path, tmp_path / "top-train.tsv")
    table = write_three(tmp_path, test_artist=1)
    with pytest.raises(UserError, match=r"top-test.tsv, line 2, column 'ARTIST_ID': found 'artist_000001', who is"):
        JamendoSource(tmp_path, table)
    (tmp_path / "top-test.tsv").unlink()
    with pytest.raises(UserError, match=r"top-test.tsv: cannot be read \(No such file"):
        JamendoSource(tmp_path, table)
    with pytest.raises(UserError, match=r"--split files: found the table all.tsv, expected one that ends in -t"):
        JamendoSource(tmp_path, tmp_path / "all.tsv", "files")
    with pytest.raises(UserError, match=r"--table: the source 'jamendo' needs a TSV"):
        JamendoSource(tmp_path, None)
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        JamendoSource(tmp_path / "nowhere", table)
