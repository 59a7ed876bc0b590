"""Search spaces: drawn values, spaces inside others, and the spaces of the package."""

import json

import keras_tuner
import pytest

from genre_tagger.config import load_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.tuning.space import Space, config_with, without
from genre_tagger.tuning.space_file import load_space, parse_space, space_names

DEPTH = "model.wavenet.dilation_depth"
SEED_DEFAULTS = {
    "model.wavenet.dilation_depth": 4,
    "model.wavenet.blocks": 2,
    "model.wavenet.residual_channels": 32,
    "model.wavenet.dilation_channels": 32,
    "model.wavenet.skip_channels": 32,
    "model.wavenet.output_width, model.cnn.output_width": 32,
    "model.cnn.kernels": [64, 128, 128, 128],
    "model.merge": "concat",
    "model.wavenet.gate": "sigmoid",
    "model.wavenet.dropout": 0.0,
    "model.head.dropout": 0.0,
    "training.alpha": 1.0,
    "training.learning_rate": 1e-4,
    "training.batch_size": 16,
}


def drawn(space: Space, count: int = 200) -> list[dict]:
    """Decoded values of random trials."""
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("val_auc", "max"), hyperparameters=space.hyperparameters(), seed=1
    )
    return [space.decode(oracle.populate_space("")["values"]) for _ in range(count)]


def test_the_seed_space_has_the_published_ranges():
    space = load_space("seed")
    assert space.decode(space.hyperparameters().values) == SEED_DEFAULTS
    values = drawn(space)
    assert {row[DEPTH] for row in values} == {4, 5, 6, 7, 8, 9}
    assert {row["model.wavenet.blocks"] for row in values} == {2, 3, 4, 5, 6}
    for name in ("residual_channels", "dilation_channels", "skip_channels"):
        assert {row[f"model.wavenet.{name}"] for row in values} == {32, 64, 128, 256}
    assert {row["model.head.dropout"] for row in values} == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5}
    rates = sorted(row["training.learning_rate"] for row in values)
    assert 1e-4 <= rates[0] < 2e-4 and 5e-3 < rates[-1] <= 1e-2
    assert rates[100] == pytest.approx(1e-3, rel=0.5)  # the middle of the logarithm


@pytest.mark.parametrize("name", ["seed", "demo"])
def test_each_choice_of_a_packaged_space_builds(name):
    space = load_space(name)
    base = load_config("small", overrides=["window={seconds: 0.5, hop_seconds: 0.5}", "model.wavenet.cascade.width=8"])
    choices = {key: entry.examples() for key, entry in space.entries.items()}
    for turn in range(max(map(len, choices.values()))):
        values = {key: examples[turn % len(examples)] for key, examples in choices.items()}
        config = config_with(base, values)
        model = build_tagger(config, num_tags=2)
        layers = {layer.name for layer in model.layers}
        deepest = f"wavenet_block{config.model.wavenet.blocks}_layer{config.model.wavenet.dilation_depth}_gated"
        assert deepest in layers
        assert config.training.learning_rate == values["training.learning_rate"]


def test_packaged_spaces_are_known_by_name():
    assert space_names() == ["demo", "seed"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"min": 0.0, "max": 0.3, "step": 0.1}, [0.0, 0.1, 0.2, 0.3]),
        ({"min": 0.1, "max": 0.48, "step": 0.1}, [0.1, 0.2, 0.3, 0.4]),
        ({"min": 0.001, "max": 0.1, "step": 10, "sampling": "log"}, [0.001, 0.01, 0.1]),
    ],
)
def test_floats_with_a_step_reach_their_end(line, expected):
    space = parse_space({"model.head.dropout": line}, "")
    assert sorted({row["model.head.dropout"] for row in drawn(space)}) == expected
    assert space.lies_in(space)


def test_kerastuner_places_every_step_in_the_middle_of_its_part():
    """The Gaussian process of Bayesian search then learns from the value that was trained."""
    space = parse_space({"model.head.dropout": {"min": 0.0, "max": 0.9, "step": 0.1}}, "")
    (hyperparameter,) = space.hyperparameters().space
    for number in range(10):
        (encoded,) = space.encode({"model.head.dropout": round(number / 10, 1)}).values()
        assert hyperparameter.value_to_prob(encoded) == pytest.approx((number + 0.5) / 10)


