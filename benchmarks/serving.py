"""Measure an exported tagger of preset `stable`: loading, first answer, latency, throughput, request sizes and memory.

    python -m benchmarks.serving [--quick]

The model has random weights, and the clips are 29.12 s of noise. All measurements run in separate processes that have
only the SavedModel. `load` uses the C API's loader, as TensorFlow Serving does. All others call the signatures in
Python. JSON requests are parsed with Python's `json`, whereas a server has its own parser.
"""

import base64
import ctypes
import io
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import tensorflow as tf

from benchmarks._common import (
    NUM_TAGS,
    Measurement,
    matrix_rate,
    medians,
    options,
    print_table,
    say,
    scaled,
    seconds,
    stable_config,
)
from benchmarks.reading import in_own_process, peak_resident_mb
from genre_tagger.audio.decode import to_pcm16
from genre_tagger.config import Config
from genre_tagger.export.folding import inference_model
from genre_tagger.export.savedmodel import write_savedmodel
from genre_tagger.export.signatures import ServedTagger
from genre_tagger.models.tagger import build_tagger

LOAD_SECONDS = 3.0
CLIP_MS, WAV_MS = 100.0, 150.0
REPEATS = 100  # enough for a 99th percentile
WAV_RATE_HZ = 44_100
BATCHES = (1, 8, 32)


def main() -> None:
    quick = options(__doc__).parse_args().quick
    config = stable_config(quick)
    repeats = 5 if quick else REPEATS
    rate_before = matrix_rate()
    with TemporaryDirectory() as folder:
        in_own_process(export, Path(folder), config)
        say("measuring")
        load = in_own_process(load_by_c_api, Path(folder))
        figures = in_own_process(measure, Path(folder), config, repeats)
    rate = (rate_before + matrix_rate()) / 2
    print_table(f"serving, clips of {config.window.seconds:g} s", rate, rows(load, figures, rate))


def rows(load: float, figures: dict[str, float], rate: float) -> list[Measurement]:
    """Return the rows of the table, with each value's unit and target."""
    targets = {"serving_default p50": CLIP_MS, "wav p50": WAV_MS}
    units = {"throughput": "clips/s", "memory": "MB", "request": "MB", "first": "s", "load": "s"}
    table = [Measurement("load, C API", "s", load, scaled(LOAD_SECONDS, rate))]
    for what, figure in figures.items():
        unit = next((unit for word, unit in units.items() if what.startswith(word)), "ms")
        target = scaled(targets[what], rate) if what in targets else None
        table.append(Measurement(what, unit, figure, target))
    return table


def export(directory: Path, config: Config) -> None:
    """Write the SavedModel."""
    tags = tuple(f"tag{number}" for number in range(NUM_TAGS))
    write_savedmodel(directory, ServedTagger(inference_model(build_tagger(config, NUM_TAGS)), config, tags), {})


def load_by_c_api(directory: Path) -> float:
    """Return the seconds that TF_LoadSessionFromSavedModel takes."""
    library = ctypes.CDLL(str(Path(tf.__file__).parent / "libtensorflow_cc.so.2"))
    for function in ("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel"):
        getattr(library, function).restype = ctypes.c_void_p
    status, graph, session_options = (
        ctypes.c_void_p(getattr(library, name)()) for name in ("TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions")
    )
    tags = (ctypes.c_char_p * 1)(b"serve")
    path = ctypes.c_char_p(str(directory).encode())
    taken = seconds(
        lambda: library.TF_LoadSessionFromSavedModel(session_options, None, path, tags, 1, graph, None, status)
    )
    if library.TF_GetCode(status):
        raise RuntimeError(f"{directory}: the C API cannot load this SavedModel")
    return taken


def measure(directory: Path, config: Config, repeats: int) -> dict[str, float]:
    """Return all values by name, except the time to load with the C API."""
    start = time.perf_counter()
    loaded = tf.saved_model.load(str(directory))
    figures = {"load, in Python": time.perf_counter() - start}
    clips = np.random.default_rng(0).normal(0, 0.1, (max(BATCHES), config.window_samples)).astype(np.float32)
    calls = one_clip_calls(loaded.signatures, clips[0], config)
    figures["first answer, serving_default"] = seconds(calls["serving_default"])
    for name, call in calls.items():
        call()
        times = [1000 * seconds(call) for _ in range(repeats)]
        figures |= {f"{name} p{percent}": float(np.percentile(times, percent)) for percent in (50, 99)}
    for size in BATCHES:
        (median,) = medians(5, partial(loaded.signatures["serving_default"], waveform=tf.constant(clips[:size])))
        figures[f"throughput, batch {size}"] = size / median
    figures["request as JSON, serving_default"] = len(as_json(clips[0].tolist())) / 1e6
    figures["request as JSON, pcm16"] = len(as_json(as_base64(clips[0]))) / 1e6
    figures["memory, peak"] = peak_resident_mb(os.getpid())
    return figures


def one_clip_calls(signatures, clip: np.ndarray, config: Config) -> dict[str, Callable[[], object]]:
    """Return functions that send one clip to each signature, from tensors and from JSON."""
    pcm = to_pcm16(clip.copy()).tobytes()
    waveform_json, pcm_json = as_json(clip.tolist()), as_json(as_base64(clip))

    def from_waveform_json():
        waveform = np.asarray(json.loads(waveform_json)["inputs"], np.float32)
        return signatures["serving_default"](waveform=tf.constant(waveform))

    def from_pcm_json():
        audio = [base64.b64decode(item["b64"]) for item in json.loads(pcm_json)["inputs"]]
        return signatures["pcm16"](audio=tf.constant(audio))

    waveform, audio, wav = (tf.constant([item]) for item in (clip, pcm, wav_noise(config.window.seconds)))
    return {
        "serving_default": lambda: signatures["serving_default"](waveform=waveform),
        "pcm16": lambda: signatures["pcm16"](audio=audio),
        "wav": lambda: signatures["wav"](audio=wav),
        "serving_default from JSON": from_waveform_json,
        "pcm16 from JSON": from_pcm_json,
    }


def as_json(item: object) -> str:
    """Return a request with one item, as REST clients send it."""
    return json.dumps({"inputs": [item]})


def as_base64(clip: np.ndarray) -> dict[str, str]:
    """Return the clip as 16-bit PCM in REST's encoding of bytes."""
    return {"b64": base64.b64encode(to_pcm16(clip.copy()).tobytes()).decode()}


def wav_noise(clip_seconds: float) -> bytes:
    """Return a WAV file of noise at 44.1 kHz, 16-bit, stereo."""
    file = io.BytesIO()
    noise = np.random.default_rng(1).normal(0, 0.1, (round(clip_seconds * WAV_RATE_HZ), 2))
    soundfile.write(file, noise, WAV_RATE_HZ, format="WAV")
    return file.getvalue()


if __name__ == "__main__":
    main()
