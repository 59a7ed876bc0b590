"""Typed configuration of a run: defaults, presets, overrides. Unknown keys are refused, with the nearest names."""

import difflib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from genre_tagger.errors import UserError


def _none_word(value: Any) -> Any:
    return None if value == "none" else value


NoneWord = BeforeValidator(_none_word)  # `none` for None, in files and on the command line
Activation = Literal["relu", "elu"]
Rate = Annotated[float, Field(ge=0, lt=1)]
PoolSize = tuple[PositiveInt, PositiveInt]


class Section(BaseModel):
    """Base of every part of the configuration: frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FrontendConfig(Section):
    """Log-mel spectrogram; the defaults are the published system's."""

    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] = 12_000
    n_fft: PositiveInt = 512
    hop_length: PositiveInt = 256
    n_mels: PositiveInt = 96
    fmin_hz: Annotated[float, Field(ge=0)] = 0.0
    fmax_hz: PositiveFloat | None = None  # None: half the sample rate
    center: bool = True  # False: no zeros at the edges of a window, but at those of a clip, before it is cut
    mel_exponent: PositiveFloat = 2.0  # the power spectrogram is squared once more before the logarithm
    compression: Literal["db", "log10"] = "db"  # log10: log10(10000 * power + 1), without amin and top_db
    amin: PositiveFloat = 1e-10
    top_db: PositiveFloat | None = 80.0  # None: no clamp below the clip's own maximum

    @property
    def clip_margin(self) -> int:
        """Samples of zeros before and after a clip, where its windows have none of their own."""
        return 0 if self.center else self.n_fft // 2

    @field_validator("n_fft")
    @classmethod
    def _is_even(cls, n_fft: int) -> int:
        if n_fft % 2:
            raise ValueError("an even number of samples")
        return n_fft

    @model_validator(mode="after")
    def _bands_lie_below_nyquist(self) -> "FrontendConfig":
        nyquist = self.sample_rate / 2
        if not self.fmin_hz < (self.fmax_hz or nyquist) <= nyquist:
            raise ValueError(f"fmin_hz below fmax_hz, and both within half the sample rate, {nyquist:g} Hz")
        return self


class WindowConfig(Section):
    """How a clip becomes windows, in training and in evaluation."""

    seconds: PositiveFloat = 29.12
    train: Literal["center", "random"] = "center"
    evaluate: Literal["center", "all", "whole"] = "center"  # whole: all but the one aligned to the clip's end
    hop_seconds: PositiveFloat | None = None  # None: windows side by side
    pooling: Literal["mean", "max"] = "mean"  # of the window scores of a clip

    @model_validator(mode="after")
    def _hop_leaves_no_gap(self) -> "WindowConfig":
        if self.hop_seconds is not None and not self.seconds / 1000 <= self.hop_seconds <= self.seconds:
            raise ValueError("hop_seconds between a thousandth of the window's seconds and all of them")
        return self


class CnnConfig(Section):
    """CNN branch on the mels x frames image; pools are (mels, frames)."""

    block: Literal["plain", "resnext"] = "plain"
    kernels: tuple[PositiveInt, ...] = (64, 128, 128, 128)
    kernel_size: PositiveInt = 3
    cardinality: PositiveInt = 32  # groups of a resnext block's middle convolution
    squeeze_excite: Annotated[Literal["average", "max"] | None, NoneWord] = None  # max: of the pooled image
    pools: tuple[PoolSize, ...] = ((2, 4), (2, 4), (2, 4), (3, 5))
    dropouts: tuple[Rate, ...] = (0.0, 0.0, 0.0, 0.0)
    activation: Activation = "relu"
    output_width: PositiveInt = 128
    output_activation: Annotated[Activation | None, NoneWord] = None
    output_dropout: Rate = 0.0


class CascadeConfig(Section):
    """1-D convolutions along the mel axis with the time frames as channels."""

    width: PositiveInt = 512
    kernel_size: PositiveInt = 3
    first_batch_norm: bool = True  # batch norm and ReLU also behind the first convolution of each pair
    mix_batch_norm: bool = True  # before the ELU of the 1x1 convolution behind the pairs
    dropout: Rate = 0.0  # before each pool


class AttentionConfig(Section):
    """Self-attention over the WaveNet's time axis, averaged over `pool_frames` frames at a time."""

    heads: PositiveInt = 4
    pool_frames: PositiveInt = 16


