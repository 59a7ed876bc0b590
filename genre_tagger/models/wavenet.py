"""The WaveNet branch: a cascade of convolutions along the mel axis, then gated residual layers along time."""

from keras import layers

from genre_tagger.config import CascadeConfig, WavenetConfig
from genre_tagger.errors import UserError
from genre_tagger.models.attention import attention_readout
from genre_tagger.models.layers import CausalTaps, ConvBatchNorm, GatedActivation, LastFrame, LastFrames, SkipSum

CASCADE_POOL = 2


def cascade(log_mel, config: CascadeConfig, momentum: float):
    """Adds the cascade: log-mel [batch, frames, mels] -> [batch, frames, bands], with fewer bands than mels.

    1-D convolutions along the mel axis whose channels are the time frames: every later step sees all of time.
    """
    frames = log_mel.shape[1]
    x = layers.Permute((2, 1), name="cascade_mels")(log_mel)
    x = layers.Conv1D(config.width, 1, name="cascade_input")(x)
    for pair, second_padding in enumerate(("valid", "valid", "same"), start=1):
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


def _mel_convolution(x, config, padding, activation, momentum, name):
    """Convolution, batch norm, activation; without an activation the bare convolution."""
    if padding == "valid":
        _check_bands(x.shape[1], config.kernel_size)
    if activation is None:
        return layers.Conv1D(config.width, config.kernel_size, padding=padding, name=name)(x)
    x = ConvBatchNorm(config.width, (config.kernel_size,), padding=padding, momentum=momentum, name=name)(x)
    return layers.Activation(activation, name=f"{name}_activation")(x)


def _check_bands(bands: int, needed: int) -> None:
    if bands < needed:
        raise UserError(
            f"config key 'frontend.n_mels': too few mel bands for the cascade ({bands} left, {needed} needed); "
            "raise n_mels, lower model.cascade.kernel_size, or set model.cascade=none"
        )


def wavenet(x, config: WavenetConfig, momentum: float):
    """Adds the WaveNet (arXiv 1609.03499) along time: [batch, frames, bands] -> [batch, output_width].

    The output is the value at the last time step, which sees the last `config.receptive_field` frames of the input; or
    that of self-attention over all steps.
    """
    reads_all = config.attention is not None
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


def _residual_layer(x, config, dilation, is_last, momentum, name):
    """Returns the residual output (None for the last layer, where nothing reads it) and the input of the skip path."""
    taps = CausalTaps(config.kernel_size, dilation, name=f"{name}_taps")(x)
    norm = {"use_bias": False, "momentum": momentum}
    gated = ConvBatchNorm(2 * config.dilation_channels, (1,), **norm, name=f"{name}_filter_gate")(taps)
    gated = GatedActivation(config.gate, name=f"{name}_gated")(gated)
    if config.dropout:
        gated = layers.Dropout(config.dropout, name=f"{name}_dropout")(gated)
    if is_last:
        return None, gated
    residual = ConvBatchNorm(config.residual_channels, (1,), **norm, name=f"{name}_residual")(gated)
    return layers.Add(name=f"{name}_output")([x, residual]), gated


def _read_out(x, config, momentum):
    """The 1x1 convolution behind the skip sum, at the last time step or with attention over all of them."""
    if config.mix_batch_norm:
        x = ConvBatchNorm(config.skip_channels, (1,), momentum=momentum, name="wavenet_mix")(x)
    if config.attention is None:
        x = LastFrame(name="wavenet_last_frame")(x)  # what follows works on single frames
    if not config.mix_batch_norm:
        x = layers.Dense(config.skip_channels, name="wavenet_mix")(x)
    x = layers.Activation("elu", name="wavenet_mix_activation")(x)
    return x if config.attention is None else attention_readout(x, config.attention, "wavenet_attention")
