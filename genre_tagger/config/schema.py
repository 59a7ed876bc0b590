"""Schema of the configuration of a run: the type, default and range of every field.

The comments at the ends of the lines are the descriptions of the fields in the documentation.
"""

import json
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)


def _none_word(value: Any) -> Any:
    return None if value == "none" else value


SCHEMA_VERSION: Literal[2] = 2

NoneWord = BeforeValidator(_none_word)  # accepts `none` for None, in files and on the command line
Activation = Literal["relu", "elu"]
Rate = Annotated[float, Field(ge=0, lt=1)]
PositiveOrNone = Annotated[PositiveFloat | None, NoneWord]
PoolSize = tuple[PositiveInt, PositiveInt]


class Section(BaseModel):
    """Base class of all sections of the configuration: immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FrontendConfig(Section):
    """Log-mel spectrogram. The defaults are those of the published system."""

    sample_rate: Annotated[int, Field(ge=1000, le=192_000)] = 12_000  # in hertz; all audio is resampled to it
    n_fft: PositiveInt = 512  # samples of the Hann window and of the Fourier transform; even
    hop_length: PositiveInt = 256  # samples between successive frames
    n_mels: PositiveInt = 96  # number of mel bands
    fmin_hz: Annotated[float, Field(ge=0)] = 0.0  # lower edge of the lowest band
    fmax_hz: PositiveOrNone = None  # upper edge of the highest band; none: half the sample rate
    center: bool = True  # false: zeros are added at the edges of the whole clip only, not of each window
    mel_exponent: PositiveFloat = 2.0  # exponent of the power mel spectrogram before the logarithm
    compression: Literal["db", "log10"] = "db"  # log10: log10(10000 * power + 1), without amin and top_db
    amin: PositiveFloat = 1e-10  # lowest power before the logarithm
    top_db: PositiveOrNone = 80.0  # range in dB below the maximum of the window; none: no clamp

    @property
    def clip_margin(self) -> int:
        """Number of zeros added at each end of a clip; 0 if they are added at the ends of each window instead."""
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
    """How a clip is cut into windows, in training and in evaluation."""

    seconds: PositiveFloat = 29.12  # length of a window
    train: Literal["center", "random"] = "center"  # position of the training window in its clip
    evaluate: Literal["center", "all", "whole"] = "center"  # all: one per hop and one at the end; whole: one per hop
    hop_seconds: PositiveOrNone = None  # distance between evaluation windows; none: adjacent windows
    pooling: Literal["mean", "max"] = "mean"  # of the window scores of a clip

    @model_validator(mode="after")
    def _hop_leaves_no_gap(self) -> "WindowConfig":
        if self.hop_seconds is not None and not self.seconds / 1000 <= self.hop_seconds <= self.seconds:
            raise ValueError("hop_seconds from a thousandth of window.seconds to window.seconds")
        return self


class CnnConfig(Section):
    """CNN branch on the spectrogram as an image. Pools are (mels, frames)."""

    block: Literal["plain", "resnext"] = "plain"  # kind of convolution block
    kernels: tuple[PositiveInt, ...] = (64, 128, 128, 128)  # one number per block
    kernel_size: PositiveInt = 3  # of all convolutions, in both directions
    cardinality: PositiveInt = 32  # groups of the grouped convolution in a resnext block
    squeeze_excite: Annotated[Literal["average", "max"] | None, NoneWord] = None  # max: after max pooling
    pools: tuple[PoolSize, ...] = ((2, 4), (2, 4), (2, 4), (3, 5))  # max pooling, one pair per block
    dropouts: tuple[Rate, ...] = (0.0, 0.0, 0.0, 0.0)  # after the pool, one rate per block
    activation: Activation = "relu"  # of the blocks
    output_width: PositiveInt = 128  # values per window
    output_activation: Annotated[Activation | None, NoneWord] = None  # of the output
    output_dropout: Rate = 0.0  # of the output


class CascadeConfig(Section):
    """1-D convolutions along the mel axis with the time frames as channels."""

    width: PositiveInt = 512  # kernels of each convolution
    kernel_size: PositiveInt = 3  # of the paired convolutions
    first_batch_norm: bool = True  # batch norm and ReLU also after the first convolution of each pair
    mix_batch_norm: bool = True  # before the ELU of the 1x1 convolution after the pairs
    dropout: Rate = 0.0  # before each pool


class AttentionConfig(Section):
    """Self-attention over the WaveNet's time axis, averaged over `pool_frames` frames at a time."""

    heads: PositiveInt = 4  # a divisor of skip_channels
    pool_frames: PositiveInt = 16  # frames per time step of the attention


