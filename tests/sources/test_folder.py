"""The folder source: how a table is read, and the one-line error for each mistake in it."""

import errno
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from facts import expect_error

from genre_tagger.audio.decode import Undecodable, decode
from genre_tagger.sources.folder import FolderSource


def source(folder: Path, text: str, name: str = "tags.csv") -> FolderSource:
    (folder / name).write_text(text, encoding="utf-8")
    return FolderSource(folder)


def test_reads_columns_of_labels_splits_and_groups(music_folder: Path):
    folder = FolderSource(music_folder)
    assert folder.name == "folder"
    assert folder.tags == ("drums", "loud")
    clips = {clip.id: clip for clip in folder.clips}
    assert len(clips) == 12
    assert clips["b1.ogg"].labels.tolist() == [1, -1]
    assert clips["b1.ogg"].labels.dtype == np.int8
    assert clips["sub/g1.wav"].path == music_folder / "sub/g1.wav"
    assert (clips["sub/g1.wav"].split, clips["sub/g1.wav"].group) == ("test", "g")
    assert Counter(clip.split for clip in folder.clips) == {"train": 6, "valid": 3, "test": 3}


def test_reads_lists_of_tags_from_a_tsv_with_any_order_of_columns(tmp_path: Path):
    text = "split\ttags\tpath\ntrain\trock | loud\ta.wav\nvalid\t\t./b.wav\ntest\tloud||loud\tc, d.wav\n"
    folder = source(tmp_path, text, "tags.tsv")
    assert folder.tags == ("loud", "rock")
    assert [clip.labels.tolist() for clip in folder.clips] == [[1, 1], [0, 0], [1, 0]]
    assert [clip.id for clip in folder.clips] == ["a.wav", "b.wav", "c, d.wav"]
    assert [clip.group for clip in folder.clips] == ["a.wav", "b.wav", "c, d.wav"]


def test_a_table_elsewhere_with_byte_order_mark_crlf_quotes_and_empty_lines(tmp_path: Path):
    table = tmp_path / "elsewhere.csv"
    table.write_bytes(
        '\ufeffpath,"tag, with comma",split\r\n\r\n a.wav ,1,train\r\nb.wav,,valid\r\nc.wav,0,test\r\n'.encode()
    )
    (tmp_path / "music").mkdir()
    folder = FolderSource(tmp_path / "music", table)
    assert folder.tags == ("tag, with comma",)
    assert [clip.labels.tolist() for clip in folder.clips] == [[1], [-1], [0]]
    assert folder.clips[0].path == tmp_path / "music/a.wav"


