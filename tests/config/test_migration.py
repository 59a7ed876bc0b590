"""Configuration files of version 1: moved keys, branches that every model had, and errors for old keys in version 2."""

import json
from pathlib import Path

import pytest
import yaml
from facts import expect_error

from genre_tagger.config import SpecAugmentConfig, load_config, parse_config, read_run_config

OLD_PRESETS = Path(__file__).parents[1] / "compatibility/v0.1.0/presets.yaml"
ALTERED_SINCE = ()  # presets whose values have changed since version 0.1.0


@pytest.fixture
def load(tmp_path):
    """Return a function that loads the text of a configuration file."""

    def load_text(text, overrides=()):
        path = tmp_path / "old.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path=path, overrides=overrides)

    return load_text


def laid_over(base, change):
    """Return nested values in which the values of `change` replace those of `base`."""
    both = isinstance(base, dict) and isinstance(change, dict)
    return {**base, **{key: laid_over(base.get(key), value) for key, value in change.items()}} if both else change


def old_presets():
    """Return the resolved configurations of the presets of version 0.1.0, as saved by its runs."""
    pinned = yaml.safe_load(OLD_PRESETS.read_text(encoding="utf-8"))
    defaults = pinned.pop("defaults")
    return {name: laid_over(defaults, change) for name, change in pinned.items() if name not in ALTERED_SINCE}


@pytest.mark.parametrize("name, values", old_presets().items(), ids=old_presets())
def test_a_run_of_an_old_preset_has_the_preset_s_configuration(name, values, load):
    assert values.keys() >= {"seed", "frontend", "window", "model", "training"}
    assert "cascade" in values["model"]
    assert load(yaml.safe_dump(values)) == load_config(name)


# Moved keys


def test_cascade_moves_into_the_wavenet(load):
    config = load("model: {cascade: {width: 8}, wavenet: {blocks: 2}}")
    assert (config.model.wavenet.cascade.width, config.model.wavenet.blocks) == (8, 2)


def test_cascade_moves_with_a_parent(load):
    config = load("extends: parallel_64\nmodel: {cascade: {width: 8}}")
    wavenet = load_config("parallel_64").model.wavenet
    assert config.model.wavenet == wavenet.model_copy(
        update={"cascade": wavenet.cascade.model_copy(update={"width": 8})}
    )


@pytest.mark.parametrize("word", ["none", "null"])
@pytest.mark.parametrize("parent", ["", "extends: stable\n"], ids=["alone", "with a parent"])
def test_no_cascade(parent, word, load):
    config = load(f"{parent}model: {{cascade: {word}}}")
    assert config.model == parse_config({"model": {"cnn": {}, "wavenet": {}}}).model


@pytest.mark.parametrize("word", ["none", "null"])
@pytest.mark.parametrize("parent", ["", "extends: stable\n"], ids=["alone", "with a parent"])
def test_no_wavenet_drops_the_cascade(parent, word, load):
    config = load(f"{parent}model: {{wavenet: {word}, cascade: {{width: 8}}}}")
    assert config.model == parse_config({"model": {"cnn": {}}}).model


def test_a_parent_without_a_wavenet_drops_the_cascade(load):
    assert load("extends: crnn_baseline\nmodel: {cascade: {width: 8}}").model == load_config("crnn_baseline").model


@pytest.mark.parametrize("parent", ["", "extends: stable\n"], ids=["alone", "with a parent"])
def test_masks_move_to_the_model(parent, load):
    config = load(f"{parent}training: {{augment: {{spectrogram: {{masks: 3}}, gain_db: 6}}}}")
    assert config.model.spec_augment == SpecAugmentConfig(masks=3)
    assert config.training.augment.gain_db == 6
    assert config.model.wavenet == load_config("stable").model.wavenet


def test_no_masks(load):
    assert load("training: {augment: {spectrogram: none}}").model.spec_augment is None


@pytest.mark.parametrize("parent", ["", "extends: stable\n"], ids=["alone", "with a parent"])
@pytest.mark.parametrize("key, value", [("init", "runs/first"), ("freeze", 3)])
def test_start_of_training_is_dropped_from_the_file_of_a_run_only(parent, key, value, load, tmp_path):
    with expect_error(f"'training.{key}'", repr(value), f"--{key}"):
        load(f"{parent}training: {{{key}: {value}, epochs: 2}}")
    config = read_run_config(tmp_path / "old.yaml")  # data.json has the start of a run
    assert config.training == load_config("stable", overrides=["training.epochs=2"]).training


