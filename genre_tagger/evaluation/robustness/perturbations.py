"""What is done to a clip before it is scored again.

Each is a pure function of a mono waveform, float32 [samples] at the model's rate and of full scale 1, that rate in Hz,
and a seed, which noise alone needs. Labels stay as they are.
"""

import io
from collections.abc import Callable, Sequence
from functools import partial

import librosa
import numpy as np
import soundfile
import soxr

MP3_RATE = 44_100
MP3_KBPS = (32, 320)  # of what MP3 allows at that rate, the ends
# What encoder and decoder delay together, in samples. A frame of 32 kbit/s has no room for the tag that says so.
MP3_DELAY = 576 + 529
TELEPHONE_RATE = 8000
LONGEST_TRANSFORM_SECONDS = 0.1

Perturbation = Callable[[np.ndarray, int, Sequence[int]], np.ndarray]


def mp3(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, kbps: int) -> np.ndarray:
    """Through MP3 at a constant bit rate and back, aligned with the input and of its length.

    Encoded as mono at 44.1 kHz, whatever the model's rate: the format allows no more than 64 kbit/s below 16 kHz. LAME
    lowers the level by half a decibel or so, as in any file that it makes.
    """
    encoded = encode_mp3(soxr.resample(waveform, sample_rate, MP3_RATE), kbps)
    decoded, _ = soundfile.read(io.BytesIO(encoded), dtype="float32")
    return _of_length(soxr.resample(decoded[_mp3_delay(kbps) :], MP3_RATE, sample_rate), len(waveform))


def encode_mp3(waveform: np.ndarray, kbps: int) -> bytes:
    """An MP3 file of a waveform at 44.1 kHz, at a constant bit rate from 32 to 320 kbit/s."""
    least, most = MP3_KBPS
    # libsndfile's way to name a bit rate; LAME takes the nearest that exists. It refuses a level of 1 itself.
    level = min((most - kbps) / (most - least), 0.9999)
    file = io.BytesIO()
    soundfile.write(file, waveform, MP3_RATE, format="MP3", compression_level=level, bitrate_mode="CONSTANT")
    return file.getvalue()


def noise(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, snr_db: float) -> np.ndarray:
    """With white Gaussian noise, so much below the clip's own power; nothing is clipped."""
    white = np.random.default_rng(seed).standard_normal(len(waveform), dtype=np.float32)
    ratio = _power(waveform) / _power(white) / 10 ** (snr_db / 10)
    return waveform + white * np.float32(np.sqrt(ratio))


def gain(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, decibels: float) -> np.ndarray:
    """Louder or softer, clipped at full scale."""
    return np.clip(waveform * np.float32(10 ** (decibels / 20)), -1, 1)


def telephone(waveform: np.ndarray, sample_rate: int, seed: Sequence[int]) -> np.ndarray:
    """Resampled to 8 kHz and back, which leaves nothing above 4 kHz."""
    narrow = soxr.resample(waveform, sample_rate, TELEPHONE_RATE)
    return _of_length(soxr.resample(narrow, TELEPHONE_RATE, sample_rate), len(waveform))


def pitch(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, semitones: float) -> np.ndarray:
    """Higher or lower at the same speed, by librosa's phase vocoder."""
    n_fft = _transform_samples(sample_rate)
    return librosa.effects.pitch_shift(waveform, sr=sample_rate, n_steps=semitones, n_fft=n_fft)


def stretch(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, speed: float) -> np.ndarray:
    """Played at so many times the speed, at the same pitch, by librosa's phase vocoder: [samples / speed]."""
    return librosa.effects.time_stretch(waveform, rate=speed, n_fft=_transform_samples(sample_rate))


def centre(waveform: np.ndarray, sample_rate: int, seed: Sequence[int], *, seconds: float) -> np.ndarray:
    """The middle of the clip alone; a shorter clip as it is."""
    samples = round(seconds * sample_rate)
    start = max(0, len(waveform) - samples) // 2
    return waveform[start : start + samples]


def _mp3_delay(kbps: int) -> int:
    """Samples to drop from what was decoded; decoders drop them by themselves where the file has a tag."""
    return MP3_DELAY if kbps == MP3_KBPS[0] else 0


def _transform_samples(sample_rate: int) -> int:
    """The largest power of two within 0.1 s, as the shortest clip; librosa's default is meant for 22 kHz."""
    return 2 ** int(np.log2(LONGEST_TRANSFORM_SECONDS * sample_rate))


def _power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def _of_length(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Cut, or filled with zeros, at the end: rates do not divide each other."""
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
