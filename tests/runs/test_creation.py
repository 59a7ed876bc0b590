"""Run directories: created, opened again for the same run, refused for another one, and discarded."""

import json
import os

import pytest
from facts import expect_error

from genre_tagger.config import load_config
from genre_tagger.errors import FieldError, UserError
from genre_tagger.runs.creation import check_run, create_run, discard_run, flat
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.record import RunRecord, StartRecord

CONFIG = load_config("small")
RECORD = RunRecord(hash="0" * 64)


def create(path, config=CONFIG, record=RECORD):
    return create_run(path, config, record, ("rock", "slow"), ["GPU:0"])


@pytest.fixture
def run(tmp_path):
    return create(tmp_path / "run")


def test_a_new_run_has_its_configuration_record_tags_and_environment(run):
    assert (run.read_config(), run.read_record()) == (CONFIG, RECORD)
    assert run.tags.read_text().split() == ["rock", "slow"]
    environment = json.loads(run.environment.read_text())
    assert (environment["devices"], environment["seed"]) == (["GPU:0"], 0)
    assert environment["packages"]["keras"]
    assert {path.name for path in run.path.iterdir()} == {"config.yaml", "data.json", "tags.txt", "environment.json"}


def test_the_same_run_is_opened_again(run):
    check_run(run.path, CONFIG)
    before = {path: path.stat().st_mtime_ns for path in run.path.iterdir()}
    assert create(run.path) == run
    assert {path: path.stat().st_mtime_ns for path in run.path.iterdir()} == before


@pytest.mark.parametrize(
    ("override", "facts"),
    [
        ("seed=3", ["seed", "0", "3"]),
        ("training.learning_rate=0.5", ["training.learning_rate", "0.003", "0.5"]),
        ("model.head.widths=[7]", ["model.head.widths", "(7,)"]),
        ("model.spec_augment={}", ["model.spec_augment.masks", "None", "2"]),
    ],
)
def test_another_configuration_raises_an_error_that_names_the_key(run, override, facts):
    other = load_config("small", overrides=[override])
    for refuse in (check_run, create):
        with expect_error(run.path, *facts):
            refuse(run.path, other)


def test_another_batch_size_of_inference_is_the_same_run(run):
    other = load_config("small", overrides=["inference.batch_size=3"])
    check_run(run.path, other)
    assert create(run.path, other) == run


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        (RunRecord(hash="1" * 64), ["00000000", "11111111"]),
        (RunRecord(hash="0" * 64, stream=True), ["prepared", "streamed"]),
        (RunRecord(hash="0" * 64, start=StartRecord(run="/start", digest="2" * 64)), ["/start", "22222222"]),
    ],
)
def test_other_data_or_another_start_raises_an_error(run, record, facts):
    with expect_error(run.path, *facts):
        create(run.path, record=record)


def test_training_does_not_overwrite_imported_weights(tmp_path):
    run = create(tmp_path / "run", record=RunRecord(origin={"licence": "ISC"}))
    for refuse in (check_run, create):
        with expect_error(run.path, "imported"):
            refuse(run.path, CONFIG)


@pytest.mark.parametrize("last", ["tags.txt", "data.json", "environment.json"])
def test_an_interrupted_creation_is_repeated(tmp_path, last):
    run = create(tmp_path / "run")
    names = ["tags.txt", "data.json", "environment.json"]  # in the order in which they are written
    run.config.unlink()
    for name in names[names.index(last) + 1 :]:
        (run.path / name).unlink()
    (run.path / ".config.yaml.tmp").write_text("unfinished")
    other = load_config("small", overrides=["seed=3"])
    check_run(run.path, other)
    assert create(run.path, other).read_config() == other


def test_a_check_leaves_nothing(tmp_path):
    check_run(tmp_path / "run", CONFIG)
    assert not list(tmp_path.iterdir())
    (tmp_path / "run").mkdir()
    check_run(tmp_path / "run", CONFIG)
    assert (tmp_path / "run").is_dir() and not list((tmp_path / "run").iterdir())


def test_a_directory_with_other_files_raises_an_error(tmp_path):
    (tmp_path / "song.mp3").touch()
    with expect_error(tmp_path, "'song.mp3'", kind=FieldError) as caught:
        check_run(tmp_path, CONFIG)
    assert caught.value.field == "run"
    assert [path.name for path in tmp_path.iterdir()] == ["song.mp3"]


def test_a_place_that_cannot_be_written_raises_an_error(tmp_path):
    (tmp_path / "file").touch()
    for refuse in (check_run, create):
        with expect_error(tmp_path / "file" / "run", "cannot be written"):
            refuse(tmp_path / "file" / "run", CONFIG)


def test_nested_sections_become_dotted_keys():
    assert flat({"a": {"b": {"c": 1}, "d": None}, "e": (2,)}) == {"a.b.c": 1, "a.d": None, "e": (2,)}


@pytest.fixture
def begun(run):
    """A run without a finished epoch, as an interrupted training leaves it."""
    for folder in (run.tensorboard, run.report):
        folder.mkdir()
        (folder / "something").touch()
    run.rejected.touch()
    return run


def test_a_run_without_an_epoch_is_removed(begun):
    discard_run(begun)
    assert not begun.path.exists()


def test_other_files_are_kept(begun):
    for name in (".keep", "notes.md"):
        (begun.path / name).touch()
    discard_run(begun)
    assert {path.name for path in begun.path.iterdir()} == {".keep", "notes.md"}


def test_a_run_with_a_model_is_kept(begun):
    begun.model.touch()
    before = sorted(begun.path.rglob("*"))
    discard_run(begun)
    assert sorted(begun.path.rglob("*")) == before


def test_an_edited_record_raises_an_error(run):
    run.record.unlink()
    for refuse in (check_run, create):
        with expect_error(run.record, "No such file", kind=UserError):
            refuse(run.path, CONFIG)


def test_paths_of_a_run_are_below_its_directory(tmp_path):
    run = RunDirectory(tmp_path)
    paths = [value for name in dir(RunDirectory) if isinstance(value := getattr(run, name, None), os.PathLike)]
    assert len(paths) > 12 and all(path.is_relative_to(tmp_path) for path in paths)
    assert run.curves("full") == run.tensorboard / "full" and run.curves(None) == run.tensorboard
