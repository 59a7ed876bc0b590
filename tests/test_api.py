"""The Python interface: `train` and `evaluate`, and what `import genre_tagger` loads."""

import subprocess
import sys
from pathlib import Path

import pytest
from facts import expect_error

from genre_tagger import Tagger, evaluate, load_config, train
from genre_tagger.config import parse_config
from genre_tagger.errors import FieldError

TAGS = ("drums", "loud")
CONFIG = {
    "frontend": {"sample_rate": 8000, "n_fft": 256, "n_mels": 16},
    "window": {"seconds": 0.5, "evaluate": "all"},
    "model": {
        "cnn": {"kernels": [2], "pools": [[4, 4]], "dropouts": [0], "output_width": 4},
        "head": {"widths": []},
    },
    "training": {"batch_size": 4, "epochs": 2},
}


@pytest.fixture(scope="module")
def result(shared_music_folder, tmp_path_factory):
    """The result of a training of two epochs."""
    work = tmp_path_factory.mktemp("work")
    return train(
        "folder",
        root=str(shared_music_folder),
        config=parse_config(CONFIG),
        run=work / "run",
        data=work / "data",
        workers=1,
    )


def test_train_returns_what_the_run_directory_holds(result):
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert set(result.metrics["tags"]) == set(TAGS)
    assert set(result.predictions.splits) == {"valid", "test"}
    for file in (result.run.model, result.run.metrics, result.run.predictions):
        assert file.is_file()
    assert result.run.read_config() == parse_config(CONFIG)


def test_a_trained_run_tags(result, shared_music_folder):
    scores = Tagger.load(result.run).tag(shared_music_folder / "a1.wav")
    assert set(scores) == set(TAGS)
    assert all(0 <= score <= 1 for score in scores.values())


def test_evaluate_repeats_the_metrics(result):
    for run in (result.run, str(result.run.path)):
        assert evaluate(run, workers=1) == result.metrics


def test_the_same_call_changes_nothing_and_another_configuration_is_refused(result, shared_music_folder):
    work, before = result.run.path.parent, result.run.model.read_bytes()
    places = {"root": shared_music_folder, "run": result.run.path, "data": work / "data", "workers": 1}
    again = train("folder", config=parse_config(CONFIG), **places)
    assert (again.history, again.metrics) == (result.history, result.metrics)
    assert result.run.model.read_bytes() == before
    with expect_error(result.run.path, "seed"):
        train("folder", config=parse_config(CONFIG | {"seed": 5}), **places)


def test_without_a_configuration_a_start_gives_its_own(result, shared_music_folder, monkeypatch):
    work = result.run.path.parent
    monkeypatch.chdir(work)
    places = {"root": shared_music_folder, "data": work / "data", "workers": 1}
    further = train("folder", init=result.run.path, freeze="cnn", **places)
    assert further.run.path == Path("runs/folder-run")
    assert further.run.read_config() == parse_config(CONFIG)
    assert further.run.read_record().start.frozen == ("cnn",)


@pytest.mark.parametrize(
    ("source", "options", "field"),
    [
        ("folders", {}, "source"),
        ("folder", {}, "root"),
        ("demo", {"root": "music"}, "root"),
        ("folder", {"root": "music", "split": "half"}, "split"),
        ("folder", {"root": "music", "freeze": ["cnn"]}, "freeze"),
        ("folder", {"root": "music", "freeze": [""], "init": "run"}, "freeze"),
        ("folder", {"root": "music", "config": "smal"}, "preset"),
    ],
)
def test_a_wrong_argument_is_named(source, options, field):
    with expect_error(f"{field}: ", kind=FieldError) as error:
        train(source, **options)
    assert error.value.field == field


def test_evaluate_without_a_run_names_the_path(tmp_path):
    with expect_error(tmp_path / "none", "config.yaml"):
        evaluate(tmp_path / "none")


def test_load_config_takes_a_preset_and_overrides():
    assert load_config("small", overrides=["training.epochs=2"]).training.epochs == 2


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'keras', 'numpy', 'pandas', 'pydantic', 'sklearn', 'soundfile', 'tensorflow', 'typer'}"
    check = f"""
import sys, genre_tagger
assert dir(genre_tagger) == [
    'Tagger', 'Undecodable', 'UserError', '__version__', 'evaluate', 'load_config', 'train']
loaded = {heavy} & set(sys.modules)
assert not loaded, loaded
from genre_tagger import load_config
loaded = ({heavy} - {{'pydantic'}}) & set(sys.modules)
assert not loaded, loaded
"""
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_an_unknown_name_is_an_attribute_error():
    import genre_tagger

    with pytest.raises(AttributeError) as error:
        _ = genre_tagger.nothing
    assert "'nothing'" in str(error.value)
