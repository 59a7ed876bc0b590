"""The WAV reader in the graph reads the same files as libsndfile, and reports why it rejects others."""

import struct

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from facts import check_facts

from genre_tagger.export.contract import WAV_RATES_HZ
from genre_tagger.export.wav import read_header, read_mono

SAMPLES = np.random.default_rng(0).uniform(-0.9, 0.9, (2000, 2))
read_header_graph = tf.function(read_header, input_signature=[tf.TensorSpec([], tf.string)], autograph=False)


def error_of(audio):
    return read_header_graph(tf.constant(audio)).error.numpy().decode()


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)])
def read_500_frames(audio, start):
    return read_mono(audio, read_header(audio), start, tf.constant(500, tf.int64))


def chunk(name, content, size=None):
    """Return a RIFF chunk, padded to an even size, whose header claims `size` bytes."""
    return name + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


def format_chunk(code=1, channels=1, rate_hz=16_000, bits=16):
    frame = channels * bits // 8
    return chunk(b"fmt ", struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame, frame, bits))


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


PCM = (10_000 * SAMPLES[:, 0]).astype("<i2")


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize("channels", [1, 2])
def test_reads_the_same_as_libsndfile(to_wav, tmp_path, subtype, channels, container):
    """WAVEX is WAVE_FORMAT_EXTENSIBLE. libsndfile writes additional chunks to float files."""
    audio = to_wav(SAMPLES[:, :channels], 16_000, subtype, container)
    (tmp_path / "file.wav").write_bytes(audio)
    expected = soundfile.read(tmp_path / "file.wav", dtype="float32", always_2d=True)[0].mean(axis=1)
    header = read_header_graph(tf.constant(audio))
    assert header.error == b"" and header.frames == 2000 and WAV_RATES_HZ[header.rate_index] == 16_000
    np.testing.assert_allclose(read_500_frames(audio, 700), expected[700:1200], atol=1e-7)


@pytest.mark.parametrize(("start", "first", "last"), [(-100, 0, 400), (1900, 1900, 2000), (-600, 0, 0), (2400, 0, 0)])
def test_frames_beyond_the_ends_are_zero(start, first, last):
    block = read_500_frames(riff(format_chunk(), chunk(b"data", PCM.tobytes())), start).numpy()
    expected = np.zeros(500)
    expected[first - start if last else 0 :][: last - first] = PCM[first:last] / 32768
    np.testing.assert_allclose(block, expected, atol=1e-7)


@pytest.mark.parametrize(
    "audio",
    [
        riff(chunk(b"LIST", b"INFOISFT odd"[:11]), format_chunk(), chunk(b"JUNK", b""), chunk(b"data", PCM.tobytes())),
        riff(format_chunk(), chunk(b"data", PCM.tobytes(), size=0xFFFFFFFF)),
        riff(format_chunk(), chunk(b"data", PCM.tobytes() + b"\0", size=0xFFFFFFFF)[:-1]),
        riff(format_chunk(), chunk(b"data", PCM.tobytes()), chunk(b"LIST", b"after", size=999)),
    ],
    ids=["odd LIST before", "streamed size", "streamed, half a sample at the end", "broken chunk after"],
)
def test_unusual_files_are_read(audio):
    assert error_of(audio) == ""
    np.testing.assert_allclose(read_500_frames(audio, 1000), PCM[1000:1500] / 32768, atol=1e-7)


WHOLE = riff(format_chunk(), chunk(b"data", PCM.tobytes()))


@pytest.mark.parametrize(
    ("audio", "facts"),
    [
        (b"", ("WAV", "RIFF", "0 bytes")),
        (b"RIFF", ("WAV", "RIFF", "4 bytes")),
        (b"\xff" * 5000, ("WAV", "RIFF", "5000 bytes")),
        (WHOLE.replace(b"WAVE", b"AVI "), ("WAV", "RIFF", f"{len(WHOLE)} bytes")),
        (WHOLE[:12], ("format chunk",)),
        (WHOLE[:30], ("data chunk",)),
        (riff(format_chunk()), ("data chunk",)),
        (riff(chunk(b"data", PCM.tobytes()), format_chunk()), ("format chunk",)),
        (WHOLE[:-7], (4000, 3993)),
        (WHOLE[:44], (4000, "found 0")),
        (riff(format_chunk(), chunk(b"data", b"")), ("no samples",)),
        (riff(format_chunk(), chunk(b"data", b"", size=0xFFFFFFFF)), ("no samples",)),
        (riff(format_chunk(bits=8), chunk(b"data", PCM.tobytes())), ("8-bit PCM", 16, 24, 32)),
        (riff(format_chunk(code=3, bits=64), chunk(b"data", PCM.tobytes())), ("64-bit float", 16, 24, 32)),
        (riff(format_chunk(code=0x55), chunk(b"data", PCM.tobytes())), ("code 85",)),
        (riff(format_chunk(channels=9), chunk(b"data", PCM.tobytes())), ("9 channels", "1 or 2")),
        (riff(format_chunk(channels=0), chunk(b"data", PCM.tobytes())), ("0 channels", "1 or 2")),
        (riff(format_chunk(rate_hz=1), chunk(b"data", PCM.tobytes())), (" 1 Hz", *WAV_RATES_HZ)),
        (riff(format_chunk(rate_hz=0), chunk(b"data", PCM.tobytes())), (" 0 Hz", *WAV_RATES_HZ)),
        (riff(format_chunk(), chunk(b"data", PCM.tobytes()[:3000])), ("0.094 s", "0.1 s")),
        (riff(format_chunk(rate_hz=12_000), chunk(b"data", bytes(14_400_002))), ("600.000 s", "600 s")),
        (riff(*[chunk(b"JUNK", b"")] * 2000, format_chunk(), chunk(b"data", PCM.tobytes())), ("format chunk",)),
        (WHOLE.replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 4, 16)), ("4 bytes", "expected 2")),
    ],
)
def test_error_has_the_facts_of_the_file(audio, facts):
    check_facts(error_of(audio), *facts)
    assert not read_500_frames(audio, 0).numpy().any()


def test_ten_minutes_are_accepted():
    assert error_of(riff(format_chunk(rate_hz=12_000), chunk(b"data", bytes(14_400_000)))) == ""
