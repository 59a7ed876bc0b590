"""The tagger against a plain one of stock Keras layers, hand-counted parameters, causality, configs and files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from genre_tagger.config import Config, WavenetConfig, parse_config
from genre_tagger.errors import UserError
from genre_tagger.frontend import LogMelSpectrogram
from genre_tagger.models.layers import LastFrames
from genre_tagger.models.tagger import build_tagger
from genre_tagger.models.wavenet import cascade, wavenet

TAGS = 3
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
BRANCH_OF_PREFIX = {"cnn": "cnn", "cascade": "cascade", "wavenet": "wavenet", "head": "head", "probabilities": "head"}

# Narrow, short and uneven, so that no two widths agree by chance. The first CNN block and the gates are wide for
# their inputs, and take their batch statistics from them. The WaveNet sees 8 of the 24 frames.
TINY = {
    "frontend": {"n_mels": 40},
    "window": {"seconds": 0.5},
    "model": {
        "cnn": {"kernels": [36, 5, 6, 4], "pools": [[2, 2], [2, 2], [2, 2], [2, 3]], "output_width": 7},
        "cascade": {"width": 8},
        "wavenet": {
            "dilation_depth": 2,
            "blocks": 2,
            "residual_channels": 4,
            "dilation_channels": 17,
            "skip_channels": 10,
            "output_width": 9,
        },
        "head": {"widths": [12, 11]},
        "batch_norm_momentum": 0.8,
    },
}
BATCH = 4


def merged(base, change):
    """Nested values with dotted keys replaced."""
    base = {key: merged(value, {}) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in change.items():
        *sections, last = key.split(".")
        place = base
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return base


def tiny_config(**changes):
    """The tiny config with `section__key=value` changes under `model`."""
    return parse_config(merged(TINY, {"model." + key.replace("__", "."): value for key, value in changes.items()}))


def noise(config, batch=BATCH, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (batch, config.window_samples)).astype("float32")


def randomise(model, seed=0):
    """Random biases, scales, offsets and statistics too, so that none of them is trivial."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.name:
            continue
        if weight.ndim == 1 or weight.path.endswith(NORM):
            value = rng.uniform(0.5, 1.5, weight.shape) if weight.name in NORM else rng.normal(0, 0.1, weight.shape)
            weight.assign(value)


@pytest.fixture(scope="module")
def tiny_model():
    model = build_tagger(tiny_config(), TAGS)
    randomise(model)
    return model


def probabilities(model, waveform):
    return np.asarray(model(waveform, training=False))


# Parameters


def trainable_by_branch(model):
    counts = dict.fromkeys(("cnn", "cascade", "wavenet", "head"), 0)
    for layer in model.layers:
        count = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        if count:
            counts[BRANCH_OF_PREFIX[layer.name.split("_")[0]]] += count
    return counts


def test_published_parameter_counts():
    """The published model, counted by hand from its description."""
    model = build_tagger(Config(), 50)
    cnn = (9 * 1 + 1) * 64 + 2 * 64  # 3x3 with bias, batch norm's scale and offset
    cnn += (9 * 64 + 1) * 128 + 2 * 128
    cnn += 3 * ((9 * 128 + 1) * 128 + 2 * 128)  # two more blocks and the output convolution
    cascade_count = (1366 + 1) * 512  # 1x1 in
    cascade_count += 6 * ((3 * 512 + 1) * 512 + 2 * 512)  # three pairs
    cascade_count += (512 + 1) * 512 + 2 * 512  # 1x1
    cascade_count += (512 + 1) * 1366  # 1x1 back
    layer = 2 * (2 * 32 * 32 + 2 * 32)  # filter and gate of kernel 2, each with batch norm
    layer += 32 * 256 + 2 * 256  # skip
    residual = 32 * 32 + 2 * 32
    wavenet_count = 2 * 9 * 32 + 30 * (layer + residual) - residual  # the last residual reaches no output
    wavenet_count += (256 + 1) * 256 + 2 * 256 + (256 + 1) * 128
    head = (256 + 1) * 512 + (512 + 1) * 256 + (256 + 1) * 50
    assert (cnn, cascade_count, wavenet_count, head) == (518_400, 6_392_150, 520_256 - 1_088, 275_762)
    assert trainable_by_branch(model) == {
        "cnn": cnn,
        "cascade": cascade_count,
        "wavenet": wavenet_count,
        "head": head,
    }
    total = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert total == 7_705_480
    assert round(100 * cascade_count / total) == 83
    assert model.input_shape == (None, 349_440)
    assert model.output_shape == (None, 50)


