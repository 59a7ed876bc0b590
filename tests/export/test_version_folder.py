"""A version appears complete, under the next number, and never in a directory with other files."""

import pytest
from facts import expect_error

from genre_tagger.export.version_folder import add_version, check_name


def write(folder, version):
    (folder / "model").write_text(str(version))


def test_numbers_continue_from_the_highest(tmp_path):
    directory = tmp_path / "models" / "tagger"
    assert add_version(directory, "model", write) == directory / "1"
    (directory / "1").rename(directory / "9")
    assert add_version(directory, "model", write) == directory / "10"
    assert (directory / "10" / "model").read_text() == "10"


def test_unfinished_version_has_no_number(tmp_path):
    def look(folder, version):
        assert not folder.name.isdecimal()
        assert [path.name for path in tmp_path.iterdir() if path.name.isdecimal()] == []
        write(folder, version)

    add_version(tmp_path, "model", look)


def test_failure_leaves_no_version(tmp_path):
    def fail(folder, version):
        write(folder, version)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        add_version(tmp_path, "model", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_leftovers_of_an_interrupted_export_are_removed(tmp_path):
    (tmp_path / ".unfinished-3").mkdir()
    assert add_version(tmp_path, "model", write).name == "1"
    assert not (tmp_path / ".unfinished-3").exists()


@pytest.mark.parametrize("name", ["holiday.jpg", "1", "7/notes"])
def test_directory_with_other_files_is_refused_and_not_changed(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    first = name.split("/")[0]
    with expect_error(tmp_path, repr(first), "model"):
        add_version(tmp_path, "model", write)
    assert [path.name for path in tmp_path.iterdir()] == [first]


def test_file_in_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "tagger").write_text("")
    with expect_error(tmp_path / "tagger", "found a file"):
        add_version(tmp_path / "tagger", "model", write)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "two words"])
def test_name_that_does_not_fit_into_a_url_is_refused(name):
    with expect_error("name:", repr(name)):
        check_name(name)
