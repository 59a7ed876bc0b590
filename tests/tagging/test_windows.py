"""Windows that are cut while a song is decoded equal those cut from the whole clip."""

import numpy as np
import pytest

from genre_tagger.config import parse_config
from genre_tagger.tagging.windows import batches_of, cut_windows, never_silent


def by_hand(waveform, size, hop, margin, which):
    """Return (starts, windows) of a whole waveform."""
    padded = np.pad(waveform, margin)
    last = max(len(padded) - size, 0)
    starts = list(range(0, last + 1, hop))
    if which == "all" and starts[-1] < last:
        starts.append(last)
    padded = np.pad(padded, (0, max(0, size - len(padded))))
    return starts, np.stack([padded[start : start + size] for start in starts])


@pytest.mark.parametrize("which", ["center", "all", "whole"])
@pytest.mark.parametrize("hop", [1.0, 0.37])
@pytest.mark.parametrize("center", [True, False])
def test_equal_those_of_the_whole_clip(which, hop, center):
    frontend = {"sample_rate": 1000, "n_fft": 64, "hop_length": 32, "n_mels": 8, "center": center}
    config = parse_config({"frontend": frontend, "window": {"seconds": 1, "hop_seconds": hop, "evaluate": which}})
    rng = np.random.default_rng(0)
    covering = "all" if which == "center" else which
    for samples in (1, 500, 936, 937, 999, 1000, 1001, 1063, 1370, 1371, 2000, 4321):
        waveform = rng.normal(size=samples).astype(np.float32)
        expected = by_hand(waveform, 1000, round(1000 * hop), 0 if center else 32, covering)
        blocks = np.split(waveform, np.sort(rng.integers(0, samples + 1, 5)))
        starts, windows = zip(*cut_windows(blocks, config.covering), strict=True)
        assert list(starts) == expected[0], samples
        np.testing.assert_array_equal(np.stack(windows), expected[1])


def test_batches_are_full_but_for_the_last():
    windows = [(number, np.full(4, number)) for number in range(7)]
    batches = list(batches_of(windows, 3))
    assert [starts for starts, _ in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch[:, 0].tolist() for _, batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_silent_window_gets_one_step_of_16_bits():
    windows = np.stack([np.zeros(5), np.full(5, 1e-5), np.full(5, 0.1)]).astype(np.float32)
    changed = never_silent(windows)
    assert (np.round(np.abs(changed).max(axis=1) * 32768) >= 1).all()
    np.testing.assert_array_equal(changed[2], windows[2])
    np.testing.assert_array_equal(changed[:, 1:], windows[:, 1:])
    assert not windows[0].any()
