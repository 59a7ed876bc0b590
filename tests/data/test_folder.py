"""The folder source: what a table means, and one clear line for each mistake in it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from genre_tagger.data.decode import Undecodable, decode
from genre_tagger.data.folder import FolderSource
from genre_tagger.errors import UserError


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
    with pytest.raises(UserError, match=r"tags.csv: found 2 group\(s\), expected at least one for each of train"):
        source(tmp_path, "path,x\na.wav,1\nb.wav,0\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"tags.csv: the file is empty, expected a header line"),
        ("path,x\n", r"tags.csv: found a header but no rows"),
        ("Path,x\na.wav,1\n", r"line 1: found no column 'path' \(nearest: 'Path'\)"),
        ("path;tags;split\na.wav;x;\n", r"no column 'path', the first is 'path;tags;split'; expected it, commas betw"),
        (
            'path,tags\na.wav,x\nb.wav,"y|ro\nck"\n',
            r"line 4, column 'tags': found the tag 'ro\\nck', expected names of",
        ),
        ("path,tags\na.wav,ro\u2028ck\n", r"line 2, column 'tags': found the tag 'ro\\u2028ck', expected names of one"),
        ("path,split\na.wav,train\n", r"line 1: found no tags, expected a column for each tag"),
        ("path,x,x\na.wav,1,1\n", r"line 1: found column 'x' twice"),
        ("path,x,\na.wav,1,1\n", r"line 1: column 3 is called '', expected a name"),
        ("path,x\na.wav,1\nb.wav,yes\n", r"line 3, column 'x': found 'yes', expected 0, 1 or blank$"),
        ("path,x,splt\na.wav,1,train\n", r"line 2, column 'splt': found 'train', expected 0, .*\(nearest: 'split'\)"),
        ("path,x\na.wav,1.0\n", r"line 2, column 'x': found '1.0', expected 0, 1 or blank"),
        ("path,x\na.wav,1\n\n,1\n", r"line 4, column 'path': found nothing, expected the path"),
        ("path,x\na.wav,1,0\n", r"line 2: found 3 cells, expected 2"),
        ("path,x\na.wav\n", r"line 2: found 1 cells, expected 2"),
        ("path,x\n/a.wav,1\n", r"line 2, column 'path': found '/a.wav', expected a relative path that stays inside"),
        ("path,x\n../a.wav,1\n", r"line 2, column 'path': found '../a.wav', expected a relative path"),
        ("path,x\nb/../../a.wav,1\n", r"line 2, column 'path': found 'b/../../a.wav', expected a relative path"),
        ("path,x\n.,1\n", r"line 2, column 'path': found '.', expected a relative path"),
        ("path,x\nlink.wav,1\n", r"line 2, column 'path': found 'link.wav', expected a relative path"),
        ("path,x\nlinked/a.wav,1\n", r"line 2, column 'path': found 'linked/a.wav', expected a relative path"),
        ("path,x\na.wav,1\n./a.wav,1\n", r"line 3, column 'path': found './a.wav' again after line 2"),
        (
            "path,x,split\na.wav,1,validation\n",
            r"line 2, column 'split': found 'validation', expected one of .*'valid'",
        ),
        ("path,x,split\na.wav,1,\n", r"line 2, column 'split': found '', expected one of train, valid, test$"),
        ("path,x,split\nb.wav,0,valid\nc.wav,1,test\n", r"tags.csv: found no clip in split 'train'"),
        (
            "path,x,split,group\na.wav,1,train,g\nb.wav,1,test,g\n",
            r"line 3, column 'split': found group 'g' in test and, in line 2, in train, expected all clips of a group",
        ),
        ("path,tags\na.wav,\nb.wav,|\n", r"tags.csv, column 'tags': found no tag in any line"),
        (
            "path,tags,gruop\na.wav,x,g\n",
            r"line 1: found unknown column 'gruop' \(nearest: 'group'\), expected only path",
        ),
        ('path,x\n"a.wav,1\n', r"line 2: unexpected end of data"),
    ],
)
def test_mistakes_are_one_line_with_file_line_and_column(tmp_path: Path, text: str, message: str):
    root = tmp_path / "music"
    root.mkdir()
    (root / "link.wav").symlink_to(tmp_path / "elsewhere.wav")
    (root / "linked").symlink_to(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        source(root, text)
    assert str(root / "tags.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_folder_table_and_unknown_kind_of_table(tmp_path: Path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        FolderSource(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"found no table of tags, expected tags.csv or tags.tsv"):
        FolderSource(tmp_path)
    with pytest.raises(UserError, match=r"my.csv: cannot be read \(No such file"):
        FolderSource(tmp_path, tmp_path / "my.csv")
    with pytest.raises(UserError, match=r"tags.xlsx: found a table called \*.xlsx, expected .csv"):
        FolderSource(tmp_path, tmp_path / "tags.xlsx")


@pytest.mark.parametrize(
    ("content", "found"), [("path,x\na.wav,1\nmüll.wav,1\n".encode("latin1"), "fc"), (b"path\0", "00")]
)
def test_text_that_is_not_utf8_names_its_line(tmp_path: Path, content: bytes, found: str):
    (tmp_path / "tags.csv").write_bytes(content)
    line = content.count(b"\n") or 1
    with pytest.raises(UserError, match=rf"line {line}: found byte 0x{found}, expected text in UTF-8"):
        FolderSource(tmp_path)


def test_a_name_too_long_for_the_disk_and_a_missing_file_are_left_to_decoding(tmp_path: Path):
    folder = source(tmp_path, f"path,x\n{'a' * 300}.wav,1\nb.wav,0\nc.wav,1\n")
    assert len(folder.clips) == 3


def test_links_in_a_circle_are_left_to_decoding(tmp_path: Path):
    (tmp_path / "self.wav").symlink_to(tmp_path / "self.wav")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    folder = source(tmp_path, "path,x\nself.wav,1\nloop/b.wav,0\nc.wav,1\n")
    for clip in folder.clips:
        with pytest.raises(Undecodable, match=r"too many levels of symbolic links|no such file"):
            decode(clip.path, 12_000)