def convolution(positions, inputs, outputs, bias=True, norm=True):
    return positions * inputs * outputs + bias * outputs + norm * 2 * outputs


def count_cnn(cnn):
    inputs, total = 1, 0
    for outputs in (*cnn.kernels, cnn.output_width):
        total += convolution(cnn.kernel_size**2, inputs, outputs)
        inputs = outputs
    return total


def count_cascade(config):
    width, kernel = config.model.cascade.width, config.model.cascade.kernel_size
    ends = convolution(1, config.frames, width, norm=False) + convolution(1, width, config.frames, norm=False)
    return ends + 6 * convolution(kernel, width, width) + convolution(1, width, width)


def bands_after_cascade(config):
    if config.model.cascade is None:
        return config.frontend.n_mels
    lost = config.model.cascade.kernel_size - 1
    return (((config.frontend.n_mels - 2 * lost) // 2 - 2 * lost) // 2 - lost) // 2


def count_wavenet(config):
    net = config.model.wavenet
    residual, dilated, skip, kernel = net.residual_channels, net.dilation_channels, net.skip_channels, net.kernel_size
    plain = {"bias": False}
    layer = 2 * convolution(kernel, residual, dilated, **plain) + convolution(1, dilated, skip, **plain)
    back = convolution(1, dilated, residual, **plain)
    count = net.dilation_depth * net.blocks
    total = convolution(kernel, bands_after_cascade(config), residual, bias=False, norm=False)
    total += count * layer + (count - 1) * back
    return total + convolution(1, skip, skip) + convolution(1, skip, net.output_width, norm=False)


def count_head(config, tags):
    model = config.model
    widths = [branch.output_width for branch in (model.wavenet, model.cnn) if branch is not None]
    inputs, total = sum(widths) if model.merge == "concat" else widths[0], 0
    for outputs in (*model.head.widths, tags):
        total += convolution(1, inputs, outputs, norm=False)
        inputs = outputs
    return total


def count_by_formula(config, tags):
    model = config.model
    return {
        "cnn": 0 if model.cnn is None else count_cnn(model.cnn),
        "cascade": 0 if model.cascade is None or model.wavenet is None else count_cascade(config),
        "wavenet": 0 if model.wavenet is None else count_wavenet(config),
        "head": count_head(config, tags),
    }


KNOBS = {
    "tiny": {},
    "cnn.kernels": {"cnn__kernels": [3, 5, 6, 8]},
    "cnn.blocks": {"cnn__kernels": [3, 5], "cnn__pools": [[2, 4], [3, 2]], "cnn__dropouts": [0.0, 0.0]},
    "cnn.kernel_size": {"cnn__kernel_size": 2},
    "cnn.output_width": {"cnn__output_width": 13},
    "cascade.width": {"cascade__width": 10},
    "cascade.kernel_size": {"cascade__kernel_size": 2},
    "wavenet.depth": {"wavenet__dilation_depth": 3},
    "wavenet.blocks": {"wavenet__blocks": 3},
    "wavenet.kernel_size": {"wavenet__kernel_size": 3},
    "wavenet.residual_channels": {"wavenet__residual_channels": 6},
    "wavenet.dilation_channels": {"wavenet__dilation_channels": 5},
    "wavenet.skip_channels": {"wavenet__skip_channels": 14},
    "wavenet.output_width": {"wavenet__output_width": 5},
    "head.widths": {"head__widths": [6]},
    "head.none": {"head__widths": []},
    "merge.add": {"merge": "add", "wavenet__output_width": 7},
    "cascade.none": {"cascade": "none"},
    "cnn.none": {"cnn": "none"},
    "wavenet.none": {"wavenet": "none"},
}


@pytest.mark.parametrize("changes", KNOBS.values(), ids=KNOBS)
def test_every_width_and_depth_reaches_the_model(changes):
    config = tiny_config(**changes)
    model = build_tagger(config, TAGS)
    counts = count_by_formula(config, TAGS)
    assert trainable_by_branch(model) == counts
    assert not changes or counts != count_by_formula(tiny_config(), TAGS)
    output = probabilities(model, noise(config))
    assert output.shape == (BATCH, TAGS)
    assert ((output >= 0) & (output <= 1)).all()


def dropout_rates(model):
    return {layer.name: layer.rate for layer in model.layers if isinstance(layer, layers.Dropout) and layer.rate}


def test_every_dropout_reaches_the_model():
    rates = {
        "cnn__dropouts": [0.1, 0.0, 0.2, 0.3],
        "cascade__dropout": 0.4,
        "wavenet__dropout": 0.15,
        "head__dropout": 0.25,
    }
    model = build_tagger(tiny_config(**rates), TAGS)
    by_branch = {}
    for name, rate in dropout_rates(model).items():
        by_branch.setdefault(name.split("_")[0], []).append(rate)
    assert by_branch == {"cnn": [0.1, 0.2, 0.3], "cascade": [0.4] * 3, "wavenet": [0.15] * 4, "head": [0.25] * 2}


@pytest.mark.parametrize("rate, same", [(0.0, True), (0.5, False)])
def test_dropout_acts_in_training_alone(rate, same):
    config = tiny_config(head__dropout=rate)
    model = build_tagger(config, TAGS)
    waveform = noise(config)
    first, second = (np.asarray(model(waveform, training=True)) for _ in range(2))
    assert np.array_equal(first, second) == same
    np.testing.assert_array_equal(probabilities(model, waveform), probabilities(model, waveform))


def test_momentum_reaches_every_batch_norm(tiny_model):
    momenta = {layer.momentum for layer in tiny_model.layers if hasattr(layer, "moving_mean")}
    assert momenta == {0.8}


# A plain tagger, read from the description of the system: stock layers only, one line a published layer


def plain_norm(name):
    return layers.BatchNormalization(momentum=TINY["model"]["batch_norm_momentum"], name=f"{name}.norm")


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
    x = layers.Conv2D(cnn.output_width, cnn.kernel_size, padding="same", name="cnn_output_conv.conv")(x)
    return layers.GlobalMaxPooling2D()(plain_norm("cnn_output_conv")(x))


def plain_cascade(log_mel, width, size):
    frames = log_mel.shape[1]
    x = layers.Permute((2, 1))(log_mel)
    x = plain_conv1d(x, width, 1, "cascade_input", norm=False)
    for pair, second_padding in enumerate(("valid", "valid", "same"), start=1):
        x = plain_conv1d(x, width, size, f"cascade_pair{pair}_conv1", activation="relu")
        x = plain_conv1d(x, width, size, f"cascade_pair{pair}_conv2", activation="elu", padding=second_padding)
        x = layers.MaxPooling1D(2)(x)
    x = plain_conv1d(x, width, 1, "cascade_mix", activation="elu")
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
            skips.append(plain_conv1d(gated, net.skip_channels, 1, f"{name}.skip", use_bias=False))
            if (block, layer) != (net.blocks, net.dilation_depth):
                residual = plain_conv1d(gated, net.residual_channels, 1, f"{name}_residual", use_bias=False)
                x = layers.Add()([x, residual])
    x = layers.Activation("elu")(layers.Add()(skips))
    x = plain_conv1d(x, net.skip_channels, 1, "wavenet_mix", activation="elu")
    x = plain_conv1d(x, net.output_width, 1, "wavenet_output", norm=False)
    return x[:, -1]


def plain_tagger(config, tags):
    model = config.model
    waveform = keras.Input((config.window_samples,))
    log_mel = LogMelSpectrogram(n_mels=config.frontend.n_mels)(waveform)
    series = log_mel
    if model.cascade is not None:
        series = plain_cascade(log_mel, model.cascade.width, model.cascade.kernel_size)
    branches = [plain_wavenet(series, model.wavenet), plain_cnn(log_mel, model.cnn)]
    x = layers.Concatenate()(branches) if model.merge == "concat" else layers.Add()(branches)
    for number, width in enumerate(model.head.widths, start=1):
        x = layers.Dense(width, activation="relu", name=f"head_dense{number}.conv")(x)
    return keras.Model(waveform, layers.Dense(tags, activation="sigmoid", name="probabilities.conv")(x))


def assign(convolution, kernel, bias=None, norm=None, norm_weights=None):
    convolution.kernel.assign(ops.reshape(kernel, convolution.kernel.shape))
    if bias is not None:
        convolution.bias.assign(bias)
    if norm is not None:
        for name in NORM:
            getattr(norm, name).assign(norm_weights[name])


def copy_weights(model, plain):
    """Writes the tagger's weights into the plain tagger, splitting filter from gate and the skips one by one."""
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


PLAIN_CASES = {
    "concat": {},
    "add, elu, other kernels": {
        "merge": "add",
        "cnn__activation": "elu",
        "cnn__kernel_size": 2,
        "cascade__kernel_size": 2,
        "wavenet__gate": "elu",
        "wavenet__kernel_size": 3,
        "wavenet__output_width": 7,
    },
    "no cascade": {"cascade": "none"},
}


@pytest.mark.parametrize("changes", PLAIN_CASES.values(), ids=PLAIN_CASES)
def test_equals_the_plain_tagger(changes):
    """Outputs at inference and in training, then the losses of training and what it leaves."""
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
    losses, plain_losses = (train_some(each, config) for each in (model, plain))
    np.testing.assert_allclose(losses, plain_losses, rtol=1e-3)
    after = probabilities(plain, waveform)
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_allclose(probabilities(model, waveform), after, atol=2e-3)


def train_some(model, config, steps=3):
    model.compile(keras.optimizers.SGD(0.005), loss="binary_crossentropy", run_eagerly=True)  # no wait for a graph
    labels = np.random.default_rng(1).integers(0, 2, (steps, BATCH, TAGS)).astype("float32")
    return [float(model.train_on_batch(noise(config, seed=step), labels[step])) for step in range(steps)]


def test_training_gradients_equal_the_plain_taggers():
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


# Causality and receptive fields


def without_cut(model):
    """The same model and weights with all frames kept, also at inference (where batch norm does not mix time)."""

    def keep_all(layer):
        kept = layers.Identity(name=layer.name) if isinstance(layer, LastFrames) else None
        return kept or type(layer).from_config(layer.get_config())

    clone = keras.models.clone_model(model, clone_function=keep_all)
    clone.set_weights(model.get_weights())
    return clone


def wavenet_model(frames, **options):
    """The WaveNet part alone, on 9 bands, with narrow channels."""
    keras.utils.set_random_seed(1)
    narrow = {"residual_channels": 4, "dilation_channels": 4, "skip_channels": 6, "output_width": 2}
    config = WavenetConfig(**narrow, **options)
    inputs = keras.Input((frames, 9))
    return keras.Model(inputs, wavenet(inputs, config, momentum=0.9)), config


def frames_that_matter(model, x):
    """Whether each input frame has a gradient towards the output."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x, training=False)
    return np.abs(tape.gradient(y, x).numpy()).max((0, 2)) > 0


@pytest.mark.parametrize(
    "depth, blocks, kernel_size, field", [(6, 5, 2, 317), (8, 4, 2, 1_022), (3, 2, 3, 31), (1, 1, 2, 3)]
)
def test_receptive_field(depth, blocks, kernel_size, field):
    """The output sees exactly the last `field` frames, whether or not the frames before them are cut off."""
    frames = field + 40
    model, config = wavenet_model(frames, dilation_depth=depth, blocks=blocks, kernel_size=kernel_size)
    assert config.receptive_field == field
    x = np.random.default_rng(0).normal(size=(2, frames, 9)).astype("float32")
    whole = without_cut(model)
    seen = np.arange(frames) >= frames - field
    np.testing.assert_array_equal(frames_that_matter(whole, x), seen)
    np.testing.assert_array_equal(frames_that_matter(model, x), seen)
    np.testing.assert_allclose(model(x), whole(x), atol=1e-6)


@pytest.mark.parametrize("changed_frame", [1, 20, 38])
def test_residual_layers_are_causal(changed_frame):
    whole = without_cut(wavenet_model(40, dilation_depth=3, blocks=2)[0])
    outputs = [layer.output for layer in whole.layers if layer.name.endswith(("_output", "_taps", "_gated"))]
    residuals = [output for output in outputs if output.ndim == 3]
    assert len(residuals) == 1 + 6 + 6 + 5  # input taps, taps and gate of every layer, outputs of all but the last
    every_step = keras.Model(whole.input, residuals)
    x = np.random.default_rng(0).normal(size=(1, 40, 9)).astype("float32")
    later = x.copy()
    later[:, changed_frame:] += 1.0
    for before, after in zip(every_step(x), every_step(later), strict=True):
        np.testing.assert_array_equal(after[:, :changed_frame], before[:, :changed_frame])
        assert (np.asarray(after[:, changed_frame]) != np.asarray(before[:, changed_frame])).any()


def test_cascade_mixes_all_time():
    config = tiny_config()
    inputs = keras.Input((config.frames, config.frontend.n_mels))
    model = keras.Model(inputs, cascade(inputs, config.model.cascade, momentum=0.9))
    assert model.output_shape == (None, config.frames, bands_after_cascade(config))
    first_frame = keras.Model(inputs, model.output[:, 0])
    x = np.random.default_rng(0).normal(size=(2, *inputs.shape[1:])).astype("float32")
    assert frames_that_matter(first_frame, x).all()


def test_published_cascade_leaves_nine_bands():
    inputs = keras.Input((20, 96))
    assert cascade(inputs, tiny_config().model.cascade, momentum=0.9).shape == (None, 20, 9)


def test_batch_order_does_not_matter(tiny_model):
    waveform = noise(tiny_config(), batch=6)
    order = np.random.default_rng(2).permutation(6)
    expected = probabilities(tiny_model, waveform)
    assert np.ptp(expected, axis=0).min() > 1e-3
    np.testing.assert_allclose(probabilities(tiny_model, waveform[order]), expected[order], atol=1e-6)
    np.testing.assert_allclose(probabilities(tiny_model, waveform[:1]), expected[:1], atol=1e-6)


# Windows, precision, files, refusals


@pytest.mark.parametrize("seconds", [3.0, 5.0, 8.0, 10.0, 29.12])
def test_window_lengths(seconds):
    """The default pools, made for 29.12 s, adapt to every shorter window."""
    config = tiny_config(cnn__pools=[[2, 4], [2, 4], [2, 4], [3, 5]], cnn__kernels=[4, 4, 4, 4])
    config = config.model_copy(update={"window": config.window.model_copy(update={"seconds": seconds})})
    model = build_tagger(config, TAGS)
    assert model.get_layer("log_mel").output.shape[1:] == (config.frames, 40)
    output = probabilities(model, noise(config, batch=2))
    assert output.shape == (2, TAGS)
    assert ((output > 0) & (output < 1)).all()


def test_published_pools():
    shapes = {
        f"cnn_block{number}_pool": shape
        for number, shape in enumerate([(48, 341), (24, 85), (12, 21), (4, 4)], start=1)
    }
    model = build_tagger(parse_config({"model": {"wavenet": "none", "cnn": {"kernels": [2, 2, 2, 2]}}}), TAGS)
    assert {name: model.get_layer(name).output.shape[1:3] for name in shapes} == shapes


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_stays_near(policy, tiny_model):
    config, before = tiny_config(), keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_tagger(config, TAGS)
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(tiny_model.get_weights())
    output = model(noise(config), training=False)
    assert output.dtype == tf.float32
    assert model.get_layer("log_mel").output.dtype == "float32"
    np.testing.assert_allclose(output, probabilities(tiny_model, noise(config)), atol=0.05)


def test_save_and_load(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    waveform = noise(tiny_config())
    np.testing.assert_array_equal(probabilities(loaded, waveform), probabilities(tiny_model, waveform))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in tiny_model.layers]


def test_same_seed_same_weights():
    def weights(seed):
        model = build_tagger(tiny_config().model_copy(update={"seed": seed}), TAGS)
        return {weight.path: np.asarray(weight) for weight in model.trainable_weights}

    first, second, other = weights(0), weights(0), weights(1)
    assert all(np.array_equal(first[path], second[path]) for path in first)
    assert any(not np.array_equal(first[path], other[path]) for path in first)


REFUSED = {
    "unequal widths to add": ({"model.merge": "add"}, r"model\.merge.*wavenet 9.*cnn 7"),
    "no branch": ({"model.cnn": "none", "model.wavenet": "none"}, "expected a cnn or a wavenet branch"),
    "too few bands": ({"frontend.n_mels": 16}, r"frontend\.n_mels.*too few mel bands.*cascade"),
    "too few bands to pool": ({"frontend.n_mels": 26}, r"frontend\.n_mels.*too few mel bands.*cascade"),
    "pools": ({"model.cnn.pools": [[2, 2]]}, r"model\.cnn.*4 kernels, 1 pools, 4 dropouts"),
    "dropouts": ({"model.cnn.dropouts": [0.1]}, r"model\.cnn.*4 kernels, 4 pools, 1 dropouts"),
    "short window": ({"window.seconds": 0.04}, r"window\.seconds.*480 samples.*n_fft = 512"),
}


@pytest.mark.parametrize("changes, message", REFUSED.values(), ids=REFUSED)
def test_refused(changes, message):
    config = parse_config(merged(TINY, changes))
    with pytest.raises(UserError, match=message) as refusal:
        build_tagger(config, TAGS)
    assert "\n" not in str(refusal.value)
