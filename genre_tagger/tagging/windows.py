"""Windows of a song as it is decoded: the same that evaluation cuts from a whole clip, without the whole in memory."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np

from genre_tagger.config import Config
from genre_tagger.data.decode import PCM16_SCALE, SILENT_PEAK

Window = tuple[int, np.ndarray]  # its first sample, margins counted, and its samples


def cut_windows(blocks: Iterable[np.ndarray], config: Config) -> Iterator[Window]:
    """All windows of `evaluation_starts`, in order, each as soon as its samples are there.

    Args:
        blocks: the waveform [samples], in pieces of any size.
        config: a `covering` one; of a waveform shorter than a window the missing samples are zeros.
    """
    size, hop = config.window_samples, config.hop_samples
    margin = np.zeros(config.frontend.clip_margin, np.float32)
    start, held, latest = 0, np.zeros(0, np.float32), None
    for block in chain([margin], blocks, [margin]):
        held = np.concatenate([held, block])  # begins where the next window does
        while len(held) >= size:
            latest = held[:size]
            yield start, latest
            start, held = start + hop, held[hop:]
    if latest is None:
        yield 0, np.pad(held, (0, size - len(held)))
    elif config.window.evaluate == "all" and (left := len(held) + hop - size) > 0:
        yield start - hop + left, np.concatenate([latest, held[-left:]])[-size:]


def batches_of(windows: Iterable[Window], size: int) -> Iterator[tuple[list[int], np.ndarray]]:
    """First samples and windows [batch, samples], `size` at a time."""
    windows = iter(windows)
    while batch := list(islice(windows, size)):
        starts, waveforms = zip(*batch, strict=True)
        yield list(starts), np.stack(waveforms)


def never_silent(windows: np.ndarray) -> np.ndarray:
    """The same windows, but where one is silent a first sample of the smallest step that 16 bits have.

    Signatures that take windows refuse silent ones, which a song may well have: it is judged as a whole, and a run
    scores its pauses. One such step is below what any front-end tells from silence.
    """
    silent = np.abs(windows).max(axis=1) < SILENT_PEAK
    windows = windows.copy()
    windows[silent, 0] = 1 / PCM16_SCALE
    return windows
