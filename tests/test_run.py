"""A run directory: what is taken away again, tables that are broken."""

import pytest

from genre_tagger.config import load_config
from genre_tagger.errors import UserError
from genre_tagger.run import create_run, discard_run, read_table


@pytest.fixture
def begun(tmp_path):
    """A run of which no epoch is finished, as training leaves it when it ends there."""
    run = create_run(tmp_path / "run", load_config(), {"hash": "0"}, ("rock",))
    for folder in (run.tensorboard, run.report):
        folder.mkdir()
        (folder / "something").touch()
    run.rejected.touch()
    return run


def test_a_run_without_an_epoch_is_gone(begun):
    discard_run(begun)
    assert not begun.path.exists()


def test_what_is_not_of_the_run_stays(begun):
    for name in (".keep", "notes.md"):
        (begun.path / name).touch()
    discard_run(begun)
    assert {path.name for path in begun.path.iterdir()} == {".keep", "notes.md"}


def test_a_trained_model_stays_with_all_around_it(begun):
    begun.model.touch()
    before = sorted(begun.path.rglob("*"))
    discard_run(begun)
    assert sorted(begun.path.rglob("*")) == before


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n1,2,3\n"])
def test_a_broken_table_is_one_line(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(UserError, match=r"history\.csv: cannot be read \(.+\)$") as refused:
        read_table(tmp_path / "history.csv")
    assert "\n" not in str(refused.value)
