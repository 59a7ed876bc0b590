"""Starting from another run: copied, new and frozen layers, and the starts with which a run can be resumed."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from facts import check_facts, expect_error

from genre_tagger.config import load_config
from genre_tagger.errors import FieldError
from genre_tagger.files import sha256_of
from genre_tagger.models.tagger import build_tagger, load_tagger
from genre_tagger.runs.creation import create_run
from genre_tagger.runs.directory import RunDirectory
from genre_tagger.runs.record import RunRecord
from genre_tagger.runs.run_data import OpenedData
from genre_tagger.sources.registry import SourceOptions
from genre_tagger.training.callbacks import save_model
from genre_tagger.training.fit import compiled_tagger
from genre_tagger.training.start import Start
from genre_tagger.training.train import train_only
from genre_tagger.training.transfer import check_start, freeze, frozen_layers, start_from

TINY = [
    "window.seconds=0.5",
    "model.cnn={kernels: [4, 4], pools: [[2, 2], [4, 4]], dropouts: [0, 0], output_width: 4}",
    "model.wavenet={cascade: {width: 8}, dilation_depth: 2, blocks: 1, residual_channels: 4, dilation_channels: 4, "
    "skip_channels: 8, output_width: 4}",
    "model.head.widths=[8]",
]
TAGS = ("drums", "loud", "slow")


def tiny(*overrides):
    """A tiny configuration."""
    return load_config(overrides=[*TINY, *overrides])


def write_model(run, config, num_tags, added=0.25):
    """Write a model whose weights and moving statistics all differ from those of a new model."""
    model = build_tagger(config, num_tags)
    for weight in model.weights:
        weight.assign(weight + added)
    save_model(model, run)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A trained run of a tiny model."""
    config = tiny("seed=3")
    run = create_run(tmp_path_factory.mktemp("source") / "run", config, RunRecord(hash=""), TAGS)
    write_model(run, config, len(TAGS))
    return run


@pytest.fixture(scope="module")
def tagger():
    return build_tagger(tiny(), 1)


def weighted_names(model):
    return [layer.name for layer in model.layers if layer.weights]


def test_equal_layers_are_copied_and_tags_are_matched_by_name(source):
    model = build_tagger(tiny(), 3)
    line = start_from(Start(source.path), model, tiny(), ("slow", "piano", "drums"))
    theirs = load_tagger(source.model)
    for layer in model.layers[:-1]:
        for ours, other in zip(layer.get_weights(), theirs.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, other)
    kernel, bias = model.layers[-1].get_weights()
    their_kernel, their_bias = theirs.layers[-1].get_weights()
    np.testing.assert_array_equal(kernel[:, [0, 2]], their_kernel[:, [2, 0]])
    np.testing.assert_array_equal(bias, [their_bias[2], 0.0, their_bias[0]])
    check_facts(line, source.path, f"{len(weighted_names(model)) - 1} layers", "2 of 3 tags")
    assert not any(name in line for name in weighted_names(model))  # no new and no frozen layer


def test_layers_of_another_width_keep_their_random_weights_and_are_named(source):
    config = tiny("model.head.widths=[6]")
    model = build_tagger(config, 3)
    before = model.get_layer("head_dense1").get_weights()[0]
    line = start_from(Start(source.path, ("cnn",)), model, config, TAGS)
    np.testing.assert_array_equal(model.get_layer("head_dense1").get_weights()[0], before)
    frozen = [name for name in weighted_names(model) if name.startswith("cnn")]
    check_facts(line, "0 of 3 tags", "head_dense1", ", ".join(frozen))
    assert "wavenet" not in line


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_frozen_layer_keeps_its_weights_and_statistics_and_the_others_learn(precision):
    keras.config.set_dtype_policy(precision)
    try:
        model = compiled_tagger(tiny(), [True, True], 1, ("cascade", "cnn_block1_conv"))
    finally:
        keras.config.set_dtype_policy("float32")
    before = {layer.name: [np.array(weight) for weight in layer.weights] for layer in model.layers if layer.weights}
    model.train_on_batch(np.random.randn(4, 6000).astype("float32"), np.array([[0, 1], [1, 0], [0, 0], [1, 1]]))
    unchanged = {
        name
        for name, weights in before.items()
        if all(np.array_equal(*pair) for pair in zip(weights, model.get_layer(name).weights, strict=True))
    }
    assert unchanged == {name for name in before if name.startswith("cascade")} | {"cnn_block1_conv"}
    assert len(unchanged) > 3


