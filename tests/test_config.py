"""Configurations: presets, files, overrides, refusals with the nearest names, and the round trip through YAML."""

import types

import pytest
import yaml
from pydantic import ValidationError

from genre_tagger import config as config_module
from genre_tagger.config import Config, load_config, parse_config, preset_names
from genre_tagger.errors import UserError

MISTAKES = {
    "unknown_key": ("learning_rte: 1", r"'learning_rte': unknown"),
    "unknown_nested_key": ("model: {cnn: {kernles: [1]}}", r"'model\.cnn\.kernles': unknown; did you mean .*kernels"),
    "far_from_every_key": ("window: {zzz: 1}", r"'window\.zzz': unknown; expected one of seconds, train, evaluate"),
    "word_for_number": ("training: {batch_size: many}", r"'training\.batch_size': found 'many', expected .*integer"),
    "fraction_for_integer": ("training: {batch_size: 2.5}", r"'training\.batch_size': found 2\.5"),
    "zero": ("training: {epochs: 0}", r"'training\.epochs': found 0, expected .*greater than 0"),
    "rate_of_one": ("model: {head: {dropout: 1.0}}", r"'model\.head\.dropout': found 1\.0, expected .*less than 1"),
    "unknown_choice": ("model: {merge: mul}", r"'model\.merge': found 'mul', expected .*'concat' or 'add'"),
    "number_for_section": ("training: 3", r"'training': found 3"),
    "short_pool": ("model: {cnn: {pools: [[2]]}}", r"'model\.cnn\.pools\.0\.1'"),
    "kernel_of_one": ("model: {wavenet: {kernel_size: 1}}", r"'model\.wavenet\.kernel_size': found 1"),
    "negative_seed": ("seed: -1", r"'seed': found -1"),
    "none_where_needed": ("model: {head: none}", r"'model\.head': found 'none'"),
    "bad_yaml": ("model: [", "not valid YAML"),
    "list": ("- 1", "expected a mapping of configuration keys, found list"),
    "unknown_parent": ("extends: nobody", "my.yaml: extends an unknown preset 'nobody'"),
    "parent_of_wrong_kind": ("extends: 3", "unknown preset '3'"),
    "infinite": ("training: {alpha: .inf}", r"'training\.alpha': found inf"),
    "not_a_number": ("training: {alpha: .nan}", r"'training\.alpha': found nan"),
}


