"""Starting from another run: what is taken, what begins anew, what stays frozen."""

import json

import keras
import numpy as np
import pytest

from genre_tagger.config import load_config
from genre_tagger.errors import UserError
from genre_tagger.models.tagger import build_tagger, load_tagger
from genre_tagger.run import create_run
from genre_tagger.training.callbacks import save_model
from genre_tagger.training.fit import compiled_tagger
from genre_tagger.training.transfer import check_start, freeze, start_from

TINY = [
    "window.seconds=0.5",
    "model.cnn={kernels: [4, 4], pools: [[2, 2], [4, 4]], dropouts: [0, 0], output_width: 4}",
    "model.cascade.width=8",
    "model.wavenet={dilation_depth: 2, blocks: 1, residual_channels: 4, dilation_channels: 4, skip_channels: 8, "
    "output_width: 4}",
    "model.head.widths=[8]",
]
TAGS = ("drums", "loud", "slow")


def tiny(*overrides):
    """A tiny configuration."""
    return load_config(overrides=[*TINY, *overrides])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run of a tiny model with weights of its own, as training leaves it."""
    config = tiny("seed=3")
    run = create_run(tmp_path_factory.mktemp("source") / "run", config, {"hash": ""}, TAGS)
    model = build_tagger(config, len(TAGS))
    for weight in model.weights:  # moving statistics too are others than those of a new model
        weight.assign(weight + 0.25)
    save_model(model, run)
    return run


def test_same_layers_are_taken_and_tags_go_by_name(source):
    model = build_tagger(tiny(), 3)
    said = start_from(source.path, model, tiny(), ("slow", "piano", "drums"))
    theirs = load_tagger(source.model)
    for layer in model.layers[:-1]:
        for ours, other in zip(layer.get_weights(), theirs.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, other)
    kernel, bias = model.layers[-1].get_weights()
    their_kernel, their_bias = theirs.layers[-1].get_weights()
    np.testing.assert_array_equal(kernel[:, [0, 2]], their_kernel[:, [2, 0]])
    np.testing.assert_array_equal(bias, [their_bias[2], 0.0, their_bias[0]])
    assert "the output of 2 of 3 tags" in said and "new" not in said


def test_layers_of_another_width_begin_anew_and_are_named(source):
    config = tiny("model.head.widths=[6]")
    model = build_tagger(config, 3)
    before = model.get_layer("head_dense1").get_weights()[0]
    said = start_from(source.path, model, config, TAGS)
    np.testing.assert_array_equal(model.get_layer("head_dense1").get_weights()[0], before)
    assert said.endswith("the output of 0 of 3 tags; new: head_dense1")


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_frozen_layer_keeps_weights_and_statistics_and_the_rest_learns(precision):
    keras.config.set_dtype_policy(precision)
    try:
        model = compiled_tagger(tiny("training.freeze=5", "training.init=run"), [True, True], steps=1)
    finally:
        keras.config.set_dtype_policy("float32")
    weighted = [layer for layer in model.layers if layer.weights]
    before = [[np.array(weight) for weight in layer.weights] for layer in weighted]
    model.train_on_batch(np.random.randn(4, 6000).astype("float32"), np.array([[0, 1], [1, 0], [0, 0], [1, 1]]))
    changed = [
        any(not np.array_equal(old, new) for old, new in zip(olds, layer.weights, strict=True))
        for olds, layer in zip(before, weighted, strict=True)
    ]
    assert not any(changed[:5]) and all(changed[5:])


def test_a_frozen_model_answers_in_training_as_at_inference():
    model = build_tagger(tiny("model.head.dropout=0.0"), 2)
    for weight in model.weights:
        weight.assign(weight + 0.1)
    freeze(model, sum(bool(layer.weights) for layer in model.layers) - 1)
    waveform = np.random.randn(3, 6000).astype("float32")
    np.testing.assert_allclose(model(waveform, training=True), model(waveform, training=False), atol=1e-5)


def test_freezing_everything_is_refused():
    model = build_tagger(tiny(), 2)
    count = sum(bool(layer.weights) for layer in model.layers)
    with pytest.raises(UserError, match=f"--freeze {count}: the model has {count - 1} layers .* before its output"):
        freeze(model, count)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["frontend.top_db=60"], r"frontend\.top_db is 80\.0 there, 60\.0 here"),
        # Other frames: the cascade's channels, so that it begins anew, which nobody wants frozen.
        (["window.seconds=0.6", "training.freeze=9"], "--freeze 9: layer 'cascade_input' begins anew"),
        (["model.cnn.kernels=[6, 6]", "model.wavenet=none", "model.cnn.output_width=8"], "no layer in common"),
    ],
)
def test_what_nothing_could_start_from_is_refused(source, overrides, expected):
    config = tiny(*overrides, f"training.init={json.dumps(str(source.path))}")
    with pytest.raises(UserError, match=expected):
        check_start(build_tagger(config, 1), config)


def test_frozen_layers_need_a_run(source):
    with pytest.raises(UserError, match="--freeze 2: goes with --init RUN"):
        check_start(build_tagger(tiny(), 1), tiny("training.freeze=2"))


def test_a_missing_run_is_refused(tmp_path):
    config = tiny(f"training.init={json.dumps(str(tmp_path))}")
    with pytest.raises(UserError, match="not a run directory"):
        check_start(build_tagger(config, 1), config)
