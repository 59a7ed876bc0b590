"""The tagger compared with a plain tagger of stock Keras layers: outputs, gradients and training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from genre_tagger.frontend import LogMelSpectrogram
from genre_tagger.models.tagger import build_tagger

TAGS = 3
MOMENTUM = 0.8  # the momentum of the tiny configuration
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def probabilities(model, waveform):
    return np.asarray(model(waveform, training=False))


# A plain tagger, written from the published description of the system, with stock layers only and one line per layer


def plain_norm(name):
    return layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}.norm")


def plain_conv1d(x, filters, size, name, norm=True, activation=None, **options):
    x = layers.Conv1D(filters, size, name=f"{name}.conv", **options)(x)
    x = plain_norm(name)(x) if norm else x
    return layers.Activation(activation)(x) if activation else x


def plain_cnn(log_mel, cnn):
    x = layers.Reshape((*log_mel.shape[1:], 1))(log_mel)
    x = layers.Permute((2, 1, 3))(x)
    for number, (kernels, pool) in enumerate(zip(cnn.kernels, cnn.pools, strict=True), start=1):
        name = f"cnn_block{number}_conv"
        x = layers.Conv2D(kernels, cnn.kernel_size, padding="same", name=f"{name}.conv")(x)
        x = layers.Activation(cnn.activation)(plain_norm(name)(x))
        x = layers.MaxPooling2D(pool)(x)
        x = layers.Dropout(cnn.dropouts[number - 1])(x)
    x = layers.Conv2D(cnn.output_width, cnn.kernel_size, padding="same", name="cnn_output_conv.conv")(x)
    x = layers.Activation(cnn.output_activation)(plain_norm("cnn_output_conv")(x))
    return layers.Dropout(cnn.output_dropout)(layers.GlobalMaxPooling2D()(x))


def plain_cascade(log_mel, cascade):
    frames, width, size = log_mel.shape[1], cascade.width, cascade.kernel_size
    first = {"norm": True, "activation": "relu"} if cascade.first_batch_norm else {"norm": False}
    x = layers.Permute((2, 1))(log_mel)
    x = plain_conv1d(x, width, 1, "cascade_input", norm=False)
    for pair, second_padding in enumerate(("valid", "valid", "same"), start=1):
        x = plain_conv1d(x, width, size, f"cascade_pair{pair}_conv1", **first)
        x = plain_conv1d(x, width, size, f"cascade_pair{pair}_conv2", activation="elu", padding=second_padding)
        x = layers.Dropout(cascade.dropout)(x)
        x = layers.MaxPooling1D(2)(x)
    x = plain_conv1d(x, width, 1, "cascade_mix", norm=cascade.mix_batch_norm, activation="elu")
    x = plain_conv1d(x, frames, 1, "cascade_output", norm=False)
    return layers.Permute((2, 1))(x)


def plain_wavenet(x, net):
    causal = {"padding": "causal", "use_bias": False}
    x = plain_conv1d(x, net.residual_channels, net.kernel_size, "wavenet_input", norm=False, **causal)
    skips = []
    for block in range(1, net.blocks + 1):
        for layer in range(1, net.dilation_depth + 1):
            name, dilation = f"wavenet_block{block}_layer{layer}", {"dilation_rate": 2 ** (layer - 1)}
            sizes = net.dilation_channels, net.kernel_size
            filtered = plain_conv1d(x, *sizes, f"{name}.filter", activation="tanh", **causal, **dilation)
            gate = plain_conv1d(x, *sizes, f"{name}.gate", activation=net.gate, **causal, **dilation)
            gated = layers.Multiply()([filtered, gate])
            gated = layers.Dropout(net.dropout, name=f"{name}.dropout")(gated)
            skips.append(plain_conv1d(gated, net.skip_channels, 1, f"{name}.skip", use_bias=False))
            if (block, layer) != (net.blocks, net.dilation_depth):
                residual = plain_conv1d(gated, net.residual_channels, 1, f"{name}_residual", use_bias=False)
                x = layers.Add()([x, residual])
    x = layers.Activation("elu")(layers.Add()(skips))
    x = plain_conv1d(x, net.skip_channels, 1, "wavenet_mix", norm=net.mix_batch_norm, activation="elu")
    x = plain_conv1d(x, net.output_width, 1, "wavenet_output", norm=False)
    return x[:, -1]


def plain_tagger(config, tags):
    model = config.model
    waveform = keras.Input((config.window_samples,))
    log_mel = LogMelSpectrogram(n_mels=config.frontend.n_mels)(waveform)
    branches = []
    if model.wavenet is not None:
        series = log_mel if model.wavenet.cascade is None else plain_cascade(log_mel, model.wavenet.cascade)
        branches.append(plain_wavenet(series, model.wavenet))
    branches.append(plain_cnn(log_mel, model.cnn))
    merge = layers.Concatenate() if model.merge == "concat" else layers.Add()
    x = merge(branches) if len(branches) > 1 else branches[0]
    for number, width in enumerate(model.head.widths, start=1):
        x = layers.Dense(width, activation=model.head.activation, name=f"head_dense{number}.conv")(x)
        x = layers.Dropout(model.head.dropout)(x)
    return keras.Model(waveform, layers.Dense(tags, activation="sigmoid", name="probabilities.conv")(x))


def assign(convolution, kernel, bias=None, norm=None, norm_weights=None):
    convolution.kernel.assign(ops.reshape(kernel, convolution.kernel.shape))
    if bias is not None:
        convolution.bias.assign(bias)
    if norm is not None:
        for name in NORM:
            getattr(norm, name).assign(norm_weights[name])


def copy_weights(model, plain):
    """Copy the tagger's weights to the plain tagger, which has separate filters, gates and skip convolutions."""
    found = {layer.name: layer for layer in plain.layers}
    number = 0
    for layer in model.layers:
        norm = {name: getattr(layer, name) for name in NORM} if hasattr(layer, "moving_mean") else None
        if layer.name.endswith("_filter_gate"):
            name = layer.name.removesuffix("_filter_gate")
            halves = {"filter": slice(None, layer.filters // 2), "gate": slice(layer.filters // 2, None)}
            for part, half in halves.items():
                part_norm = {key: value[half] for key, value in norm.items()}
                assign(
                    found[f"{name}.{part}.conv"], layer.kernel[..., half], None, found[f"{name}.{part}.norm"], part_norm
                )
        elif layer.name == "wavenet_skips":
            skips = [name.removesuffix(".conv") for name in found if name.endswith(".skip.conv")]
            for number, name in enumerate(skips):
                part_norm = {key: value[number] for key, value in norm.items()}
                assign(found[f"{name}.conv"], layer.kernel[number], None, found[f"{name}.norm"], part_norm)
        elif hasattr(layer, "kernel"):
            assign(found[f"{layer.name}.conv"], layer.kernel, layer.bias, found.get(f"{layer.name}.norm"), norm)


FIRST_VERSION = {
    "cnn__activation": "elu",
    "cnn__output_activation": "elu",
    "wavenet__cascade__first_batch_norm": False,
    "wavenet__cascade__mix_batch_norm": False,
    "wavenet__mix_batch_norm": False,
    "head__widths": [12],
    "head__activation": "elu",
}
CNN_ALONE = {"wavenet": "none", "cnn__output_activation": "relu", "head__widths": []}
PLAIN_CASES = {
    "concat": {},
    "add, elu, other kernels": {
        "merge": "add",
        "cnn__activation": "elu",
        "cnn__kernel_size": 2,
        "wavenet__cascade__kernel_size": 2,
        "wavenet__gate": "elu",
        "wavenet__kernel_size": 3,
        "wavenet__output_width": 7,
    },
    "no cascade": {"wavenet__cascade": "none"},
    "first version": FIRST_VERSION,
    "second version": {"cnn__activation": "elu", "wavenet__cascade__first_batch_norm": False},
    "cnn alone": CNN_ALONE,
}


@pytest.mark.parametrize("changes", PLAIN_CASES.values(), ids=PLAIN_CASES)
def test_equals_the_plain_tagger(changes, tiny_config, noise, randomise, count_by_formula):
    """Both taggers have the same outputs, the same training losses and the same outputs after training."""
    config = tiny_config(head__dropout=0.0, **changes)
    model, plain = build_tagger(config, TAGS), plain_tagger(config, TAGS)
    randomise(model)
    copy_weights(model, plain)
    trained = sum(int(np.prod(weight.shape)) for weight in plain.trainable_weights)
    assert trained == sum(count_by_formula(config, TAGS).values())
    waveform = noise(config)
    before = probabilities(plain, waveform)
    assert np.ptp(before, axis=0).min() > 1e-3  # the clips differ
    np.testing.assert_allclose(probabilities(model, waveform), before, atol=1e-5)
    steps = [noise(config, seed=step) for step in range(3)]
    losses, plain_losses = (train_some(each, steps) for each in (model, plain))
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-3)
    after = probabilities(plain, waveform)
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(probabilities(model, waveform), after, atol=2e-3)


PLAIN_DROPOUTS = {
    "first version": FIRST_VERSION
    | {
        "cnn__dropouts": [0.3, 0.3, 0.3, 0.4],
        "wavenet__cascade__dropout": 0.3,
        "wavenet__dropout": 0.3,
        "head__dropout": 0.5,
    },
    "third version": {"head__dropout": 0.3},
    "cnn alone": CNN_ALONE | {"cnn__dropouts": [0.5, 0.4, 0.5, 0.4], "cnn__output_dropout": 0.5},
}


@pytest.mark.parametrize("changes", PLAIN_DROPOUTS.values(), ids=PLAIN_DROPOUTS)
def test_drops_where_the_plain_tagger_does(changes, tiny_config, noise, randomise, monkeypatch):
    """Dropout layers are at the same places with the same rates. The masks depend on shape and rate only."""
    monkeypatch.setattr(layers.Dropout, "call", drop_fixed)
    config = tiny_config(**changes)
    model, plain = build_tagger(config, TAGS), plain_tagger(config, TAGS)
    randomise(model)
    copy_weights(model, plain)
    waveform = noise(config)
    expected = np.asarray(plain(waveform, training=True))
    assert np.abs(expected - probabilities(plain, waveform)).max() > 1e-2
    np.testing.assert_allclose(np.asarray(model(waveform, training=True)), expected, atol=1e-4)


def drop_fixed(layer, x, training=False):
    if not training or not layer.rate:
        return x
    # The WaveNet computes fewer frames than the plain one, so its masks depend on the channels only.
    shape = x.shape[-1:] if layer.name.startswith("wavenet") else x.shape[1:]
    kept = np.random.default_rng(list(shape)).uniform(size=shape) >= layer.rate
    return x * kept.astype("float32") / (1 - layer.rate)


def train_some(model, waveforms):
    model.compile(
        keras.optimizers.SGD(0.005), loss="binary_crossentropy", run_eagerly=True
    )  # eager, to save the time of tracing
    labels = np.random.default_rng(1).integers(0, 2, (len(waveforms), len(waveforms[0]), TAGS)).astype("float32")
    return [float(model.train_on_batch(*batch)) for batch in zip(waveforms, labels, strict=True)]


def test_training_gradients_equal_the_plain_taggers(tiny_config, noise, randomise):
    config = tiny_config(head__dropout=0.0)
    model, plain = build_tagger(config, TAGS), plain_tagger(config, TAGS)
    randomise(model)
    copy_weights(model, plain)
    waveform = tf.constant(noise(config))
    actual, expected = (waveform_gradient(each, waveform) for each in (model, plain))
    assert np.abs(actual - expected).max() <= 1e-3 * np.abs(expected).max()


def waveform_gradient(model, waveform):
    with tf.GradientTape() as tape:
        tape.watch(waveform)
        loss = ops.sum(ops.log(model(waveform, training=True)))
    return tape.gradient(loss, waveform).numpy()
