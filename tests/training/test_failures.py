"""Counting the kills of a run: its own progress, and that of its further executions, resets the count."""

import json

import pytest

from genre_tagger.training.failures import KILLS_NAME, MOST_KILLS, TrainingFailed, counting_kills


@pytest.fixture
def killed(tmp_path):
    """Return the directory of a run that was killed as often as is allowed, without progress."""
    run = tmp_path / "small-1"
    run.mkdir()
    (run / KILLS_NAME).write_text(json.dumps({"progress": 0, "kills": MOST_KILLS}))
    return run


def test_a_run_that_is_always_killed_fails(killed):
    with pytest.raises(TrainingFailed), counting_kills(killed):
        pytest.fail("the run was started again")


@pytest.mark.parametrize(("progressed", "fails"), [("small-1", False), ("small-1-2", False), ("small-10", True)])
def test_only_progress_of_the_run_and_its_executions_counts(killed, progressed, fails):
    directory = killed.with_name(progressed)
    directory.mkdir(exist_ok=True)
    (directory / "history.csv").write_text("epoch\n1\n")
    if fails:
        with pytest.raises(TrainingFailed), counting_kills(killed):
            pytest.fail("the run was started again")
        return
    with counting_kills(killed):
        assert json.loads((killed / KILLS_NAME).read_text())["kills"] == 1
    assert not (killed / KILLS_NAME).exists()
