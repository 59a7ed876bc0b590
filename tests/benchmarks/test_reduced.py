"""Reduced presets: widths are divided, receptive fields keep their share of the window, and other values stay equal."""

import pytest

from benchmarks.reduced import reduced
from genre_tagger.config import load_config, parse_config, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_every_reduced_preset_is_valid(name):
    before, after = load_config(name), parse_config(reduced(name, 4.0))
    assert after.window.seconds <= 4
    assert after.training.learning_rate >= 1e-3
    assert after.training.model_copy(update={"learning_rate": before.training.learning_rate}) == before.training
    assert [width * 4 for width in after.model.head.widths] == list(before.model.head.widths)
    if before.window.seconds <= 4:
        assert after.window == before.window


@pytest.mark.parametrize("name", ["stable", "deep_8x4"])
@pytest.mark.parametrize("seconds", [4.0, 8.0])
def test_the_receptive_field_keeps_its_share_of_the_window(name, seconds):
    before, after = load_config(name), parse_config(reduced(name, seconds))
    share = [config.model.wavenet.receptive_field / config.frames for config in (before, after)]
    assert share[1] == pytest.approx(share[0], rel=0.2)  # depths are whole numbers


def test_the_recurrent_preset_keeps_its_number_of_steps():
    steps = []
    for config in (load_config("crnn_baseline"), parse_config(reduced("crnn_baseline", 4.0))):
        frames = config.frames
        for _, pool in config.model.crnn.pools:
            frames //= pool
        steps.append(frames)
    assert steps == [14, 15]
