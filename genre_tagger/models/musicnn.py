"""The musicnn branch: timbral and temporal filters, densely connected convolutions, max and mean over time."""

from keras import KerasTensor, layers

from genre_tagger.config import MusicnnConfig
from genre_tagger.errors import UserError

TIMBRAL_SHARES = (0.4, 0.7)  # heights of the timbral filters, as shares of the mel bands
TEMPORAL_FRAMES = (128, 64, 32)  # lengths of the temporal filters
KERNEL_FRAMES = 7  # length of all other convolutions


def musicnn(log_mel: KerasTensor, config: MusicnnConfig, momentum: float) -> KerasTensor:
    """Add the musicnn branch (arXiv 1711.02520, 1909.06654): [batch, frames, mels] -> [batch, output_width].

    Builds timbral and temporal filters over the batch-normalised spectrogram, three convolutions along time, the
    maximum and mean of all features over time, and a dense layer. Every convolution keeps the number of frames. Batch
    norm comes after the ReLU here, unlike in the other branches. Pooling comes after batch norm because the scale may
    be negative.

    Args:
        log_mel: log-mel spectrogram [batch, frames, mels].
        config: configuration of the branch.
        momentum: momentum of the batch norms.

    Returns:
        Tensor [batch, output_width].

    Raises:
        UserError: If there are too few mel bands for the timbral filters.
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


def _frontend(image: KerasTensor, config: MusicnnConfig, momentum: float) -> list[KerasTensor]:
    """Return timbral and temporal features, a list of [batch, frames, filters]: maxima over all mel positions."""
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


def _filters(
    image: KerasTensor, filters: int, kernel_size: tuple[int, int], padding: str, momentum: float, name: str
) -> KerasTensor:
    x = layers.Conv2D(filters, kernel_size, padding=padding, activation="relu", name=name)(image)
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    x = layers.MaxPooling2D((1, x.shape[2]), name=f"{name}_pool")(x)
    return layers.Reshape((x.shape[1], filters), name=f"{name}_frames")(x)


def _midend(x: KerasTensor, config: MusicnnConfig, momentum: float) -> list[KerasTensor]:
    """Return the front-end's features and those of three convolutions along time; the last two are residual."""
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
