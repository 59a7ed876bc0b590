"""The WaveNet branch: a cascade of convolutions along the mel axis, then gated residual layers along time."""

from keras import KerasTensor, layers

from genre_tagger.config import CascadeConfig, WavenetConfig
from genre_tagger.errors import UserError
from genre_tagger.models.attention import attention_readout
from genre_tagger.models.layers import (
    CausalTaps,
    ConvBatchNorm,
    GatedActivation,
    LastFrame,
    LastFrames,
    Padding,
    SkipSum,
)

CASCADE_POOL = 2
SECOND_PADDINGS: tuple[Padding, ...] = ("valid", "valid", "same")  # of the second convolution of each pair


def cascade(log_mel: KerasTensor, config: CascadeConfig, momentum: float) -> KerasTensor:
    """Add the cascade: [batch, frames, mels] -> [batch, frames, bands], with fewer bands than mels.

    Builds three pairs of 1-D convolutions along the mel axis, with batch norm, dropout and max pooling, between 1x1
    convolutions. The channels of these convolutions are the time frames, so every output frame depends on all input
    frames.

    Args:
        log_mel: log-mel spectrogram [batch, frames, mels].
        config: configuration of the cascade.
        momentum: momentum of the batch norms.

    Returns:
        Tensor [batch, frames, bands].

    Raises:
        UserError: If there are too few mel bands for the convolutions and pools.
    """
    frames = log_mel.shape[1]
    x = layers.Permute((2, 1), name="cascade_mels")(log_mel)
    x = layers.Conv1D(config.width, 1, name="cascade_input")(x)
    for pair, second_padding in enumerate(SECOND_PADDINGS, start=1):
        first_activation = "relu" if config.first_batch_norm else None
        x = _mel_convolution(x, config, "valid", first_activation, momentum, f"cascade_pair{pair}_conv1")
        x = _mel_convolution(x, config, second_padding, "elu", momentum, f"cascade_pair{pair}_conv2")
        if config.dropout:
            x = layers.Dropout(config.dropout, name=f"cascade_pair{pair}_dropout")(x)
        _check_bands(x.shape[1], CASCADE_POOL)
        x = layers.MaxPooling1D(CASCADE_POOL, name=f"cascade_pair{pair}_pool")(x)
    if config.mix_batch_norm:
        x = ConvBatchNorm(config.width, (1,), momentum=momentum, name="cascade_mix")(x)
    else:
        x = layers.Conv1D(config.width, 1, name="cascade_mix")(x)
    x = layers.Activation("elu", name="cascade_mix_activation")(x)
    x = layers.Conv1D(frames, 1, name="cascade_output")(x)
    return layers.Permute((2, 1), name="cascade_frames")(x)


def _mel_convolution(
    x: KerasTensor, config: CascadeConfig, padding: Padding, activation: str | None, momentum: float, name: str
) -> KerasTensor:
    """Add a convolution along the mel axis with batch norm and activation; without both if `activation` is None."""
    if padding == "valid":
        _check_bands(x.shape[1], config.kernel_size)
    if activation is None:
        return layers.Conv1D(config.width, config.kernel_size, padding=padding, name=name)(x)
    x = ConvBatchNorm(config.width, (config.kernel_size,), padding=padding, momentum=momentum, name=name)(x)
    return layers.Activation(activation, name=f"{name}_activation")(x)


def _check_bands(bands: int, needed: int) -> None:
    if bands < needed:
        raise UserError(
            f"config key 'frontend.n_mels': too few for the cascade, found {bands} mel bands before a layer, expected "
            f"{needed} or more; raise n_mels, lower model.wavenet.cascade.kernel_size, or set model.wavenet.cascade to "
            "none"
        )


def wavenet(log_mel: KerasTensor, config: WavenetConfig, momentum: float) -> KerasTensor:
    """Add the WaveNet branch along time (arXiv 1609.03499): [batch, frames, mels] -> [batch, output_width].

    Builds the cascade if it is configured, a causal convolution, `config.blocks` blocks of gated residual layers with
    dilations 1, 2, 4, ..., the sum of their skip outputs, and a 1x1 convolution. The last time step is the output. It
    depends on the last `config.receptive_field` frames of the WaveNet's input. With `config.attention`, self-attention
    over all time steps replaces the last step.

    Args:
        log_mel: log-mel spectrogram [batch, frames, mels].
        config: configuration of the branch.
        momentum: momentum of the batch norms.

    Returns:
        Tensor [batch, output_width].

    Raises:
        UserError: If there are too few mel bands for the cascade, or if the number of attention heads does not divide
            the number of skip channels.
    """
    reads_all = config.attention is not None
    x = log_mel if config.cascade is None else cascade(log_mel, config.cascade, momentum)
    if not reads_all:
        x = LastFrames(config.receptive_field, name="wavenet_receptive_field")(x)
    x = CausalTaps(config.kernel_size, 1, name="wavenet_input_taps")(x)
    x = layers.Dense(config.residual_channels, use_bias=False, name="wavenet_input")(x)
    skips = []
    for number, dilation in enumerate(config.dilations):
        block, layer = divmod(number, config.dilation_depth)
        is_last = number + 1 == len(config.dilations)
        name = f"wavenet_block{block + 1}_layer{layer + 1}"
        x, skip = _residual_layer(x, config, dilation, is_last, momentum, name)
        skips.append(skip)
    x = SkipSum(config.skip_channels, every_frame=reads_all, momentum=momentum, name="wavenet_skips")(skips)
    x = layers.Activation("elu", name="wavenet_skips_activation")(x)
    x = _read_out(x, config, momentum)
    return layers.Dense(config.output_width, name="wavenet_output")(x)


def _residual_layer(
    x: KerasTensor, config: WavenetConfig, dilation: int, is_last: bool, momentum: float, name: str
) -> tuple[KerasTensor | None, KerasTensor]:
    """Add a gated residual layer: [batch, frames, residual_channels] -> residual output and input of the skip path.

    The residual output has the shape of the input. It is None for the last layer, where it would not be used. The input
    of the skip path is [batch, frames, dilation_channels].
    """
    taps = CausalTaps(config.kernel_size, dilation, name=f"{name}_taps")(x)
    channels = 2 * config.dilation_channels
    gated = ConvBatchNorm(channels, (1,), use_bias=False, momentum=momentum, name=f"{name}_filter_gate")(taps)
    gated = GatedActivation(config.gate, name=f"{name}_gated")(gated)
    if config.dropout:
        gated = layers.Dropout(config.dropout, name=f"{name}_dropout")(gated)
    if is_last:
        return None, gated
    channels = config.residual_channels
    residual = ConvBatchNorm(channels, (1,), use_bias=False, momentum=momentum, name=f"{name}_residual")(gated)
    return layers.Add(name=f"{name}_output")([x, residual]), gated


def _read_out(x: KerasTensor, config: WavenetConfig, momentum: float) -> KerasTensor:
    """Add the 1x1 convolution after the skip sum and the read-out: [batch, frames, channels] -> [batch, channels].

    The read-out is the last time step, or attention over all time steps.
    """
    if config.mix_batch_norm:
        x = ConvBatchNorm(config.skip_channels, (1,), momentum=momentum, name="wavenet_mix")(x)
    if config.attention is None:
        x = LastFrame(name="wavenet_last_frame")(x)  # the remaining layers act on each frame separately
    if not config.mix_batch_norm:
        x = layers.Dense(config.skip_channels, name="wavenet_mix")(x)
    x = layers.Activation("elu", name="wavenet_mix_activation")(x)
    return x if config.attention is None else attention_readout(x, config.attention, "wavenet_attention")
