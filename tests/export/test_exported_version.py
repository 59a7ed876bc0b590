"""Exported versions are found by number and read from their files. Every broken file is a one-line error."""

import json
import shutil

import pytest
import tensorflow as tf
import yaml
from facts import expect_error
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from genre_tagger.export.exported_version import ExportedVersion, digest_of


@pytest.fixture
def folder(tmp_path):
    """A folder of three versions, and of files and folders that are not versions."""
    folder = tmp_path / "tagger"
    for name in ("1", "2", "10", "notes", ".unfinished-11", "2.bak", "-3"):
        (folder / name).mkdir(parents=True)
        (folder / name / "saved_model.pb").touch()
    (folder / "12").mkdir()  # no SavedModel
    (folder / "13").touch()
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def version(exported, tmp_path):
    """A copy of an exported version, which the test may change."""
    return ExportedVersion(shutil.copytree(exported, tmp_path / "tagger" / "1"))


def check_one_line(error):
    assert "\n" not in str(error.value)


def test_versions_are_ordered_by_number_and_everything_else_is_ignored(folder):
    assert [version.path for version in ExportedVersion.all_in(folder)] == [folder / name for name in ("1", "2", "10")]
    assert ExportedVersion.all_in(folder / "12") == ExportedVersion.all_in(folder / "13") == []
    assert ExportedVersion.all_in(folder / "missing") == []


def test_find_returns_the_version_or_the_latest_one_in_a_folder(folder):
    assert ExportedVersion.find(folder) == ExportedVersion(folder / "10")
    assert ExportedVersion.find(folder / "2") == ExportedVersion(folder / "2")
    assert ExportedVersion.find(folder / "notes") == ExportedVersion(folder / "notes")  # renamed by the user
    for path in (folder / "12", folder / "13", folder / "missing", folder.parent):
        assert ExportedVersion.find(path) is None


def test_open_takes_a_version_and_nothing_else(folder):
    assert ExportedVersion.open(folder / "2") == ExportedVersion(folder / "2")
    for path in (folder, folder / "12", folder / "missing"):
        with expect_error(path, "saved_model.pb") as error:
            ExportedVersion.open(path)
        check_one_line(error)


def test_tags_thresholds_configuration_and_release_are_those_of_the_export(exported, run, config):
    version = ExportedVersion.open(exported)
    assert version.tags == tuple(run.tags.read_text(encoding="utf-8").splitlines())
    assert version.config == config
    written = json.loads((exported / "assets/thresholds.json").read_text(encoding="utf-8"))["tags"]
    assert version.thresholds == written and list(version.thresholds) == list(version.tags)
    assert version.release == tuple(int(part) for part in tf.__version__.split("-")[0].split("."))


def test_tags_that_cannot_be_read_are_reported(version):
    path = version.path / "assets/tags.txt"
    path.write_bytes(b"\xff\xfe")
    with expect_error(path) as error:
        assert version.tags
    check_one_line(error)
    path.unlink()
    with expect_error(path):
        assert ExportedVersion(version.path).tags


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"tags": []}', '{"tags": {"rock": 0.5}}', '{"tags": {"rock": "high"}}', "\n\n{\n\n"],
)
def test_broken_thresholds_are_reported(version, content):
    path = version.path / "assets/thresholds.json"
    path.write_text(content)
    with expect_error(path) as error:
        assert version.thresholds
    check_one_line(error)


def test_missing_thresholds_are_reported(version):
    (version.path / "assets/thresholds.json").unlink()
    with expect_error(version.path / "assets/thresholds.json") as error:
        assert version.thresholds
    check_one_line(error)


def test_configuration_of_an_older_schema_is_migrated(version, config):
    """Version 0.1.0 wrote no `schema_version`. It wrote the section of the cascade next to that of the WaveNet."""
    path = version.path / "assets/config.yaml"
    values = yaml.safe_load(path.read_text())
    del values["schema_version"], values["inference"]
    values["model"]["cascade"] = values["model"]["wavenet"].pop("cascade")
    values["training"] |= {"init": None, "freeze": 0, "batch_size": 7}
    path.write_text(yaml.safe_dump(values))
    migrated = version.config
    assert migrated.model == config.model
    assert migrated.window_samples == config.window_samples
    assert migrated.inference.batch_size == 7


@pytest.mark.parametrize(
    ("content", "fact"),
    [("frontend: [12000]", "frontend"), ("frontend: {mels: 3}", "frontend.mels"), ("a: b: c", "YAML"), ("[1]", "list")],
)
def test_broken_configuration_is_reported_with_its_file(version, content, fact):
    path = version.path / "assets/config.yaml"
    path.write_text(content)
    with expect_error(path, fact) as error:
        assert version.config
    check_one_line(error)
    assert str(error.value).count(str(path)) == 1


def test_missing_configuration_is_reported(version):
    (version.path / "assets/config.yaml").unlink()
    with expect_error(version.path / "assets/config.yaml") as error:
        assert version.config
    check_one_line(error)


@pytest.mark.parametrize(("written", "release"), [("2.17.1", (2, 17, 1)), ("2.20.0-rc1", (2, 20, 0))])
def test_release_is_read_from_the_saved_model(tmp_path, written, release):
    saved = SavedModel()
    saved.meta_graphs.add().meta_info_def.tensorflow_version = written
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert ExportedVersion(tmp_path).release == release


NO_SAVED_MODELS = {
    "missing": None,
    "empty": b"",
    "no protocol buffer": b"\xff" * 40,
    "no graph": SavedModel(saved_model_schema_version=1).SerializeToString(),
    "text": b"no model",
}


@pytest.mark.parametrize("content", NO_SAVED_MODELS.values(), ids=NO_SAVED_MODELS)
def test_file_that_is_no_saved_model_is_reported(version, content):
    path = version.path / "saved_model.pb"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with expect_error(path) as error:
        assert version.release
    check_one_line(error)
    with expect_error(version.path) as error:
        version.load()
    check_one_line(error)


def test_damaged_or_missing_weights_are_reported(version):
    (weights,) = (version.path / "variables").glob("*.data-*")
    weights.write_bytes(weights.read_bytes()[:100])
    with expect_error(version.path) as error:
        version.load()
    check_one_line(error)
    shutil.rmtree(version.path / "variables")
    with expect_error(version.path) as error:
        version.load()
    check_one_line(error)
    with expect_error(version.path):
        assert version.files


def test_saved_model_of_something_else_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
    with expect_error(tmp_path / "other", "serving_default"):
        ExportedVersion.open(tmp_path / "other").load()


def test_files_are_those_that_change_the_scores_and_all_files_suffice_to_load(version, tmp_path):
    """The digest changes with each of the files, and does not depend on where the files are."""
    assert {path.relative_to(version.path).parts[0] for path in version.files} == {
        "saved_model.pb",
        "variables",
        "assets",
    }
    digest = digest_of(version.files)
    copy = ExportedVersion(tmp_path / "copy")
    for path in version.all_files:
        target = copy.path / path.relative_to(version.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    assert digest_of(copy.files) == digest
    assert copy.thresholds == version.thresholds
    assert set(copy.load().signatures) >= {"serving_default", "embed"}
    for path in version.files:
        before = path.read_bytes()
        path.write_bytes(before + b"\n")
        assert digest_of(version.files) != digest, path
        path.write_bytes(before)
    assert digest_of(version.files) == digest
    thresholds = version.path / "assets/thresholds.json"
    thresholds.write_text("{}")
    assert digest_of(version.files) == digest  # thresholds change decisions, not scores