class WavenetConfig(Section):
    """WaveNet branch: gated residual layers of dilated causal convolutions along time."""

    cascade: Annotated[CascadeConfig | None, NoneWord] = None  # before the WaveNet; none: it reads the log-mel
    dilation_depth: PositiveInt = 6  # layers per block, with dilations 1, 2, 4, ...
    blocks: PositiveInt = 5  # number of blocks
    kernel_size: Annotated[int, Field(ge=2)] = 2  # of the dilated convolutions
    residual_channels: PositiveInt = 32  # between the layers
    dilation_channels: PositiveInt = 32  # of filter and gate
    skip_channels: PositiveInt = 256  # of the sum of the skip outputs
    gate: Literal["sigmoid", "elu"] = "sigmoid"  # activation of the gate
    mix_batch_norm: bool = True  # before the second ELU after the skip sum
    dropout: Rate = 0.0  # before the 1x1 convolutions of every layer
    attention: Annotated[AttentionConfig | None, NoneWord] = None  # none: the last time step is the output
    output_width: PositiveInt = 128  # values per window

    @property
    def dilations(self) -> list[int]:
        """Dilations of all residual layers in order: 1, 2, 4, ... in each block."""
        return [2**layer for _ in range(self.blocks) for layer in range(self.dilation_depth)]

    @property
    def receptive_field(self) -> int:
        """Number of input frames on which the last time step depends, including those of the input convolution."""
        return 1 + (self.kernel_size - 1) * (1 + sum(self.dilations))


class MusicnnConfig(Section):
    """Branch of timbral and temporal filters. The defaults are those of musicnn's MagnaTagATune model."""

    timbral_filters: PositiveInt = 204  # per filter height
    temporal_filters: PositiveInt = 51  # per filter length
    midend_filters: PositiveInt = 64  # of each convolution after the front-end
    output_width: PositiveInt = 200  # values per window
    dropout: Rate = 0.5  # before and after the dense layer


class CrnnConfig(Section):
    """CRNN branch: convolution blocks on the spectrogram as an image, then recurrent layers along time."""

    kernels: tuple[PositiveInt, ...] = (64, 128, 128, 128)  # one number per block
    kernel_size: PositiveInt = 3  # of all convolutions, in both directions
    pools: tuple[PoolSize, ...] = ((2, 2), (3, 3), (4, 4), (4, 4))  # max pooling (mels, frames), one pair per block
    dropouts: tuple[Rate, ...] = (0.1, 0.1, 0.1, 0.1)  # after the pool, one rate per block
    activation: Activation = "elu"  # of the blocks
    recurrent_widths: tuple[PositiveInt, ...] = Field(default=(32, 32), min_length=1)  # units of each GRU
    output_dropout: Rate = 0.3  # of the output

    @property
    def output_width(self) -> int:
        """Width of the last recurrent layer."""
        return self.recurrent_widths[-1]


class ShortChunkConfig(Section):
    """Short-chunk branch: residual blocks of stride 2 on the spectrogram as an image."""

    kernels: tuple[PositiveInt, ...] = Field(default=(128, 128, 256, 256, 256, 256, 512), min_length=1)  # per block
    kernel_size: PositiveInt = 3  # of all convolutions, in both directions

    @property
    def output_width(self) -> int:
        """Number of kernels of the last block."""
        return self.kernels[-1]