@pytest.mark.parametrize("parent", ["", "extends: stable\n"], ids=["alone", "with a parent"])
def test_batch_size_was_that_of_inference_too(parent, load):
    config = load(f"{parent}training: {{batch_size: 3}}")
    assert (config.training.batch_size, config.inference.batch_size) == (3, 3)
    config = load(f"{parent}training: {{batch_size: 3}}\ninference: {{batch_size: 5}}")
    assert (config.training.batch_size, config.inference.batch_size) == (3, 5)
    config = load(f"{parent}schema_version: 2\ntraining: {{batch_size: 3}}")
    assert (config.training.batch_size, config.inference.batch_size) == (3, 16)


# Branches, which version 1 built unless a file excluded them


@pytest.mark.parametrize(
    "text",
    [
        "training: {init: null}",
        "training: {freeze: 0}",
        "training: {augment: {spectrogram: null}}",
        "model: {cascade: {}}",
        "model: {cnn: {}, cascade: {}}",
        "model: {wavenet: {}, cascade: {}}",
    ],
)
def test_a_file_with_old_keys_has_the_branches_of_version_1(text, load):
    assert load(text).model == load_config("stable").model


def test_excluded_branches_stay_excluded(load):
    model = load("model: {cnn: none, cascade: none, crnn: {}}").model
    assert model == parse_config({"model": {"wavenet": {}, "crnn": {}}}).model


@pytest.mark.parametrize("version", ["", "schema_version: 2\n"], ids=["no version", "version 2"])
def test_a_file_without_old_keys_has_the_branches_that_it_names(version, load):
    assert load(f"{version}model: {{cnn: {{}}}}").model == parse_config({"model": {"cnn": {}}}).model


def test_an_empty_file_of_a_run_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    with expect_error(tmp_path / "config.yaml"):
        read_run_config(tmp_path / "config.yaml")


# Old keys in version 2

REFUSED = {
    "cascade": ("model: {cascade: {width: 8}}", ("'model.cascade'", "'model.wavenet.cascade'")),
    "masks": ("training: {augment: {spectrogram: {}}}", ("'training.augment.spectrogram'", "'model.spec_augment'")),
    "init": ("training: {init: runs/first}", ("'training.init'", "--init")),
    "freeze": ("training: {freeze: 3}", ("'training.freeze'", "--freeze")),
}


@pytest.mark.parametrize("parent", ["", "extends: stable\n"], ids=["alone", "with a parent"])
@pytest.mark.parametrize("text, facts", REFUSED.values(), ids=REFUSED)
def test_old_keys_are_refused_in_version_2(text, facts, parent, load):
    with expect_error(*facts):
        load(f"{parent}schema_version: 2\n{text}")


OVERRIDES = {
    "model.cascade=none": ("'model.cascade'", "'model.wavenet.cascade'"),
    "model.cascade.width=8": ("'model.cascade'", "'model.wavenet.cascade'"),
    "training.augment.spectrogram={}": ("'training.augment.spectrogram'", "'model.spec_augment'"),
    "training.augment.spectrogram.masks=1": ("'training.augment.spectrogram'", "'model.spec_augment'"),
    "training.init=runs/first": ("'training.init'", "--init"),
    "training.freeze=3": ("'training.freeze'", "--freeze"),
}


@pytest.mark.parametrize("override, facts", OVERRIDES.items(), ids=OVERRIDES)
def test_old_keys_are_refused_as_overrides(override, facts, load):
    with expect_error(*facts):
        load_config("stable", overrides=[override])
    with expect_error(*facts):  # also if the file has version 1 and is migrated
        load("model: {cascade: {}}", overrides=[override])


def test_overrides_apply_after_the_migration(load):
    config = load("model: {cascade: {width: 8}}", overrides=["model.wavenet.cascade.kernel_size=2"])
    assert (config.model.wavenet.cascade.width, config.model.wavenet.cascade.kernel_size) == (8, 2)


INVALID = {
    "model": "{model: 3, training: {augment: {spectrogram: {}}, init: null}}",
    "model.wavenet": "{model: {wavenet: 3, cascade: {}}}",
    "model.wavenet.cascade": "{model: {cascade: 3}}",
    "training": "{training: 3}",
    "training.augment": "{training: {augment: 3}}",
    "inference": "{inference: 3, training: {batch_size: 2}}",
}


@pytest.mark.parametrize("key, text", INVALID.items(), ids=INVALID)
def test_invalid_sections_are_reported_by_name(key, text, load):
    with expect_error(f"'{key}'", "found 3,"):
        load(text)


def test_a_migrated_configuration_is_written_in_version_2(load):
    config = load("extends: small\nmodel: {cascade: {width: 8}}\ntraining: {augment: {spectrogram: {}}}")
    values = yaml.safe_load(config.to_yaml())
    assert values["schema_version"] == 2
    assert values == json.loads(config.model_dump_json())
    assert load(config.to_yaml()) == config
