"""Versions appear whole, under the next number, and never in somebody else's directory."""

import pytest

from genre_tagger.errors import UserError
from genre_tagger.export.versions import add_version, check_name


def write(folder, version):
    (folder / "model").write_text(str(version))


def test_versions_count_on_from_the_highest(tmp_path):
    directory = tmp_path / "models" / "tagger"
    assert add_version(directory, "model", write) == directory / "1"
    (directory / "1").rename(directory / "9")
    assert add_version(directory, "model", write) == directory / "10"
    assert (directory / "10" / "model").read_text() == "10"


def test_what_is_unfinished_has_no_number(tmp_path):
    def look(folder, version):
        assert not folder.name.isdecimal()
        assert [path.name for path in tmp_path.iterdir() if path.name.isdecimal()] == []
        write(folder, version)

    add_version(tmp_path, "model", look)


def test_a_failure_leaves_no_version(tmp_path):
    def fail(folder, version):
        write(folder, version)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        add_version(tmp_path, "model", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_export_left_is_removed(tmp_path):
    (tmp_path / ".unfinished-3").mkdir()
    assert add_version(tmp_path, "model", write).name == "1"
    assert not (tmp_path / ".unfinished-3").exists()


@pytest.mark.parametrize("name", ["holiday.jpg", "1", "7/notes"])
def test_a_foreign_directory_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="no exported version"):
        add_version(tmp_path, "model", write)
    assert [path.name for path in tmp_path.iterdir()] == [name.split("/")[0]]


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "tagger").write_text("")
    with pytest.raises(UserError, match="found a file"):
        add_version(tmp_path / "tagger", "model", write)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "two words"])
def test_names_are_fit_for_an_address(name):
    with pytest.raises(UserError, match="--name"):
        check_name(name)
