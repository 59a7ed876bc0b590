"""Perturbations of a clip, which is then scored again.

Each perturbation is a pure function of a mono waveform (float32 [samples] at the sample rate of the model, full scale
1), the sample rate in Hz, and a seed, which only `noise` uses. It returns the perturbed waveform, float32 [samples].
The labels of the clip do not change.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import soundfile
import soxr
from librosa.effects import pitch_shift, time_stretch

MP3_RATE = 44_100
MP3_KBPS = (32, 320)  # lowest and highest bit rate of MP3 at that sample rate
# Delay of encoder and decoder together, in samples. A frame at 32 kbit/s has no room for the tag that stores the delay.
MP3_DELAY = 576 + 529
TELEPHONE_RATE = 8000
LONGEST_TRANSFORM_SECONDS = 0.1

Perturbation = Callable[[np.ndarray, int, Sequence[int]], np.ndarray]


def mp3(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, kbps: int) -> np.ndarray:
    """Encode as MP3 at a constant bit rate and decode again. The result is aligned with the input and has its length.

    The sample rate of the MP3 file is always 44.1 kHz, because MP3 allows at most 64 kbit/s below 16 kHz. LAME lowers
    the level by about half a decibel, as in every file that it encodes.
    """
    encoded = encode_mp3(soxr.resample(waveform, sample_rate, MP3_RATE), kbps)
    decoded, _ = soundfile.read(io.BytesIO(encoded), dtype="float32")
    return _of_length(soxr.resample(decoded[_mp3_delay(kbps) :], MP3_RATE, sample_rate), len(waveform))


def encode_mp3(waveform: np.ndarray, kbps: int) -> bytes:
    """Return an MP3 file of a waveform at 44.1 kHz, at a constant bit rate from 32 to 320 kbit/s."""
    least, most = MP3_KBPS
    # libsndfile sets the bit rate by this level, and LAME uses the nearest valid one. A level of exactly 1 fails.
    level = min((most - kbps) / (most - least), 0.9999)
    file = io.BytesIO()
    soundfile.write(file, waveform, MP3_RATE, format="MP3", compression_level=level, bitrate_mode="CONSTANT")
    return file.getvalue()


def noise(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, snr_db: float) -> np.ndarray:
    """Add white Gaussian noise at a signal-to-noise ratio relative to the power of the clip, without clipping."""
    white = np.random.default_rng(seed).standard_normal(len(waveform), dtype=np.float32)
    ratio = _power(waveform) / _power(white) / 10 ** (snr_db / 10)
    noisy: np.ndarray = waveform + white * np.float32(np.sqrt(ratio))
    return noisy


def gain(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, decibels: float) -> np.ndarray:
    """Change the level and clip at full scale."""
    louder: np.ndarray = waveform * np.float32(10 ** (decibels / 20))
    return louder.clip(-1, 1)


def telephone(waveform: np.ndarray, sample_rate: int, seed: Sequence[int]) -> np.ndarray:
    """Resample to 8 kHz and back, which removes everything above 4 kHz."""
    narrow = soxr.resample(waveform, sample_rate, TELEPHONE_RATE)
    return _of_length(soxr.resample(narrow, TELEPHONE_RATE, sample_rate), len(waveform))


def pitch(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, semitones: float) -> np.ndarray:
    """Shift the pitch at the same speed with librosa's phase vocoder."""
    n_fft = _transform_samples(sample_rate)
    shifted: np.ndarray = pitch_shift(waveform, sr=sample_rate, n_steps=semitones, n_fft=n_fft)
    return shifted


def stretch(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, speed: float) -> np.ndarray:
    """Change the speed at the same pitch with librosa's phase vocoder. Returns [samples / speed]."""
    n_fft = _transform_samples(sample_rate)
    stretched: np.ndarray = time_stretch(waveform, rate=speed, n_fft=n_fft)
    return stretched


def centre(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, seconds: float) -> np.ndarray:
    """Return the middle of the clip. A shorter clip is not changed."""
    samples = round(seconds * sample_rate)
    start = max(0, len(waveform) - samples) // 2
    return waveform[start : start + samples]


def _mp3_delay(kbps: int) -> int:
    """Return how many decoded samples to drop. If the file has a tag with the delay, the decoder already drops them."""
    return MP3_DELAY if kbps == MP3_KBPS[0] else 0


def _transform_samples(sample_rate: int) -> int:
    """Return the largest power of two within 0.1 s, the shortest clip. The default of librosa is meant for 22 kHz."""
    return 1 << int(np.log2(LONGEST_TRANSFORM_SECONDS * sample_rate))


def _power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def _of_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Cut or zero-pad the end, because resampling to another rate and back can change the length."""
    return np.pad(waveform[:samples], (0, max(0, samples - len(waveform))))


LENGTHS = {f"length {seconds} s": seconds for seconds in (1, 3, 5, 10)}
TELEPHONE = "8 kHz sampling"

CONDITIONS: dict[str, Perturbation] = {
    **{f"MP3 {kbps} kbps": partial(mp3, kbps=kbps) for kbps in (32, 64, 128)},
    **{f"noise {snr_db} dB SNR": partial(noise, snr_db=snr_db) for snr_db in (20, 10, 0)},
    **{f"gain {decibels:+d} dB": partial(gain, decibels=decibels) for decibels in (-12, 12)},
    TELEPHONE: telephone,
    **{f"pitch {semitones:+d} semitone": partial(pitch, semitones=semitones) for semitones in (-1, 1)},
    **{f"stretch {speed}": partial(stretch, speed=speed) for speed in (0.9, 1.1)},
    **{name: partial(centre, seconds=seconds) for name, seconds in LENGTHS.items()},
}
