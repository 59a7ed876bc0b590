"""The musicnn branch: filters shaped after timbre and tempo, densely connected convolutions, max and mean over time."""

from keras import layers

from genre_tagger.config import MusicnnConfig
from genre_tagger.errors import UserError

TIMBRAL_SHARES = (0.4, 0.7)  # of the mel bands that a timbral filter spans
TEMPORAL_FRAMES = (128, 64, 32)  # that a temporal filter spans
KERNEL_FRAMES = 7  # of all other convolutions


def musicnn(log_mel, config: MusicnnConfig, momentum: float):
    """Adds musicnn's branch (arXiv 1711.02520, 1909.06654): log-mel [batch, frames, mels] -> [batch, output_width].

    Every convolution keeps the frames and has its batch norm behind the ReLU, not before it as elsewhere; since a
    scale may be negative, pooling comes last.

    Raises:
        UserError: too few mel bands for its filters.
    """
    _check_bands(log_mel.shape[2])
    image = layers.Reshape((*log_mel.shape[1:], 1), dtype="float32", name="musicnn_image")(log_mel)
    image = layers.BatchNormalization(momentum=momentum, dtype="float32", name="musicnn_input_norm")(image)
    x = layers.Concatenate(name="musicnn_frontend")(_frontend(image, config, momentum))
    x = layers.Concatenate(name="musicnn_midend")(_midend(x, config, momentum))
    pooled = [
        layers.GlobalMaxPooling1D(name="musicnn_max")(x),
        layers.GlobalAveragePooling1D(name="musicnn_mean")(x),
    ]
    x = layers.Concatenate(name="musicnn_pooled")(pooled)
    x = layers.BatchNormalization(momentum=momentum, name="musicnn_pooled_norm")(x)
    x = layers.Dropout(config.dropout, name="musicnn_pooled_dropout")(x)
    x = layers.Dense(config.output_width, activation="relu", name="musicnn_output")(x)
    x = layers.BatchNormalization(momentum=momentum, name="musicnn_output_norm")(x)
    return layers.Dropout(config.dropout, name="musicnn_output_dropout")(x)


def _frontend(image, config, momentum) -> list:
    """Timbral and temporal features, each [batch, frames, filters], the loudest of all mel positions."""
    _, _, mels, _ = image.shape
    padded = layers.ZeroPadding2D(((KERNEL_FRAMES // 2,) * 2, (0, 0)), name="musicnn_timbral_frames")(image)
    shapes = [(KERNEL_FRAMES, int(share * mels)) for share in TIMBRAL_SHARES]
    timbral = [
        _filters(padded, config.timbral_filters, shape, "valid", momentum, f"musicnn_timbral{number}")
        for number, shape in enumerate(shapes, start=1)
    ]
    temporal = [
        _filters(image, config.temporal_filters, (frames, 1), "same", momentum, f"musicnn_temporal{number}")
        for number, frames in enumerate(TEMPORAL_FRAMES, start=1)
    ]
    return timbral + temporal


def _filters(image, filters, kernel_size, padding, momentum, name):
    x = layers.Conv2D(filters, kernel_size, padding=padding, activation="relu", name=name)(image)
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    x = layers.MaxPooling2D((1, x.shape[2]), name=f"{name}_pool")(x)
    return layers.Reshape((x.shape[1], filters), name=f"{name}_frames")(x)


def _midend(x, config, momentum) -> list:
    """The front-end's features and those of three convolutions along time, the later two of them residual."""
    features = [x]
    for number in (1, 2, 3):
        name = f"musicnn_midend{number}"
        y = layers.Conv1D(config.midend_filters, KERNEL_FRAMES, padding="same", activation="relu", name=name)(x)
        y = layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(y)
        x = y if number == 1 else layers.Add(name=f"{name}_residual")([x, y])
        features.append(x)
    return features


def _check_bands(mels: int) -> None:
    if int(min(TIMBRAL_SHARES) * mels) < 1:
        raise UserError(f"config key 'frontend.n_mels': found {mels}, expected at least 3 for model.musicnn")