class HeadConfig(Section):
    """Dense layers after the merge."""

    widths: tuple[PositiveInt, ...] = (512, 256)  # units of each layer
    batch_norm: bool = False  # before each activation
    activation: Activation = "relu"  # of each layer
    dropout: Rate = 0.3  # after each layer


class SpecAugmentConfig(Section):
    """Masks on the log-mel spectrogram in training."""

    masks: PositiveInt = 2  # per axis
    mel_share: Annotated[float, Field(ge=0, le=1)] = 0.1  # share of the mel bands that the widest mask covers
    frame_share: Annotated[float, Field(ge=0, le=1)] = 0.1  # share of the frames that the widest mask covers


class ModelConfig(Section):
    """The branches in parallel, their merge and the head. A branch that is not configured is not built."""

    cnn: Annotated[CnnConfig | None, NoneWord] = None
    wavenet: Annotated[WavenetConfig | None, NoneWord] = None
    crnn: Annotated[CrnnConfig | None, NoneWord] = None
    short_chunk: Annotated[ShortChunkConfig | None, NoneWord] = None
    musicnn: Annotated[MusicnnConfig | None, NoneWord] = None
    spec_augment: Annotated[SpecAugmentConfig | None, NoneWord] = None  # between the front-end and the branches
    merge: Literal["concat", "add"] = "concat"  # of the outputs of the branches; add needs equal widths
    head: HeadConfig = HeadConfig()
    batch_norm_momentum: Rate = 0.99  # of the moving statistics of all batch norms


class AugmentConfig(Section):
    """Changes to the waveforms of training windows. Evaluation never applies them."""

    gain_db: Annotated[float, Field(ge=0)] = 0.0  # largest change of level in dB, up or down
    noise_snr_db: Annotated[float | None, NoneWord] = None  # lowest power ratio of signal to white noise; none: off
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha of the Beta distribution of the shares; 0: no mixup


class TrainingConfig(Section):
    """Training with Adam on the weighted binary cross-entropy."""

    batch_size: PositiveInt = 16  # windows per step
    epochs: PositiveInt = 12  # maximum number of passes over the training clips
    minutes: PositiveOrNone = None  # time limit; no epoch begins after it
    learning_rate: PositiveFloat = 1e-3  # at the start
    schedule: Literal["constant", "cosine"] = "constant"  # cosine: to 0, over the minutes if given or over the epochs
    alpha: PositiveFloat = 1.1  # weight of the positive term of the loss
    augment: AugmentConfig = AugmentConfig()
    patience: PositiveInt = 5  # epochs without a better validation ROC-AUC before training stops
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"  # of Keras
    jit: bool = False  # compile the training step with XLA


class InferenceConfig(Section):
    """Scoring of windows in validation, evaluation and tagging."""

    batch_size: PositiveInt = 16  # windows per batch; limits memory and does not change scores


class Config(Section):
    """Everything that a run depends on, except its data and the run it starts from."""

    schema_version: Literal[2] = SCHEMA_VERSION  # files of older versions, without this key, are migrated
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  # of the weights, the order of clips, windows and augmentation
    frontend: FrontendConfig = FrontendConfig()
    window: WindowConfig = WindowConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()

    @property
    def window_samples(self) -> int:
        """Length of one window in samples."""
        return round(self.window.seconds * self.frontend.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Distance in samples between the starts of successive evaluation windows."""
        return round((self.window.hop_seconds or self.window.seconds) * self.frontend.sample_rate)

    @property
    def frames(self) -> int:
        """Spectrogram frames of one window; with centred frames, one more than the number of whole hops."""
        covered = 0 if self.frontend.center else self.frontend.n_fft
        return 1 + (self.window_samples - covered) // self.frontend.hop_length

    @property
    def covering(self) -> "Config":
        """The same configuration, but with windows over the whole song if evaluation uses only the centre window."""
        if self.window.evaluate != "center":
            return self
        return self.model_copy(update={"window": self.window.model_copy(update={"evaluate": "all"})})

    def to_yaml(self) -> str:
        """Return the resolved configuration as the text of a file for `load_config`."""
        return yaml.safe_dump(json.loads(self.model_dump_json()), sort_keys=False)
