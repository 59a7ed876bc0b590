"""Finding audio files and models."""

import os

from facts import expect_error

from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.tagging.audio_files import SUFFIXES, audio_files
from genre_tagger.tagging.window_models import is_model

ODD = ['it\'s "odd"\nsong.MP3', "日本 ünï.flac", os.fsdecode(b"caf\xe9.wav"), "$(touch x);&.ogg", "-i.m4a"]


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_folders_are_walked_in_order_and_named_files_taken_as_they_are(tmp_path):
    touch(tmp_path, "b/2.opus", "b/1.mp3", "a.wav", "c/d/x.M4A", "b/cover.jpg", "b/._1.mp3", ".trash/y.mp3", "odd.bin")
    found = [str(path.relative_to(tmp_path)) for path in audio_files([tmp_path / "odd.bin", tmp_path])]
    assert found == ["odd.bin", "a.wav", "b/1.mp3", "b/2.opus", "c/d/x.M4A"]


def test_linked_folders_are_followed_once_and_loops_end(tmp_path):
    touch(tmp_path, "elsewhere/album/1.mp3", "music/a.wav", "music/b/2.mp3")
    (tmp_path / "music/album").symlink_to(tmp_path / "elsewhere/album")
    (tmp_path / "music/again").symlink_to(tmp_path / "elsewhere/album")
    (tmp_path / "music/b/up").symlink_to(tmp_path / "music")
    found = [str(path.relative_to(tmp_path / "music")) for path in audio_files([tmp_path / "music"])]
    assert found == ["a.wav", "again/1.mp3", "b/2.mp3"]


def test_odd_names_are_found(tmp_path):
    touch(tmp_path, *ODD)
    assert sorted(path.name for path in audio_files([tmp_path])) == sorted(ODD)


def test_a_folder_without_audio_is_named(tmp_path):
    touch(tmp_path, "full/a.mp3", "bare/notes.txt")
    with expect_error(tmp_path / "bare", *SUFFIXES):
        audio_files([tmp_path / "full", tmp_path / "bare"])
    with expect_error(tmp_path / "none.mp3", "no such file"):
        audio_files([tmp_path / "none.mp3"])


def test_models_are_told_from_music_by_their_files(tmp_path):
    touch(
        tmp_path,
        "run/config.yaml",
        "music/1/a.mp3",
        "models/2/saved_model.pb",
        "models/10/saved_model.pb",
        "models/x/y",
    )
    assert [is_model(tmp_path / name) for name in ("run", "models", "models/2", "music", "none")] == [1, 1, 1, 0, 0]
    assert ExportedVersion.find(tmp_path / "models").path == tmp_path / "models/10"
    assert ExportedVersion.find(tmp_path / "models/2").path == tmp_path / "models/2"