class WavenetConfig(Section):
    """Gated residual layers of dilated causal convolutions along time."""

    dilation_depth: PositiveInt = 6
    blocks: PositiveInt = 5
    kernel_size: Annotated[int, Field(ge=2)] = 2
    residual_channels: PositiveInt = 32
    dilation_channels: PositiveInt = 32
    skip_channels: PositiveInt = 256
    gate: Literal["sigmoid", "elu"] = "sigmoid"
    mix_batch_norm: bool = True  # before the second ELU behind the skip sum
    dropout: Rate = 0.0  # before the 1x1 convolutions of every layer
    attention: Annotated[AttentionConfig | None, NoneWord] = None  # None: the last time step is read out
    output_width: PositiveInt = 128

    @property
    def dilations(self) -> list[int]:
        """Dilation of every residual layer, in order: 1, 2, 4 ... in each block."""
        return [2**layer for _ in range(self.blocks) for layer in range(self.dilation_depth)]

    @property
    def receptive_field(self) -> int:
        """Frames of its own input that the last time step sees, the input convolution counted in."""
        return 1 + (self.kernel_size - 1) * (1 + sum(self.dilations))


class MusicnnConfig(Section):
    """Branch of timbral and temporal filters; the defaults are those of musicnn's MagnaTagATune model."""

    timbral_filters: PositiveInt = 204
    temporal_filters: PositiveInt = 51
    midend_filters: PositiveInt = 64
    output_width: PositiveInt = 200
    dropout: Rate = 0.5


class CrnnConfig(Section):
    """CRNN branch: convolution blocks on the mels x frames image, then recurrent layers along time."""

    kernels: tuple[PositiveInt, ...] = (64, 128, 128, 128)
    kernel_size: PositiveInt = 3
    pools: tuple[PoolSize, ...] = ((2, 2), (3, 3), (4, 4), (4, 4))
    dropouts: tuple[Rate, ...] = (0.1, 0.1, 0.1, 0.1)
    activation: Activation = "elu"
    recurrent_widths: tuple[PositiveInt, ...] = Field(default=(32, 32), min_length=1)
    output_dropout: Rate = 0.3

    @property
    def output_width(self) -> int:
        """Width of the last recurrent layer."""
        return self.recurrent_widths[-1]


class ShortChunkConfig(Section):
    """Short-chunk branch: residual blocks of stride 2 on the mels x frames image."""

    kernels: tuple[PositiveInt, ...] = Field(default=(128, 128, 256, 256, 256, 256, 512), min_length=1)
    kernel_size: PositiveInt = 3

    @property
    def output_width(self) -> int:
        """Kernels of the last block."""
        return self.kernels[-1]


class HeadConfig(Section):
    """Dense layers after the merge."""

    widths: tuple[PositiveInt, ...] = (512, 256)
    batch_norm: bool = False
    activation: Activation = "relu"
    dropout: Rate = 0.3


class ModelConfig(Section):
    """A branch set to `none` is left out; the cascade belongs to the WaveNet branch and goes with it."""

    cnn: Annotated[CnnConfig | None, NoneWord] = CnnConfig()
    cascade: Annotated[CascadeConfig | None, NoneWord] = CascadeConfig()
    wavenet: Annotated[WavenetConfig | None, NoneWord] = WavenetConfig()
    crnn: Annotated[CrnnConfig | None, NoneWord] = None
    short_chunk: Annotated[ShortChunkConfig | None, NoneWord] = None
    musicnn: Annotated[MusicnnConfig | None, NoneWord] = None
    merge: Literal["concat", "add"] = "concat"
    head: HeadConfig = HeadConfig()
    batch_norm_momentum: Rate = 0.99


class SpecAugmentConfig(Section):
    """Masks on the log-mel spectrogram in training."""

    masks: PositiveInt = 2  # on each axis
    mel_share: Annotated[float, Field(ge=0, le=1)] = 0.1  # of the axis, that the widest mask covers
    frame_share: Annotated[float, Field(ge=0, le=1)] = 0.1


class AugmentConfig(Section):
    """What windows go through in training, and never in evaluation."""

    gain_db: Annotated[float, Field(ge=0)] = 0.0  # largest change of level, up or down
    noise_snr_db: float | None = None  # lowest ratio of the window's power to that of white noise
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha of the Beta distribution of the shares
    spectrogram: Annotated[SpecAugmentConfig | None, NoneWord] = None


