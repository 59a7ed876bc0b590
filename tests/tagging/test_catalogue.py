"""Catalogues of files and folders, of a list, and of a prefix of an object store."""

import os
from pathlib import Path

import pytest
from facts import expect_error
from pyarrow import fs

from genre_tagger.errors import FieldError
from genre_tagger.tagging import catalogue
from genre_tagger.tagging.catalogue import Catalogue, open_file

NAMES = ("b.flac", "a/1 & 2's.mp3", "a/音.OGG", "notes.txt", ".hidden/c.wav", "a/._b.flac")
AUDIO = ("a/1 & 2's.mp3", "a/音.OGG", "b.flac")


@pytest.fixture
def bucket(tmp_path, monkeypatch) -> fs.SubTreeFileSystem:
    """A folder in place of the store `s3://`, with objects in the bucket `music`."""
    for name in NAMES:
        (tmp_path / "music/rock" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "music/rock" / name).write_bytes(name.encode())
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr(catalogue.fs, "FileSystem", FakeStore(store))
    return store


class FakeStore:
    def __init__(self, store):
        self._store = store

    def from_uri(self, uri):
        return self._store, uri.removeprefix("s3://").rstrip("/")


def test_a_prefix_names_all_audio_below_it(bucket):
    found = Catalogue.of_prefix("s3://music/rock")
    assert list(found.stamps) == [f"s3://music/rock/{name}" for name in sorted(AUDIO)]
    for name, key in zip(found.stamps, sorted(AUDIO), strict=True):
        with open_file(name, found.store) as file:
            assert file.read() == key.encode()


def test_a_prefix_of_a_real_file_system(tmp_path):
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "sub dir" / "50%.wav").write_bytes(b"sound")
    found = Catalogue.of_prefix(f"file://{tmp_path}")
    assert list(found.stamps) == [f"file://{tmp_path}/sub dir/50%.wav"]
    with open_file(next(iter(found.stamps)), found.store) as file:
        assert file.read() == b"sound"


def test_a_list_of_objects(bucket, tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text("s3://music/rock/b.flac\r\n\ns3://music/rock/a/音.OGG\ns3://music/rock/b.flac", encoding="utf-8")
    found = Catalogue.of_list(listing)
    assert list(found.stamps) == ["s3://music/rock/b.flac", "s3://music/rock/a/音.OGG"]
    with open_file(list(found.stamps)[1], found.store) as file:
        assert file.read() == "a/音.OGG".encode()


def test_a_list_of_paths_keeps_names_as_the_disk_has_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = b"\xe9t\xe9 \x85 'x'.mp3"  # not UTF-8
    Path(os.fsdecode(name)).write_bytes(b"sound")
    Path("list.txt").write_bytes(name + b"\n")
    found = Catalogue.of_list(Path("list.txt"))
    assert list(found.stamps) == [os.fsdecode(name)]
    with open_file(next(iter(found.stamps)), found.store) as file:
        assert file.read() == b"sound"


def test_files_and_folders_keep_the_names_that_they_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "music").mkdir()
    for name in ("music/b.mp3", "music/a.wav", "c.flac"):
        Path(name).touch()
    found = Catalogue.of_files([Path("c.flac"), Path("music"), Path("c.flac"), tmp_path / "c.flac"])
    assert list(found.stamps) == ["c.flac", "music/a.wav", "music/b.mp3", f"{tmp_path}/c.flac"]
    assert found.store is None


def test_a_stamp_tells_one_content_from_another_however_it_is_listed(tmp_path):
    song = tmp_path / "a.wav"

    def stamps():
        (tmp_path / "list").write_text(f"{song}\n")
        ways = (
            Catalogue.of_files([song]),
            Catalogue.of_list(tmp_path / "list"),
            Catalogue.of_prefix(f"file://{tmp_path}"),
        )
        return {stamp for way in ways for stamp in way.stamps.values()}

    seen = set()
    for content, changed in ((b"sound", 1), (b"sound", 2), (b"longer", 2)):
        song.write_bytes(content)
        os.utime(song, ns=(0, changed))
        assert len(stamps()) == 1
        seen |= stamps()
    assert len(seen) == 3


def test_what_cannot_be_looked_at_has_no_stamp(bucket, tmp_path):
    for number, name in enumerate((f"{tmp_path}/gone.wav", "s3://music/rock/b.flac")):
        listing = tmp_path / f"list{number}"
        listing.write_text(name)
        assert dict(Catalogue.of_list(listing).stamps) == {name: ""}


@pytest.mark.parametrize(
    ("uri", "facts"),
    [
        ("ftp://music/rock", ["s3://", "gs://", "file://"]),
        ("file:///no/such/folder", ["listed"]),
        ("file://{empty}", [".mp3", ".flac"]),
        ("s3://no bucket/", ["opened"]),
    ],
)
def test_prefixes_that_cannot_be_tagged(uri, facts, tmp_path):
    (tmp_path / "notes.txt").touch()
    uri = uri.format(empty=tmp_path)
    with expect_error(uri, *facts, kind=FieldError) as error:
        Catalogue.of_prefix(uri)
    assert error.value.field == "catalogue"


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("\n \n", ["no lines"]),
        ("/music/a.mp3\0/music/b.mp3\0", ["NUL", "-print0"]),
        ("/music/a.mp3\ns3://music/b.mp3\n", ["'/music/a.mp3'", "'s3://music/b.mp3'"]),
        ("s3://rock/a.mp3\ns3://pop/b.mp3\n", ["'s3://rock/a.mp3'", "'s3://pop/b.mp3'"]),
    ],
)
def test_lists_that_cannot_be_tagged(text, facts, tmp_path):
    listing = tmp_path / "list.txt"
    listing.write_text(text)
    with expect_error(listing, *facts, kind=FieldError) as error:
        Catalogue.of_list(listing)
    assert error.value.field == "catalogue"


def test_a_list_that_does_not_exist(tmp_path):
    with expect_error(tmp_path / "list.txt", "No such file"):
        Catalogue.of_list(tmp_path / "list.txt")