@pytest.fixture
def write(tmp_path):
    """Writes a configuration file and returns its path."""

    def write_file(text, name="my.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


@pytest.fixture
def presets(tmp_path, monkeypatch):
    """Three presets in place of the package's own: one, its child and its grandchild."""
    folder = tmp_path / "presets"
    folder.mkdir()
    texts = {
        "first": "seed: 1\nmodel: {wavenet: {blocks: 2, dilation_depth: 4}, merge: add}\n",
        "second": "extends: first\nmodel: {wavenet: {blocks: 3}}\n",
        "third": "extends: second\nmodel: {cnn: none}\nseed: 3\n",
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "__init__.py").touch()
    monkeypatch.setattr(config_module, "resources", types.SimpleNamespace(files=lambda package: folder))


def test_defaults_are_the_published_system():
    config = load_config()
    assert config == Config()
    assert (config.window_samples, config.frames) == (349_440, 1_366)
    frontend = config.frontend
    assert (frontend.sample_rate, frontend.n_fft, frontend.hop_length, frontend.n_mels) == (12_000, 512, 256, 96)
    assert (frontend.mel_exponent, frontend.amin, frontend.top_db) == (2.0, 1e-10, 80.0)
    assert config.model.cnn.kernels == (64, 128, 128, 128)
    assert config.model.wavenet.receptive_field == 317
    assert config.training.batch_size == 16


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
    assert (config.frontend, config.model) == (Config().frontend, Config().model)
    assert config.window.seconds == 29.12


def test_preset_names_are_sorted_and_bare(presets):
    assert preset_names() == ["first", "second", "third"]


def test_preset_extends_preset(presets):
    config = load_config("third")
    assert config.seed == 3
    assert config.model.cnn is None
    assert (config.model.wavenet.blocks, config.model.wavenet.dilation_depth) == (3, 4)
    assert config.model.merge == "add"
    assert config.training == Config().training


def test_file_extends_preset(presets, write):
    config = load_config(path=write("extends: second\nmodel: {wavenet: {dilation_depth: 5}}\n"))
    assert (config.seed, config.model.wavenet.blocks, config.model.wavenet.dilation_depth) == (1, 3, 5)


def test_override_is_laid_over_the_preset(presets):
    config = load_config("second", overrides=["model.wavenet.blocks=7", "seed=9"])
    assert (config.seed, config.model.wavenet.blocks, config.model.wavenet.dilation_depth) == (9, 7, 4)


def test_override_gives_a_left_out_branch_back(presets):
    assert load_config("third", overrides=["model.cnn.kernel_size=5"]).model.cnn.kernel_size == 5


def test_unknown_preset_names_the_nearest(presets):
    with pytest.raises(UserError, match=r"--preset: unknown preset 'secnd'; did you mean second"):
        load_config("secnd")


def test_preset_and_file_exclude_each_other(presets, write):
    with pytest.raises(UserError, match="--preset and --config"):
        load_config("first", write("seed: 1"))


@pytest.mark.parametrize(
    "override, expected",
    [
        ("seed=5", lambda config: config.seed == 5),
        ("training.learning_rate=1e-4", lambda config: config.training.learning_rate == 1e-4),
        ("training.jit=true", lambda config: config.training.jit is True),
        ("frontend.top_db=null", lambda config: config.frontend.top_db is None),
        ("model.merge=add", lambda config: config.model.merge == "add"),
        ("model.cnn.kernels=[1, 2, 3, 4]", lambda config: config.model.cnn.kernels == (1, 2, 3, 4)),
        ("model.cnn={output_width: 9}", lambda config: config.model.cnn.output_width == 9),
    ],
)
def test_override(override, expected):
    assert not expected(load_config())
    assert expected(load_config(overrides=[override]))


def test_last_override_wins():
    assert load_config(overrides=["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("word", ["none", "null", "~"])
@pytest.mark.parametrize("branch", ["cnn", "cascade", "wavenet"])
def test_branch_can_be_left_out(branch, word):
    config = load_config(overrides=[f"model.{branch}={word}"])
    assert getattr(config.model, branch) is None
    assert parse_config(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize(
    "override, message",
    [
        ("seed", r"--set 'seed': expected KEY=VALUE"),
        ("=5", r"--set '=5': expected KEY=VALUE"),
        ("seed=[", r"--set seed: '\[' is not a valid YAML value"),
        ("model.wavenet.depth=8", r"'model\.wavenet\.depth': unknown; did you mean .*dilation_depth"),
        ("training.batchsize=8", r"'training\.batchsize': unknown; did you mean batch_size"),
        ("seed=few", r"'seed': found 'few'"),
    ],
)
def test_refused_override(override, message):
    with pytest.raises(UserError, match=message):
        load_config(overrides=[override])


@pytest.mark.parametrize("text, message", MISTAKES.values(), ids=MISTAKES)
def test_refused_file(text, message, write):
    with pytest.raises(UserError, match=message) as refusal:
        load_config(path=write(text))
    assert "\n" not in str(refusal.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read"):
        load_config(path=tmp_path / "absent.yaml")


def test_folder_and_binary_file_are_refused(tmp_path):
    binary = tmp_path / "audio.yaml"
    binary.write_bytes(b"\xff\xfb\x90\x00")
    for path in (tmp_path, binary):
        with pytest.raises(UserError, match="cannot be read as a configuration"):
            load_config(path=path)


def test_bad_yaml_names_the_file(write):
    with pytest.raises(UserError, match=r"broken\.yaml: not valid YAML"):
        load_config(path=write("a: b: c", "broken.yaml"))


def test_empty_file_is_the_defaults(write):
    assert load_config(path=write("")) == Config()


def test_frozen():
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        config.model.wavenet.blocks = 1


def test_round_trip_through_a_file(write):
    overrides = ["seed=4", "model.cascade=none", "model.cnn.kernels=[1, 2, 3, 4]", "training.learning_rate=1e-7"]
    config = load_config(overrides=[*overrides, "frontend.top_db=null", "window.hop_seconds=1.5"])
    assert config != Config()
    assert load_config(path=write(config.to_yaml())) == config


def test_resolved_file_states_every_field():
    values = yaml.safe_load(Config().to_yaml())
    assert list(values) == ["seed", "frontend", "window", "model", "training"]
    assert values["model"]["wavenet"]["dilation_depth"] == 6
    assert values["training"]["alpha"] == 1.1
