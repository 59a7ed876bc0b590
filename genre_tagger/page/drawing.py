"""What the page draws of a song: its outline and its tags over time, as masks that a browser stretches and colours."""

import base64
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from genre_tagger.tagging.taggram_plot import TICK_SECONDS

COLUMNS = 1000  # of a picture, whatever the song's length
OUTLINE_ROWS = 120
STEPS_A_SECOND = 100  # of the peaks that an outline is drawn from
MAX_TICKS = 9
GAMMA = 0.7  # below 1 it sets small probabilities apart, which is where most tags of most models are


def peaks_of(blocks: Iterable[np.ndarray], sample_rate: int) -> np.ndarray:
    """The largest magnitude in each hundredth of a second of a waveform that comes in blocks [samples]: [steps]."""
    size = sample_rate // STEPS_A_SECOND
    peaks, held = [np.zeros(0, np.float32)], np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, np.abs(block)])
        whole = len(held) // size * size
        peaks.append(held[:whole].reshape(-1, size).max(axis=1))
        held = held[whole:]
    return np.concatenate(peaks)


def outline(peaks: np.ndarray) -> str:
    """The waveform's outline as a mask, the loudest peak as high as the picture; `peaks` is what `peaks_of` makes."""
    columns = min(COLUMNS, len(peaks))
    heights = np.maximum.reduceat(peaks, np.arange(columns) * len(peaks) // columns)
    heights = np.maximum(heights / heights.max(), 1 / OUTLINE_ROWS)  # silence is a thin line
    distances = np.abs(np.linspace(-1, 1, OUTLINE_ROWS))
    return mask(distances[:, None] <= heights)


def strips(probabilities: np.ndarray, times: np.ndarray, window_seconds: float, seconds: float) -> list[str]:
    """A mask for each tag, as dense as the tag is probable: each moment shows the window whose middle is nearest.

    Args:
        probabilities: [windows, tags].
        times: [windows], where they start.
        window_seconds: their length.
        seconds: the song's length, which is the width of the pictures.
    """
    middles = times + window_seconds / 2
    moments = (np.arange(COLUMNS) + 0.5) * seconds / COLUMNS
    nearest = np.searchsorted((middles[1:] + middles[:-1]) / 2, moments)
    return [mask(row[None] ** GAMMA) for row in probabilities[nearest].T]


def mask(opacity: np.ndarray) -> str:
    """The address (data:) of a PNG with opacities [rows, columns] from 0 to 1, for CSS to colour."""
    alpha = np.rint(255 * opacity).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.dstack([np.zeros_like(alpha), alpha])).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def ticks(seconds: float) -> list[tuple[float, str]]:
    """Marks of a time axis: where, in percent of its length, and what stands there (m:ss)."""
    step = next((step for step in TICK_SECONDS if seconds < step * MAX_TICKS), TICK_SECONDS[-1])
    return [(100 * mark / seconds, clock(mark)) for mark in range(0, int(seconds) + 1, step)]


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
