"""The tagger's architecture in stock Keras layers, with the loss, optimizer and metrics of Keras, for comparison.

It supports configurations like preset `stable`: both branches, merged by concatenation, with dropout only in the head.
"""

import keras
from keras import layers

from genre_tagger.config import CascadeConfig, CnnConfig, Config, FrontendConfig, WavenetConfig


def plain_tagger(config: Config, num_tags: int) -> keras.Model:
    """Build the model: waveform [batch, samples] -> probabilities [batch, tags]."""
    model = config.model
    waveform = keras.Input((config.window_samples,))
    log_mel = _log_mel(waveform, config.frontend)
    wavenet = _wavenet(_cascade(log_mel, model.wavenet.cascade), model.wavenet)
    x = layers.Concatenate()([wavenet, _cnn(log_mel, model.cnn)])
    for width in model.head.widths:
        x = layers.Dropout(model.head.dropout)(layers.Dense(width, model.head.activation)(x))
    return keras.Model(waveform, layers.Dense(num_tags, "sigmoid")(x))


def compiled_plain_tagger(config: Config, num_tags: int) -> keras.Model:
    """Build the plain tagger, compiled for training as in Keras' guides."""
    model = plain_tagger(config, num_tags)
    areas = [keras.metrics.AUC(curve=curve, multi_label=True, num_labels=num_tags) for curve in ("ROC", "PR")]
    model.compile(keras.optimizers.Adam(config.training.learning_rate), "binary_crossentropy", metrics=areas)
    return model


def _log_mel(waveform, config: FrontendConfig):
    """Return [batch, frames, mels]. Keras clamps relative to the maximum of the batch and pads by reflection."""
    mel = layers.MelSpectrogram(
        fft_length=config.n_fft,
        sequence_stride=config.hop_length,
        sampling_rate=config.sample_rate,
        num_mel_bins=config.n_mels,
        min_freq=config.fmin_hz,
        max_freq=config.fmax_hz,
        min_power=config.amin,
    )(waveform)
    return layers.Permute((2, 1))(layers.Rescaling(config.mel_exponent)(mel))


def _normalised(x, activation=None):
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


def _cnn(log_mel, config: CnnConfig):
    x = layers.Permute((2, 1))(log_mel)
    x = layers.Reshape((*x.shape[1:], 1))(x)
    for kernels, pool in zip(config.kernels, config.pools, strict=True):
        x = _normalised(layers.Conv2D(kernels, config.kernel_size, padding="same")(x), config.activation)
        x = layers.MaxPooling2D([min(size, left) for size, left in zip(pool, x.shape[1:3], strict=True)])(x)
    x = _normalised(layers.Conv2D(config.output_width, config.kernel_size, padding="same")(x))
    return layers.GlobalMaxPooling2D()(x)


def _cascade(log_mel, config: CascadeConfig):
    x = layers.Conv1D(config.width, 1)(layers.Permute((2, 1))(log_mel))
    for second_padding in ("valid", "valid", "same"):
        x = _normalised(layers.Conv1D(config.width, config.kernel_size)(x), "relu")
        x = _normalised(layers.Conv1D(config.width, config.kernel_size, padding=second_padding)(x), "elu")
        x = layers.MaxPooling1D(2)(x)
    x = _normalised(layers.Conv1D(config.width, 1)(x), "elu")
    return layers.Permute((2, 1))(layers.Conv1D(log_mel.shape[1], 1)(x))


def _wavenet(x, config: WavenetConfig):
    x = layers.Conv1D(config.residual_channels, config.kernel_size, padding="causal", use_bias=False)(x)
    skips = []
    for number, dilation in enumerate(config.dilations, start=1):
        gated = layers.Multiply()([_dilated(x, config, dilation, gate) for gate in ("tanh", config.gate)])
        skips.append(_normalised(layers.Conv1D(config.skip_channels, 1, use_bias=False)(gated)))
        if number < len(config.dilations):  # the residual output of the last layer would not be used
            x = layers.Add()([x, _normalised(layers.Conv1D(config.residual_channels, 1, use_bias=False)(gated))])
    x = layers.Activation("elu")(layers.Add()(skips))
    x = _normalised(layers.Conv1D(config.skip_channels, 1)(x), "elu")
    return layers.Conv1D(config.output_width, 1)(x)[:, -1]


def _dilated(x, config: WavenetConfig, dilation: int, activation: str):
    convolution = layers.Conv1D(
        config.dilation_channels, config.kernel_size, padding="causal", dilation_rate=dilation, use_bias=False
    )
    return _normalised(convolution(x), activation)
