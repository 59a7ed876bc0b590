"""The tagger: log-mel front-end, branches in parallel, merge, head. One builder, all from a config."""

from pathlib import Path

import keras
from keras import layers

from genre_tagger.config import Config, HeadConfig, ModelConfig
from genre_tagger.errors import UserError
from genre_tagger.frontend import LogMelSpectrogram
from genre_tagger.models.augment import SpecAugment
from genre_tagger.models.cnn import cnn_branch
from genre_tagger.models.crnn import crnn_branch
from genre_tagger.models.layers import EPSILON
from genre_tagger.models.musicnn import musicnn
from genre_tagger.models.short_chunk import short_chunk_branch
from genre_tagger.models.wavenet import cascade, wavenet

# Sections of the configuration, each with an output_width, and what builds them of log-mel, section and momentum.
BRANCHES = {
    "wavenet": wavenet,
    "cnn": cnn_branch,
    "crnn": crnn_branch,
    "short_chunk": short_chunk_branch,
    "musicnn": musicnn,
}
OUTPUT_NAME = "probabilities"


def build_tagger(config: Config, num_tags: int) -> keras.Model:
    """Builds the model: `waveform` float32 [batch, samples] -> `probabilities` float32 [batch, tags].

    Raises:
        UserError: the configuration has no branch, or its sizes do not fit together.
    """
    _check(config)
    keras.utils.set_random_seed(config.seed)
    waveform = keras.Input((config.window_samples,), name="waveform")
    log_mel = frontend_layer(config)(waveform)
    if masks := config.training.augment.spectrogram:
        log_mel = SpecAugment(**masks.model_dump(), seed=config.seed, dtype="float32", name="log_mel_masks")(log_mel)
    merged = _merge(_branches(log_mel, config.model), config.model)
    probabilities = _head(merged, config.model.head, config.model.batch_norm_momentum, num_tags)
    return keras.Model(waveform, probabilities, name="tagger")


def load_tagger(path: Path) -> keras.Model:
    """Loads a saved tagger; importing this module has registered its layers.

    Raises:
        UserError: there is no such file, or it is not a saved tagger.
    """
    try:
        return keras.models.load_model(path)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: cannot be loaded as a model ({reason}); train again into another --run") from None


def frontend_layer(config: Config) -> LogMelSpectrogram:
    """The front-end of a configuration, as the tagger holds it."""
    return LogMelSpectrogram(**config.frontend.model_dump(), name="log_mel")


def _branches(log_mel, model: ModelConfig) -> list:
    """The output of each branch in the configuration; WaveNet's input is the cascade's output where there is one."""
    momentum, outputs = model.batch_norm_momentum, []
    for name, section in _sections(model).items():
        is_behind_cascade = name == "wavenet" and model.cascade is not None
        x = cascade(log_mel, model.cascade, momentum) if is_behind_cascade else log_mel
        outputs.append(BRANCHES[name](x, section, momentum))
    return outputs


def _sections(model: ModelConfig) -> dict:
    return {name: section for name in BRANCHES if (section := getattr(model, name)) is not None}


def _merge(branches: list, model: ModelConfig):
    if len(branches) == 1:
        return branches[0]
    return (layers.Concatenate if model.merge == "concat" else layers.Add)(name="merge")(branches)


def _head(x, head: HeadConfig, momentum: float, num_tags: int):
    for number, width in enumerate(head.widths, start=1):
        x = _head_dense(x, width, head, momentum, f"head_dense{number}")
        x = layers.Dropout(head.dropout, name=f"head_dropout{number}")(x)
    return layers.Dense(num_tags, activation="sigmoid", dtype="float32", name=OUTPUT_NAME)(x)


def _head_dense(x, width, head, momentum, name):
    if not head.batch_norm:
        return layers.Dense(width, activation=head.activation, name=name)(x)
    x = layers.Dense(width, name=name)(x)
    x = layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, name=f"{name}_norm")(x)
    return layers.Activation(head.activation, name=f"{name}_activation")(x)


def _check(config: Config) -> None:
    model = config.model
    if config.window_samples < config.frontend.n_fft:
        raise UserError(
            f"config key 'window.seconds': {config.window.seconds} s is {config.window_samples} samples, "
            f"expected at least n_fft = {config.frontend.n_fft}"
        )
    widths = {name: section.output_width for name, section in _sections(model).items()}
    if not widths:
        raise UserError(f"config key 'model': expected a branch ({', '.join(BRANCHES)}), found none")
    if model.merge == "add" and len(set(widths.values())) > 1:
        found = ", ".join(f"{name} {width}" for name, width in widths.items())
        raise UserError(f"config key 'model.merge': add needs branches of one output_width, found {found}")
