"""The log-mel front-end: a layer of the model, so that what is trained is what is served."""

import keras
import librosa
import numpy as np
from keras import ops

LOG10_FACTOR = 10_000  # of the mel power under `log10`, as musicnn has it


@keras.saving.register_keras_serializable("genre_tagger")
class LogMelSpectrogram(keras.layers.Layer):
    """Log-mel spectrogram of a waveform, equal to librosa's `power_to_db(melspectrogram(y) ** mel_exponent)`.

    Input: waveform [batch, samples], mono, full scale 1. Output: [batch, frames, mels] in dB, with
    `frames = 1 + samples // hop_length` (centred frames, zero-padded at both ends), or uncentred
    `1 + (samples - n_fft) // hop_length`. Computed in float32 whatever the precision policy. Defaults are the
    published system's, where the power mel spectrogram is squared once more before the logarithm (`mel_exponent=2`).

    Args:
        sample_rate: hertz.
        n_fft: samples of the Hann window and of the Fourier transform.
        hop_length: samples from one frame to the next.
        n_mels: mel bands (Slaney scale and normalisation) between fmin_hz and fmax_hz (None: half the sample rate).
        center: frames are centred on every hop, zeros at both ends; False: all frames lie inside the samples.
        mel_exponent: power that the mel spectrogram is raised to before the logarithm.
        compression: `db`, or `log10`: log10(10000 * power + 1), which musicnn takes (arXiv 1909.06654).
        amin: smallest value under the logarithm of `db`.
        top_db: clamp of `db` below the clip's own maximum; None for none.
        dft: `fft`, or `conv`: the same transform as a strided convolution, for runtimes without an FFT (ONNX).
    """

    def __init__(
        self,
        sample_rate=12_000,
        n_fft=512,
        hop_length=256,
        n_mels=96,
        fmin_hz=0.0,
        fmax_hz=None,
        center=True,
        mel_exponent=2.0,
        compression="db",
        amin=1e-10,
        top_db=80.0,
        dft="fft",
        **kwargs,
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
        self._mel_matrix = librosa.filters.mel(
            sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin_hz, fmax=fmax_hz, dtype=np.float32
        ).T

    def call(self, waveform):
        margin = self.n_fft // 2 if self.center else 0
        # Keras' own centring reflects at the edges; librosa pads with zeros.
        padded = ops.pad(ops.cast(waveform, "float32"), [[0, 0], [margin, margin]])
        real, imaginary = (self._by_fft if self.dft == "fft" else self._by_convolution)(padded)
        mel = ops.matmul(real * real + imaginary * imaginary, self._mel_matrix)
        power = mel**self.mel_exponent
        return self._to_db(power) if self.compression == "db" else ops.log10(LOG10_FACTOR * power + 1.0)

    def _by_fft(self, padded):
        return ops.stft(
            padded, sequence_length=self.n_fft, sequence_stride=self.hop_length, fft_length=self.n_fft, center=False
        )

    def _by_convolution(self, padded):
        angles = 2 * np.pi * np.outer(np.arange(self.n_fft), np.arange(self.n_fft // 2 + 1)) / self.n_fft
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        waves = hann[:, None] * np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
        transformed = ops.conv(padded[..., None], waves[:, None].astype("float32"), strides=self.hop_length)
        return ops.split(transformed, 2, axis=-1)

    def _to_db(self, power):
        decibel = 10.0 / np.log(10.0) * ops.log(ops.maximum(power, self.amin))
        if self.top_db is None:
            return decibel
        loudest = ops.max(decibel, axis=(1, 2), keepdims=True)
        return ops.maximum(decibel, loudest - self.top_db)

    def compute_output_shape(self, input_shape):
        batch, samples = input_shape
        if samples is None:
            return batch, None, self.n_mels
        return batch, 1 + (samples if self.center else samples - self.n_fft) // self.hop_length, self.n_mels

    def get_config(self):
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
