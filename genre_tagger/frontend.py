"""The log-mel front-end, a layer of the model: training and serving compute the same features."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from librosa.filters import mel as mel_filters

Tensor = Any  # a symbolic tensor of Keras or a tensor of its backend

LOG10_FACTOR = 10_000  # multiplies the mel power under `log10` compression, as in musicnn


@keras.saving.register_keras_serializable("genre_tagger")
class LogMelSpectrogram(keras.layers.Layer):
    """Log-mel spectrogram of a waveform, equal to librosa's `power_to_db(melspectrogram(y) ** mel_exponent)`.

    The layer always computes in float32, also under a mixed precision policy. The defaults are those of the published
    system, which squares the power mel spectrogram before the logarithm (`mel_exponent=2`).

    Input shape: [batch, samples], a mono waveform with full scale 1.
    Output shape: [batch, frames, mels], in dB (`compression="db"`) or log10 units (`compression="log10"`). The number
    of frames is `1 + samples // hop_length` with `center=True` and `1 + (samples - n_fft) // hop_length` without.

    Args:
        sample_rate: sample rate of the waveform in hertz.
        n_fft: length in samples of the Hann window and of the Fourier transform.
        hop_length: distance in samples between successive frames.
        n_mels: number of mel bands (Slaney scale and normalisation) between `fmin_hz` and `fmax_hz`.
        fmin_hz: lower edge of the lowest mel band in hertz.
        fmax_hz: upper edge of the highest mel band in hertz. None means half the sample rate.
        center: whether frames are centred on multiples of the hop, with the waveform zero-padded at both ends. If
            False, every frame lies inside the waveform.
        mel_exponent: power to which the mel spectrogram is raised before the logarithm.
        compression: `db` for decibels, or `log10` for log10(10000 * power + 1) as in musicnn (arXiv 1909.06654).
        amin: lower bound of the power before the logarithm, used by `db` only.
        top_db: dynamic range in dB. Values further below the maximum of the same waveform are clamped; None disables
            the clamp. Used by `db` only.
        dft: `fft`, or `conv` for the same transform as a strided convolution, for runtimes without an FFT (ONNX).

    Raises:
        ValueError: If `dft` or `compression` is not one of the values above.
    """

    def __init__(
        self,
        sample_rate: int = 12_000,
        n_fft: int = 512,
        hop_length: int = 256,
        n_mels: int = 96,
        fmin_hz: float = 0.0,
        fmax_hz: float | None = None,
        center: bool = True,
        mel_exponent: float = 2.0,
        compression: Literal["db", "log10"] = "db",
        amin: float = 1e-10,
        top_db: float | None = 80.0,
        dft: Literal["fft", "conv"] = "fft",
        **kwargs: Any,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if dft not in ("fft", "conv"):
            raise ValueError(f"dft: found {dft!r}, expected fft or conv")
        if compression not in ("db", "log10"):
            raise ValueError(f"compression: found {compression!r}, expected db or log10")
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.fmin_hz = fmin_hz
        self.fmax_hz = fmax_hz
        self.center = center
        self.mel_exponent = mel_exponent
        self.compression = compression
        self.amin = amin
        self.top_db = top_db
        self.dft = dft
        self._mel_matrix = mel_filters(
            sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin_hz, fmax=fmax_hz, dtype=np.float32
        ).T

    def call(self, waveform: Tensor) -> Tensor:
        margin = self.n_fft // 2 if self.center else 0
        # Keras' own centring reflects at the edges; librosa pads with zeros.
        padded = ops.pad(ops.cast(waveform, "float32"), [[0, 0], [margin, margin]])
        real, imaginary = (self._by_fft if self.dft == "fft" else self._by_convolution)(padded)
        mel = ops.matmul(real * real + imaginary * imaginary, self._mel_matrix)
        power = mel**self.mel_exponent
        return self._to_db(power) if self.compression == "db" else ops.log10(LOG10_FACTOR * power + 1.0)

    def _by_fft(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        real, imaginary = ops.stft(
            padded, sequence_length=self.n_fft, sequence_stride=self.hop_length, fft_length=self.n_fft, center=False
        )
        return real, imaginary

    def _by_convolution(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        angles = 2 * np.pi * np.outer(np.arange(self.n_fft), np.arange(self.n_fft // 2 + 1)) / self.n_fft
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        waves = hann[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
        transformed = ops.conv(padded[..., None], waves[:, None].astype("float32"), strides=self.hop_length)
        real, imaginary = ops.split(transformed, 2, axis=-1)
        return real, imaginary

    def _to_db(self, power: Tensor) -> Tensor:
        decibel = 10.0 / np.log(10.0) * ops.log(ops.maximum(power, self.amin))
        if self.top_db is None:
            return decibel
        loudest = ops.max(decibel, axis=(1, 2), keepdims=True)
        return ops.maximum(decibel, loudest - self.top_db)

    def compute_output_shape(self, input_shape: tuple[int | None, int | None]) -> tuple[int | None, int | None, int]:
        batch, samples = input_shape
        if samples is None:
            return batch, None, self.n_mels
        return batch, 1 + (samples if self.center else samples - self.n_fft) // self.hop_length, self.n_mels

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]  # always float32
        fields = (
            "sample_rate",
            "n_fft",
            "hop_length",
            "n_mels",
            "fmin_hz",
            "fmax_hz",
            "center",
            "mel_exponent",
            "compression",
            "amin",
            "top_db",
            "dft",
        )
        return {**config, **{field: getattr(self, field) for field in fields}}
