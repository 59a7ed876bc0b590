"""Cuts a song into windows while it is decoded. The windows equal those that evaluation cuts from a clip in memory."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np

from genre_tagger.audio.decode import PCM16_SCALE, SILENT_PEAK
from genre_tagger.config import Config

Window = tuple[int, np.ndarray]  # index of the first sample in the song with its margins, and the samples


def cut_windows(blocks: Iterable[np.ndarray], config: Config) -> Iterator[Window]:
    """Yield the windows that start at `evaluation_starts`, in order, each as soon as its samples are decoded.

    A song that is shorter than a window is padded with zeros.

    Args:
        blocks: the waveform float32 [samples] in consecutive blocks of any size.
        config: configuration of the model, as `Config.covering` returns it.
    """
    size, hop = config.window_samples, config.hop_samples
    margin = np.zeros(config.frontend.clip_margin, np.float32)
    start, held = 0, np.zeros(0, np.float32)
    latest: np.ndarray | None = None
    for block in chain([margin], blocks, [margin]):
        held = np.concatenate([held, block])  # starts at the first sample of the next window
        while len(held) >= size:
            latest = held[:size]
            yield start, latest
            start, held = start + hop, held[hop:]
    if latest is None:
        yield 0, np.pad(held, (0, size - len(held)))
    elif config.window.evaluate == "all" and (left := len(held) + hop - size) > 0:
        yield start - hop + left, np.concatenate([latest, held[-left:]])[-size:]


def batches_of(windows: Iterable[Window], size: int) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield batches of windows: the index of the first sample of each window, and the windows [batch, samples].

    Args:
        windows: the windows.
        size: number of windows per batch; the last batch may have fewer.
    """
    windows = iter(windows)
    while batch := list(islice(windows, size)):
        starts, waveforms = zip(*batch, strict=True)
        yield list(starts), np.stack(waveforms)


def never_silent(windows: np.ndarray) -> np.ndarray:
    """Return the windows [batch, samples] with the first sample of silent windows set to the smallest 16-bit step.

    The signatures of an exported model that take windows refuse silent ones. A song is checked for silence as a whole,
    so it may contain silent windows, and the model of a run scores them. No front-end can distinguish one such step
    from silence.
    """
    silent = np.abs(windows).max(axis=1) < SILENT_PEAK
    windows = windows.copy()
    windows[silent, 0] = 1 / PCM16_SCALE
    return windows