class TrainingConfig(Section):
    """Adam on the weighted binary cross-entropy."""

    batch_size: PositiveInt = 16
    epochs: PositiveInt = 12
    minutes: PositiveFloat | None = None  # of training; no epoch begins when they are used up
    learning_rate: PositiveFloat = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"  # cosine: to 0 over the minutes, or else over the epochs
    alpha: PositiveFloat = 1.1  # weight of the positive term of the loss
    augment: AugmentConfig = AugmentConfig()
    patience: PositiveInt = 5  # epochs without a better validation ROC-AUC before training stops
    init: str | None = None  # directory of a run to start from
    freeze: NonNegativeInt = 0  # of the first layers with weights, kept as they are
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit: bool = False


class Config(Section):
    """Everything a run depends on beside its data."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    frontend: FrontendConfig = FrontendConfig()
    window: WindowConfig = WindowConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @property
    def window_samples(self) -> int:
        """Samples of one window."""
        return round(self.window.seconds * self.frontend.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Samples from the start of one evaluation window to the next."""
        return round((self.window.hop_seconds or self.window.seconds) * self.frontend.sample_rate)

    @property
    def frames(self) -> int:
        """Spectrogram frames of one window (centred frames: one more than whole hops)."""
        covered = 0 if self.frontend.center else self.frontend.n_fft
        return 1 + (self.window_samples - covered) // self.frontend.hop_length

    @property
    def covering(self) -> "Config":
        """The same with windows all over a clip where evaluation takes its centre alone: for songs of any length."""
        if self.window.evaluate != "center":
            return self
        return self.model_copy(update={"window": self.window.model_copy(update={"evaluate": "all"})})

    def to_yaml(self) -> str:
        """The resolved configuration, as `load_config` reads it."""
        return yaml.safe_dump(json.loads(self.model_dump_json()), sort_keys=False)


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("genre_tagger.presets")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_config(preset: str | None = None, path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Resolves a preset, or a file, or neither (the defaults), then `key.path=value` overrides on top.

    Raises:
        UserError: unknown preset or key (with the nearest names), unreadable file, value of the wrong kind.
    """
    if preset is not None and path is not None:
        raise UserError("--preset and --config: expected one of the two, found both")
    values = _read_preset(preset) if preset is not None else _read_file(path) if path is not None else {}
    for override in overrides:
        _set(values, override)
    return parse_config(values)


def parse_config(values: dict[str, Any]) -> Config:
    """Validates nested plain values; raises UserError naming the first offending key."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error)) from None


def _read_preset(name: str) -> dict[str, Any]:
    names = preset_names()
    if name not in names:
        raise UserError(f"--preset: unknown preset {name!r}{nearest(name, names)}")
    return _with_parent((resources.files("genre_tagger.presets") / f"{name}.yaml").read_text(encoding="utf-8"), name)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return _with_parent(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a configuration ({error})") from None


def _with_parent(text: str, where: str) -> dict[str, Any]:
    """Parses YAML; `extends: NAME` lays it over the preset of that name."""
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected a mapping of configuration keys, found {type(values).__name__}")
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if str(parent) not in preset_names():
        raise UserError(f"{where}: extends an unknown preset {str(parent)!r}{nearest(str(parent), preset_names())}")
    return _merge(_read_preset(parent), values)


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _set(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override!r}: expected KEY=VALUE, for example model.wavenet.blocks=4")
    *sections, last = key.split(".")
    for section in sections:
        if values.get(section) in (None, "none"):
            values[section] = {}
        if not isinstance(values[section], dict):
            raise UserError(f"--set {key}: {section!r} is {values[section]!r} in the configuration, expected a section")
        values = values[section]
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {key}: {text!r} is not a valid YAML value") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        known = _fields_of(location[:-1])
        return f"config key {key!r}: unknown{nearest(location[-1], known)}"
    if first["type"] in ("model_type", "dict_type"):
        expected = "a section of keys"
    else:
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"config key {key!r}: found {first['input']!r}, expected {expected}"


def _fields_of(location: list[str]) -> list[str]:
    section: type[BaseModel] = Config
    for part in location:
        kind = section.model_fields[part].annotation  # a section, or a section or None
        section = next(one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, Section))
    return list(section.model_fields)


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a message on an unknown name: the closest known ones, or all."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; expected one of {', '.join(known)}"
