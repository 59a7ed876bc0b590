"""Pictures of the browser page: the waveform and the tags over time, as masks that CSS stretches and colours."""

import base64
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from genre_tagger.tagging.taggram_plot import TICK_SECONDS

COLUMNS = 1000  # width of a picture in pixels, for songs of any length
OUTLINE_ROWS = 120
STEPS_PER_SECOND = 100  # number of peaks per second from which an outline is drawn
MAX_TICKS = 9
GAMMA = 0.7  # below 1, so that small probabilities, which are the most common, look different from each other


def peaks_of(blocks: Iterable[np.ndarray], sample_rate: int) -> np.ndarray:
    """Return the largest magnitude in each hundredth of a second of a waveform, float32 [steps].

    The samples after the last whole step are left out.

    Args:
        blocks: the waveform float32 [samples] in consecutive blocks.
        sample_rate: sample rate of the waveform, in Hz.
    """
    size = sample_rate // STEPS_PER_SECOND
    peaks, held = [np.zeros(0, np.float32)], np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, np.abs(block)])
        whole = len(held) // size * size
        peaks.append(held[:whole].reshape(-1, size).max(axis=1))
        held = held[whole:]
    return np.concatenate(peaks)


def outline(peaks: np.ndarray) -> str:
    """Return the outline of a waveform as a mask. The loudest peak is as high as the picture.

    Args:
        peaks: float32 [steps], from `peaks_of`.
    """
    columns = min(COLUMNS, len(peaks))
    heights = np.maximum.reduceat(peaks, np.arange(columns) * len(peaks) // columns)
    heights = np.maximum(heights / heights.max(), 1 / OUTLINE_ROWS)  # silence is a thin line
    distances = np.abs(np.linspace(-1, 1, OUTLINE_ROWS))
    return mask(distances[:, None] <= heights)


def strips(probabilities: np.ndarray, times: np.ndarray, window_seconds: float, seconds: float) -> list[str]:
    """Return one mask per tag. Its opacity grows with the probability of the tag in the window whose middle is nearest.

    Args:
        probabilities: [windows, tags].
        times: start of each window in seconds, [windows].
        window_seconds: length of each window.
        seconds: length of the song, which is the width of the pictures.
    """
    middles = times + window_seconds / 2
    moments = (np.arange(COLUMNS) + 0.5) * seconds / COLUMNS
    nearest = np.searchsorted((middles[1:] + middles[:-1]) / 2, moments)
    return [mask(row[None] ** GAMMA) for row in probabilities[nearest].T]


def mask(opacity: np.ndarray) -> str:
    """Return a PNG as a data URL for CSS to colour.

    Args:
        opacity: from 0 to 1, [rows, columns].
    """
    alpha = np.rint(255 * opacity).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.dstack([np.zeros_like(alpha), alpha])).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def ticks(seconds: float) -> list[tuple[float, str]]:
    """Return the marks of a time axis: their positions in percent of its length, and their labels (m:ss).

    Args:
        seconds: length of the axis.
    """
    step = next((step for step in TICK_SECONDS if seconds < step * MAX_TICKS), TICK_SECONDS[-1])
    return [(100 * mark / seconds, clock(mark)) for mark in range(0, int(seconds) + 1, step)]


def clock(seconds: float) -> str:
    """Return seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