def test_a_frozen_model_answers_in_training_as_at_inference():
    model = build_tagger(tiny("model.head.dropout=0.0"), 2)
    for weight in model.weights:
        weight.assign(weight + 0.1)
    freeze(model, ("cascade", "wavenet", "cnn", "head"))
    waveform = np.random.randn(3, 6000).astype("float32")
    np.testing.assert_allclose(model(waveform, training=True), model(waveform, training=False), atol=1e-5)


def test_layers_are_frozen_by_name_or_prefix(tagger):
    names = weighted_names(tagger)
    assert frozen_layers(tagger, ()) == []
    assert frozen_layers(tagger, ("head_dense1",)) == ["head_dense1"]
    by_prefix = frozen_layers(tagger, ("wavenet_", "cnn"))
    assert by_prefix == [name for name in names if name.startswith(("wavenet_", "cnn"))] and len(by_prefix) > 4


@pytest.mark.parametrize("prefixes", [("cnn", "crnn"), ("probabilities",), ("log_mel",)])
def test_a_prefix_of_no_layer_before_the_output_raises_an_error(tagger, prefixes):
    with expect_error(repr(prefixes[-1]), "cascade", "cnn", "head", "wavenet", kind=FieldError) as caught:
        freeze(tagger, prefixes)
    assert caught.value.field == "freeze"
    assert all(layer.trainable for layer in tagger.layers)


@pytest.mark.parametrize(
    ("overrides", "frozen", "field", "facts"),
    [
        (["frontend.top_db=60"], (), "init", ["frontend.top_db", "80.0", "60.0"]),
        # Another number of frames changes the input channels of the cascade: its layer would start from random weights.
        (["window.seconds=0.6"], ("cnn", "cascade"), "freeze", ["'cascade_input'"]),
        (["model.cnn.kernels=[6, 6]", "model.wavenet=none", "model.cnn.output_width=8"], (), "init", ["layer"]),
    ],
)
def test_a_run_that_cannot_be_started_from_raises_an_error(source, overrides, frozen, field, facts):
    config = tiny(*overrides)
    with expect_error(source.path, *facts, kind=FieldError) as caught:
        check_start(build_tagger(config, 1), config, Start(source.path, frozen))
    assert caught.value.field == field


def test_frozen_layers_are_checked_before_the_training(source, tagger):
    check_start(tagger, tiny(), Start(source.path, ("cnn",)))
    with expect_error("'crnn'", kind=FieldError):
        check_start(tagger, tiny(), Start(source.path, ("crnn",)))


def test_a_missing_run_raises_an_error(tmp_path, tagger):
    with expect_error(tmp_path, "config.yaml"):
        check_start(tagger, tiny(), Start(tmp_path))


