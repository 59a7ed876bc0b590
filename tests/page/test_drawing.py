"""Pictures of the browser page, compared with NumPy on the whole waveform and on single columns."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from tiny_tagger import noise

from genre_tagger.page import drawing


def opacity(address: str) -> np.ndarray:
    """Return the opacities of a PNG in a data URL, [rows, columns] from 0 to 1."""
    kind, content = address.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))[..., 1] / 255


@pytest.mark.parametrize("cuts", [[], [1], [79, 80, 81, 5000], [3, 3, 7999]])
def test_peaks_do_not_depend_on_how_the_waveform_comes(cuts):
    waveform = noise(1)
    expected = np.abs(waveform).reshape(100, 80).max(axis=1)
    np.testing.assert_array_equal(drawing.peaks_of(np.split(waveform, cuts), 8000), expected)


def test_an_incomplete_hundredth_of_a_second_has_no_peak():
    assert len(drawing.peaks_of([np.ones(799, np.float32)], 8000)) == 9
    assert len(drawing.peaks_of([], 8000)) == 0


def test_the_outline_is_as_high_as_the_peaks():
    peaks = np.repeat([0.1, 0.4, 0.0, 0.2], 1000).astype(np.float32)  # four peaks a column
    peaks[500] = 0.2
    heights = opacity(drawing.outline(peaks)).mean(axis=0)
    assert len(heights) == 1000
    expected = np.repeat([0.25, 1, 0, 0.5], 250)
    expected[125] = 0.5
    np.testing.assert_allclose(heights, expected, atol=1.01 / drawing.OUTLINE_ROWS)


def test_a_short_song_has_an_outline_of_fewer_columns():
    assert opacity(drawing.outline(np.float32([0.5, 1, 0.5]))).shape == (drawing.OUTLINE_ROWS, 3)


def test_each_moment_has_the_colour_of_the_window_around_it():
    probabilities = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0], [0.2, 0.3]])
    times = np.array([0, 2, 4, 4.5])  # the last one ends with the song
    first, second = (opacity(strip) for strip in drawing.strips(probabilities, times, 3, 7.5))
    moments = (np.arange(1000) + 0.5) * 7.5 / 1000
    nearest = [int(np.argmin(np.abs(times + 1.5 - moment))) for moment in moments]
    assert sorted(set(nearest)) == [0, 1, 2, 3]
    np.testing.assert_allclose(first[0], probabilities[nearest, 0] ** drawing.GAMMA, atol=1 / 255)
    np.testing.assert_allclose(second[0], probabilities[nearest, 1] ** drawing.GAMMA, atol=1 / 255)


def test_one_window_fills_the_strip():
    (strip,) = drawing.strips(np.array([[1.0]]), np.array([0.0]), 3, 0.9)
    assert (opacity(strip) == 1).all()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, [(0, "0:00")]),
        (2.5, [(0, "0:00"), (40, "0:01"), (80, "0:02")]),
        (29.1, [(100 * mark / 29.1, f"0:{mark:02}") for mark in range(0, 30, 5)]),
        (600, [(100 * minutes / 10, f"{minutes}:00") for minutes in range(0, 11, 2)]),
        (7200, [(12.5 * steps, f"{15 * steps}:00") for steps in range(9)]),
    ],
)
def test_ticks(seconds, expected):
    marks = drawing.ticks(seconds)
    assert [label for _, label in marks] == [label for _, label in expected]
    np.testing.assert_allclose([percent for percent, _ in marks], [percent for percent, _ in expected])
