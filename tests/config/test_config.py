"""Configurations: presets, files, overrides, errors that name the closest keys, and the round trip through YAML."""

import subprocess
import sys

import pytest
import yaml
from facts import expect_error
from pydantic import ValidationError

from genre_tagger.config import Config, load_config, loading, parse_config, preset_names
from genre_tagger.errors import FieldError

# Text of a file, and the facts of the error: the key, the value found, the values expected.
MISTAKES = {
    "unknown_key": ("learning_rte: 1", ("'learning_rte'", "'training'")),
    "unknown_nested_key": ("model: {cnn: {kernles: [1]}}", ("'model.cnn.kernles'", "'kernels'")),
    "far_from_every_key": ("window: {zzz: 1}", ("'window.zzz'", "seconds, train, evaluate, hop_seconds, pooling")),
    "word_for_number": ("training: {batch_size: many}", ("'training.batch_size'", "'many'", "integer")),
    "fraction_for_integer": ("training: {batch_size: 2.5}", ("'training.batch_size'", "2.5", "integer")),
    "zero": ("training: {epochs: 0}", ("'training.epochs'", "found 0,", "greater than 0")),
    "rate_of_one": ("model: {head: {dropout: 1.0}}", ("'model.head.dropout'", "found 1.0,", "less than 1")),
    "unknown_choice": ("model: {merge: mul}", ("'model.merge'", "'mul'", "'concat' or 'add'")),
    "number_for_section": ("training: 3", ("'training'", "found 3,")),
    "short_pool": ("model: {cnn: {pools: [[2]]}}", ("'model.cnn.pools.0.1'",)),
    "kernel_of_one": ("model: {wavenet: {kernel_size: 1}}", ("'model.wavenet.kernel_size'", "found 1,", "2")),
    "negative_seed": ("seed: -1", ("'seed'", "-1")),
    "none_where_needed": ("model: {head: none}", ("'model.head'", "'none'")),
    "bad_yaml": ("model: [", ("my.yaml", "YAML")),
    "list": ("- 1", ("my.yaml", "list")),
    "unknown_parent": ("extends: nobody", ("my.yaml", "extends", "'nobody'")),
    "parent_of_wrong_kind": ("extends: 3", ("my.yaml", "extends", "'3'")),
    "infinite": ("training: {alpha: .inf}", ("'training.alpha'", "inf")),
    "not_a_number": ("training: {alpha: .nan}", ("'training.alpha'", "nan")),
    "other_version": ("schema_version: 3", ("'schema_version'", "found 3,", "2")),
}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a configuration file and returns its path."""

    def write_file(text, name="my.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def presets(tmp_path, monkeypatch):
    """Replace the package's presets by three presets. The second and third each extend the one before."""
    folder = tmp_path / "presets_of_a_test"
    folder.mkdir()
    texts = {
        "first": "seed: 1\nmodel: {wavenet: {cascade: {}, blocks: 2, dilation_depth: 4}, merge: add}\n",
        "second": "extends: first\nmodel: {wavenet: {blocks: 3}, crnn: {}}\n",
        "third": "extends: second\nmodel: {cnn: {}, wavenet: {cascade: none}}\nseed: 3\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(loading, "PRESETS", folder.name)
    yield
    sys.modules.pop(folder.name, None)


def test_defaults_are_the_published_system():
    config = load_config()
    assert config == Config()
    assert (config.window_samples, config.frames) == (349_440, 1_366)
    frontend = config.frontend
    assert (frontend.sample_rate, frontend.n_fft, frontend.hop_length, frontend.n_mels) == (12_000, 512, 256, 96)
    assert (frontend.mel_exponent, frontend.amin, frontend.top_db) == (2.0, 1e-10, 80.0)
    assert (config.training.batch_size, config.inference.batch_size) == (16, 16)
    stable = load_config("stable")
    assert stable.frontend == frontend
    assert stable.model.cnn.kernels == (64, 128, 128, 128)
    assert stable.model.wavenet.receptive_field == 317
    assert stable.model.wavenet.cascade.width == 512


def test_no_branch_by_default():
    model = Config().model
    branches = (model.cnn, model.wavenet, model.crnn, model.short_chunk, model.musicnn, model.spec_augment)
    assert branches == (None,) * 6
    assert parse_config({"model": {"wavenet": {}}}).model.wavenet.cascade is None


@pytest.mark.parametrize("depth, blocks, kernel, field", [(6, 5, 2, 317), (8, 4, 2, 1_022), (3, 1, 3, 17)])
def test_receptive_field(depth, blocks, kernel, field):
    settings = {"dilation_depth": depth, "blocks": blocks, "kernel_size": kernel}
    assert parse_config({"model": {"wavenet": settings}}).model.wavenet.receptive_field == field


def test_dilations_double_within_each_block():
    config = load_config(overrides=["model.wavenet.dilation_depth=3", "model.wavenet.blocks=2"])
    assert config.model.wavenet.dilations == [1, 2, 4, 1, 2, 4]


def test_samples_and_frames_follow_window_and_rate():
    config = load_config(overrides=["window.seconds=2.5", "frontend.sample_rate=16000", "frontend.hop_length=160"])
    assert (config.window_samples, config.hop_samples, config.frames) == (40_000, 40_000, 251)
    config = load_config(overrides=["window.seconds=2.5", "window.hop_seconds=0.5"])
    assert config.hop_samples == 6_000


@pytest.mark.parametrize("name", preset_names())
def test_every_shipped_preset_loads(name):
    config = load_config(name)
    assert parse_config(yaml.safe_load(config.to_yaml())) == config


def test_stable_preset_has_the_published_layers():
    config = load_config("stable")
    assert config.frontend == Config().frontend
    assert config.model == parse_config({"model": {"cnn": {}, "wavenet": {"cascade": {}}}}).model
    assert config.window.seconds == 29.12


def test_preset_names_are_sorted_and_bare(presets):
    assert preset_names() == ["first", "second", "third"]


def test_preset_extends_preset(presets):
    config = load_config("third")
    assert config.seed == 3
    assert config.model.cnn is not None
    assert config.model.wavenet.cascade is None
    assert (config.model.wavenet.blocks, config.model.wavenet.dilation_depth) == (3, 4)
    assert config.model.merge == "add"
    assert config.training == Config().training


def test_file_extends_preset(presets, write):
    config = load_config(path=write("extends: second\nmodel: {wavenet: {dilation_depth: 5}}\n"))
    assert (config.seed, config.model.wavenet.blocks, config.model.wavenet.dilation_depth) == (1, 3, 5)


def test_override_is_laid_over_the_preset(presets):
    config = load_config("second", overrides=["model.wavenet.blocks=7", "seed=9"])
    assert (config.seed, config.model.wavenet.blocks, config.model.wavenet.dilation_depth) == (9, 7, 4)


def test_override_adds_a_branch(presets):
    assert load_config("first", overrides=["model.cnn.kernel_size=5"]).model.cnn.kernel_size == 5
    assert load_config("third", overrides=["model.wavenet.cascade.width=8"]).model.wavenet.cascade.width == 8


def test_unknown_preset_names_the_closest(presets):
    with expect_error("preset", "'secnd'", "'second'", kind=FieldError) as error:
        load_config("secnd")
    assert error.value.field == "preset"


def test_preset_far_from_every_other_lists_them(presets):
    with expect_error("preset", "'zzz'", "first, second, third", kind=FieldError):
        load_config("zzz")


def test_preset_and_file_exclude_each_other(presets, write):
    with expect_error("preset", "file", "both", kind=FieldError) as error:
        load_config("first", write("seed: 1"))
    assert error.value.field == "preset"


def test_a_file_in_place_of_a_preset_is_refused_with_the_name_of_its_argument(write):
    for file in (write("seed: 1"), str(write("seed: 1"))):
        with expect_error("preset", file, "path", kind=FieldError):
            load_config(file)


@pytest.mark.parametrize(
    "override, expected",
    [
        ("seed=5", lambda config: config.seed == 5),
        ("training.learning_rate=1e-4", lambda config: config.training.learning_rate == 1e-4),
        ("training.jit=true", lambda config: config.training.jit is True),
        ("frontend.top_db=null", lambda config: config.frontend.top_db is None),
        ("frontend.top_db=none", lambda config: config.frontend.top_db is None),
        ("model.merge=add", lambda config: config.model.merge == "add"),
        ("model.cnn.kernels=[1, 2, 3, 4]", lambda config: config.model.cnn.kernels == (1, 2, 3, 4)),
        ("model.cnn={output_width: 9}", lambda config: config.model.cnn.output_width == 9),
    ],
)
def test_override(override, expected):
    assert not expected(load_config("stable"))
    assert expected(load_config("stable", overrides=[override]))


def test_last_override_wins():
    assert load_config(overrides=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("word", ["none", "null", "~"])
@pytest.mark.parametrize("branch", ["cnn", "wavenet"])
def test_branch_can_be_left_out(branch, word):
    config = load_config("stable", overrides=[f"model.{branch}={word}"])
    assert getattr(config.model, branch) is None
    assert parse_config(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize("word", ["none", "null", "~"])
def test_cascade_can_be_left_out(word):
    config = load_config("stable", overrides=[f"model.wavenet.cascade={word}"])
    assert config.model.wavenet.cascade is None
    assert parse_config(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize(
    "override, facts",
    [
        ("seed", ("set", "'seed'", "KEY=VALUE")),
        ("=5", ("set", "'=5'", "KEY=VALUE")),
        ("seed=[", ("set", "seed", "'['", "YAML")),
        ("seed.low=1", ("set", "seed.low", "'seed'", "2")),
        ("model.wavenet.depth=8", ("'model.wavenet.depth'", "'dilation_depth'")),
        ("training.batchsize=8", ("'training.batchsize'", "'batch_size'")),
        ("seed=few", ("'seed'", "'few'", "integer")),
    ],
)
def test_refused_override(override, facts):
    with expect_error(*facts):
        load_config(overrides=["seed=2", override])


@pytest.mark.parametrize("text, facts", MISTAKES.values(), ids=MISTAKES)
def test_refused_file(text, facts, write):
    with expect_error(*facts) as refusal:
        load_config(path=write(text))
    assert "\n" not in str(refusal.value)


def test_missing_file_is_named(tmp_path):
    with expect_error("absent.yaml", "No such file"):
        load_config(path=tmp_path / "absent.yaml")


def test_folder_and_binary_file_are_refused(tmp_path):
    binary = tmp_path / "audio.yaml"
    binary.write_bytes(b"\xff\xfb\x90\x00")
    for path, reason in ((tmp_path, "Is a directory"), (binary, "utf-8")):
        with expect_error(path, reason):
            load_config(path=path)


def test_bad_yaml_names_the_file(write):
    with expect_error("broken.yaml", "YAML", "line 1"):
        load_config(path=write("a: b: c", "broken.yaml"))


def test_empty_file_is_the_defaults(write):
    assert load_config(path=write("")) == Config()


def test_frozen():
    config = load_config("stable")
    with pytest.raises(ValidationError):
        config.seed = 1
    with pytest.raises(ValidationError):
        config.model.wavenet.blocks = 1
    assert config == load_config("stable")


def test_round_trip_through_a_file(write):
    overrides = [
        "seed=4",
        "model.wavenet.cascade=none",
        "model.cnn.kernels=[1, 2, 3, 4]",
        "training.learning_rate=1e-7",
    ]
    config = load_config(overrides=[*overrides, "frontend.top_db=null", "window.hop_seconds=1.5"])
    assert config != Config()
    assert load_config(path=write(config.to_yaml())) == config


def test_resolved_file_states_every_field():
    values = yaml.safe_load(load_config("stable").to_yaml())
    assert list(values) == ["schema_version", "seed", "frontend", "window", "model", "training", "inference"]
    assert values["schema_version"] == 2
    assert values["model"]["wavenet"]["dilation_depth"] == 6
    assert values["training"]["alpha"] == 1.1


def run_python(script):
    """Return what a fresh Python process prints."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("module", ["genre_tagger", "genre_tagger.config"])
def test_imports_nothing_heavy(module):
    heavy = "keras", "tensorflow", "numpy", "pandas", "librosa", "matplotlib", "sklearn", "jax", "torch"
    assert run_python(f"import sys, {module}; print(*sys.modules.keys() & {set(heavy)})") == []


def test_import_is_quick():
    """Limit the processor time, in seconds, so that other work on the machine does not matter."""
    (seconds,) = run_python("import time; t = time.process_time(); import genre_tagger; print(time.process_time() - t)")
    assert float(seconds) < 0.2