SMALL = [
    "window.seconds=0.5",
    "model.cnn={kernels: [4], pools: [[4, 4]], dropouts: [0], output_width: 4}",
    "model.head.widths=[8]",
    "training.batch_size=4",
    "training.epochs=1",
]
START_RECORD = {
    "source": SourceOptions(source="folder", root=Path("/music")),
    "protocol": "full",
    "origin": {"licence": "ISC"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, dataset):
    """A folder with a run `start`, and a run `run` that was started from it and trained for an epoch."""
    folder = tmp_path_factory.mktemp("trained")
    config = load_config(overrides=SMALL)
    origin = create_run(folder / "start", config, RunRecord(hash="0", **START_RECORD), dataset.tags)
    write_model(origin, config, len(dataset.tags), added=0.01)  # more would saturate the output
    train(folder, dataset, Start(origin.path, ("cnn",)))
    return folder


@pytest.fixture
def begun(trained, tmp_path):
    """A copy of the folder that a test may change. The record of the run names the start in the copy."""
    folder = shutil.copytree(trained, tmp_path / "copy")
    data = folder / "run" / "data.json"
    data.write_text(data.read_text().replace(str(trained), str(folder)))
    return folder


def train(folder, dataset, start, name="run"):
    opened = OpenedData(dataset, RunRecord(hash=dataset.hash), None)
    return train_only(folder / name, load_config(overrides=SMALL), opened, start)


def retrain(path):
    write_model(RunDirectory(path), load_config(overrides=SMALL), 2, added=0.02)


def test_the_record_describes_the_start(trained):
    start = RunDirectory(trained / "run").read_record().start
    origin = RunDirectory(trained / "start")
    assert (start.run, start.digest, start.frozen) == (str(origin.path), sha256_of(origin.model), ("cnn",))
    assert {name: getattr(start, name) for name in START_RECORD} == START_RECORD
    before, after = load_tagger(origin.model), load_tagger(trained / "run" / "model.keras")
    same = {
        layer.name: all(map(np.array_equal, layer.get_weights(), after.get_layer(layer.name).get_weights()))
        for layer in before.layers
        if layer.weights
    }
    assert same == {name: name.startswith("cnn") for name in same} and len(set(same.values())) == 2


def moved(folder):
    (folder / "start").rename(folder / "moved")
    return folder / "moved"


def removed(folder):
    shutil.rmtree(folder / "start")
    return folder / "start"


def trained_further(folder):
    retrain(folder / "start")
    return folder / "start"


@pytest.mark.parametrize("change", [lambda folder: folder / "start", moved, removed, trained_further])
def test_a_begun_run_resumes_with_the_same_start(begun, dataset, change):
    run = RunDirectory(begun / "run")
    before = run.record.read_text(), run.checkpoint.stat().st_mtime_ns
    _, history = train(begun, dataset, Start(change(begun), ("cnn",)))
    assert [row["epoch"] for row in history] == [1]
    assert (run.record.read_text(), run.checkpoint.stat().st_mtime_ns) == before


def test_another_start_is_refused(begun, dataset):
    run, origin = begun / "run", begun / "start"
    with expect_error(run, origin, "cnn"):
        train(begun, dataset, None)
    with expect_error(run, origin, "cnn", "head"):
        train(begun, dataset, Start(origin, ("cnn", "head")))
    shutil.copytree(origin, begun / "other")
    retrain(begun / "other")
    with expect_error(run, origin, begun / "other", sha256_of(begun / "other" / "model.keras")[:8]):
        train(begun, dataset, Start(begun / "other", ("cnn",)))


def test_a_run_without_a_checkpoint_needs_the_weights_it_was_begun_with(begun, dataset):
    RunDirectory(begun / "run").checkpoint.unlink()
    digest = sha256_of(begun / "start" / "model.keras")
    retrain(begun / "start")
    with expect_error(begun / "run", digest[:8], sha256_of(begun / "start" / "model.keras")[:8]):
        train(begun, dataset, Start(begun / "start", ("cnn",)))


def test_the_order_of_the_frozen_prefixes_does_not_matter(begun, dataset):
    start = begun / "start"
    train(begun, dataset, Start(start, ("cnn", "head")), name="two")
    _, history = train(begun, dataset, Start(start, ("head", "cnn")), name="two")
    assert len(history) == 1


def test_a_record_of_version_1_resumes_by_the_path_of_its_start(begun, dataset):
    """Version 0.1.0 recorded neither the digest nor the frozen layers."""
    run = RunDirectory(begun / "run")
    run.record.write_text(f'{{"hash": "{dataset.hash}", "stream": false, "init": {{"run": "{begun / "start"}"}}}}')
    assert len(train(begun, dataset, Start(begun / "start", ("cnn",)))[1]) == 1
    with expect_error(begun / "start", begun / "moved"):
        train(begun, dataset, Start(moved(begun), ("cnn",)))