def test_values_survive_the_wire_exactly(space):
    """A worker must train exactly what the chief recorded."""
    for trial in range(20):
        hyperparameters = space.hyperparameters()
        for hp in hyperparameters.space:
            hyperparameters.values[hp.name] = hp.random_sample(trial)
        received = keras_tuner.HyperParameters.from_proto(hyperparameters.to_proto())
        assert received.values == hyperparameters.values


def test_encoding_undoes_decoding():
    space = load_space("seed")
    for values in drawn(space, 30):
        assert space.contains(values)
        assert space.decode(space.encode(values)) == values


def test_a_space_survives_yaml():
    space = load_space("seed")
    assert parse_space(json.loads(json.dumps(space.to_dict())), "again") == space


def test_the_values_of_a_trial_replace_those_of_the_base():
    base = load_config("small")
    values = {"model.wavenet.output_width, model.cnn.output_width": 24, "model.cnn.kernels": [1, 2, 3, 4], "seed": 5}
    config = config_with(base, values)
    assert config.model.wavenet.output_width == config.model.cnn.output_width == 24
    assert config.model.cnn.kernels == (1, 2, 3, 4)
    assert config.seed == 5
    assert config.training == base.training
    assert values["model.cnn.kernels"] == [1, 2, 3, 4]


def test_the_fields_of_a_section_that_is_left_out_are_ignored():
    base, key = load_config("small"), "model.wavenet.cascade"
    assert config_with(base, {f"{key}.width": 64, key: "none"}).model.wavenet.cascade is None
    with_section = {key: {"kernel_size": 5}, f"{key}.width": 64}
    cascade = config_with(base, with_section).model.wavenet.cascade
    assert (cascade.width, cascade.kernel_size) == (64, 5)
    assert "width" not in with_section[key]
    without_branch = config_with(base, {"model.wavenet": "none", f"{key}.width": 64, "model.wavenet.blocks": 3})
    assert without_branch.model.wavenet is None


@pytest.mark.parametrize(
    ("narrow", "lies_in"),
    [
        ({DEPTH: {"min": 5, "max": 6}}, True),
        ({DEPTH: 5}, True),
        ({DEPTH: {"values": [4, 9]}}, True),
        ({DEPTH: {"min": 4, "max": 10}}, False),
        ({DEPTH: {"values": [3]}}, False),
        ({"model.wavenet.blocks": 3}, False),
    ],
)
def test_narrower_spaces(narrow, lies_in):
    wide = parse_space({DEPTH: {"min": 4, "max": 9}}, "")
    assert parse_space(narrow, "").lies_in(wide) is lies_in


def test_a_range_between_the_steps_does_not_lie_in_it():
    wide = parse_space({"model.head.dropout": {"min": 0.0, "max": 0.4, "step": 0.2}}, "")
    assert parse_space({"model.head.dropout": {"min": 0.2, "max": 0.4, "step": 0.2}}, "").lies_in(wide)
    assert not parse_space({"model.head.dropout": {"min": 0.0, "max": 0.4, "step": 0.1}}, "").lies_in(wide)
    assert not parse_space({"model.head.dropout": {"min": 0.0, "max": 0.4}}, "").lies_in(wide)


def test_log_ranges_step_by_factors():
    space = parse_space({DEPTH: {"min": 3, "max": 100, "step": 3, "sampling": "log"}}, "")
    assert {row[DEPTH] for row in drawn(space, 100)} == {3, 9, 27, 81}


@pytest.mark.parametrize("line", [5, {"values": [5]}, {"min": 5, "max": 5}, {"min": 5, "max": 6, "step": 2}])
def test_what_has_one_value_is_not_searched(line):
    space = parse_space({DEPTH: line, "model.wavenet.blocks": {"min": 1, "max": 2}}, "")
    assert space.searched == ["model.wavenet.blocks"]
    assert isinstance(space.hyperparameters().space[0], keras_tuner.engine.hyperparameters.Fixed)
    assert {row[DEPTH] for row in drawn(space, 5)} == {5}


def test_a_field_is_taken_out_alone():
    space = parse_space({"training.epochs, training.patience": {"min": 2, "max": 7}, "model.merge": "add"}, "")
    assert max(space.examples("training.epochs")) == 7
    assert without(space, "training.epochs") == parse_space(
        {"training.patience": {"min": 2, "max": 7}, "model.merge": "add"}, ""
    )
    assert space.examples("training.alpha") == []