def test_splits_whole_groups_70_10_20_by_seed(tmp_path: Path):
    text = "path,x,group\n" + "".join(f"{i}.wav,1,song{i // 4}\n" for i in range(400))
    folder = source(tmp_path, text)
    splits_of = {clip.group: set() for clip in folder.clips}
    for clip in folder.clips:
        splits_of[clip.group].add(clip.split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert Counter(next(iter(splits)) for splits in splits_of.values()) == {"train": 70, "valid": 10, "test": 20}
    drawn = [clip.split for clip in folder.clips]
    assert drawn == [clip.split for clip in FolderSource(tmp_path, seed=0).clips]
    assert drawn != [clip.split for clip in FolderSource(tmp_path, seed=1).clips]


def test_three_groups_are_enough_and_two_are_not(tmp_path: Path):
    folder = source(tmp_path, "path,x\na.wav,1\nb.wav,0\nc.wav,1\n")
    assert sorted(clip.split for clip in folder.clips) == ["test", "train", "valid"]
    with expect_error(tmp_path / "tags.csv", "2 group", "train, valid, test"):
        source(tmp_path, "path,x\na.wav,1\nb.wav,0\n")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ["empty"]),
        ("path,x\n", ["header", "no rows"]),
        ("Path,x\na.wav,1\n", ["line 1", "no column 'path'", "'Path'"]),
        ("path;tags;split\na.wav;x;\n", ["line 1", "no column 'path'", "'path;tags;split'", "commas"]),
        ('path,tags\na.wav,x\nb.wav,"y|ro\nck"\n', ["line 4", "column 'tags'", r"'ro\nck'"]),
        ("path,tags\na.wav,ro\u2028ck\n", ["line 2", "column 'tags'", r"'ro\u2028ck'"]),
        ("path,split\na.wav,train\n", ["line 1", "no tags", "'tags'"]),
        ("path,x,x\na.wav,1,1\n", ["line 1", "column 'x'", "twice"]),
        ("path,x,\na.wav,1,1\n", ["line 1", "column 3", "''"]),
        ("path,x\na.wav,1\nb.wav,yes\n", ["line 3", "column 'x'", "'yes'", "0, 1 or blank"]),
        ("path,x,splt\na.wav,1,train\n", ["line 2", "column 'splt'", "'train'", "0, 1 or blank", "'split'"]),
        ("path,x\na.wav,1.0\n", ["line 2", "column 'x'", "'1.0'", "0, 1 or blank"]),
        ("path,x\na.wav,1\n\n,1\n", ["line 4", "column 'path'", "nothing"]),
        ("path,x\na.wav,1,0\n", ["line 2", "3 cells", "expected 2"]),
        ("path,x\na.wav\n", ["line 2", "1 cells", "expected 2"]),
        ("path,x\n/a.wav,1\n", ["line 2", "column 'path'", "'/a.wav'", "inside"]),
        ("path,x\n../a.wav,1\n", ["line 2", "column 'path'", "'../a.wav'", "inside"]),
        ("path,x\nb/../../a.wav,1\n", ["line 2", "column 'path'", "'b/../../a.wav'", "inside"]),
        ("path,x\n.,1\n", ["line 2", "column 'path'", "'.'", "inside"]),
        ("path,x\nlink.wav,1\n", ["line 2", "column 'path'", "'link.wav'", "inside"]),
        ("path,x\nlinked/a.wav,1\n", ["line 2", "column 'path'", "'linked/a.wav'", "inside"]),
        ("path,x\na.wav,1\n./a.wav,1\n", ["line 3", "column 'path'", "'./a.wav'", "line 2"]),
        ("path,x,split\na.wav,1,validation\n", ["line 2", "column 'split'", "'validation'", "'valid'"]),
        ("path,x,split\na.wav,1,\n", ["line 2", "column 'split'", "''", "train, valid, test"]),
        ("path,x,split\nb.wav,0,valid\nc.wav,1,test\n", ["'train'", "train, valid, test"]),
        (
            "path,x,split,group\na.wav,1,train,g\nb.wav,1,test,g\n",
            ["line 3", "column 'split'", "group 'g'", "'test'", "'train'", "line 2"],
        ),
        ("path,tags\na.wav,\nb.wav,|\n", ["column 'tags'", "no tag"]),
        ("path,tags,gruop\na.wav,x,g\n", ["line 1", "'gruop'", "'group'", "path, split, group, tags"]),
        ('path,x\n"a.wav,1\n', ["line 2", "unexpected end of data"]),  # from the message of the csv module
    ],
)
def test_mistakes_are_one_line_with_file_line_and_column(tmp_path: Path, text: str, facts: list[str]):
    root = tmp_path / "music"
    root.mkdir()
    (root / "link.wav").symlink_to(tmp_path / "elsewhere.wav")
    (root / "linked").symlink_to(tmp_path)
    with expect_error(root / "tags.csv", *facts) as caught:
        source(root, text)
    assert "\n" not in str(caught.value)


def test_no_name_is_suggested_if_none_is_close(tmp_path: Path):
    with expect_error("'yes'") as caught:
        source(tmp_path, "path,x\na.wav,1\nb.wav,yes\n")
    assert not {"'path'", "'split'", "'group'"} & set(re.findall(r"'\w+'", str(caught.value)))
    with expect_error("found ''") as caught:
        source(tmp_path, "path,x,split\na.wav,1,\n")
    assert not {"'train'", "'valid'", "'test'"} & set(re.findall(r"'\w+'", str(caught.value)))


def test_missing_folder_table_and_unknown_kind_of_table(tmp_path: Path):
    with expect_error(f"{tmp_path / 'nowhere'}: no such folder"):
        FolderSource(tmp_path / "nowhere")
    with expect_error(f"{tmp_path}: ", "tags.csv or tags.tsv"):
        FolderSource(tmp_path)
    with expect_error(tmp_path / "my.csv", "No such file"):
        FolderSource(tmp_path, tmp_path / "my.csv")
    with expect_error(tmp_path / "tags.xlsx", "'.xlsx'", ".csv", ".tsv"):
        FolderSource(tmp_path, tmp_path / "tags.xlsx")


@pytest.mark.parametrize(
    ("content", "found"), [("path,x\na.wav,1\nmüll.wav,1\n".encode("latin1"), "fc"), (b"path\0", "00")]
)
def test_text_that_is_not_utf8_names_its_line(tmp_path: Path, content: bytes, found: str):
    (tmp_path / "tags.csv").write_bytes(content)
    line = content.count(b"\n") or 1
    with expect_error(tmp_path / "tags.csv", f"line {line}", f"0x{found}", "UTF-8"):
        FolderSource(tmp_path)


def test_a_name_too_long_for_the_disk_and_a_missing_file_are_left_to_decoding(tmp_path: Path):
    folder = source(tmp_path, f"path,x\n{'a' * 300}.wav,1\nb.wav,0\nc.wav,1\n")
    assert len(folder.clips) == 3


def test_circular_links_are_left_to_decoding(tmp_path: Path):
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    folder = source(tmp_path, "path,x\nself.wav,1\nloop/b.wav,0\nc.wav,1\n")
    for clip in folder.clips:
        with pytest.raises(Undecodable) as caught:
            decode(clip.path, 12_000)
        assert str(caught.value) in {os.strerror(code).lower() for code in (errno.ELOOP, errno.ENOENT)}
