"""SpecAugment: positions and widths of the masks in training, and none at inference."""

import keras
import numpy as np
import pytest
from tiny_presets import tiny

from genre_tagger.export.folding import inference_model
from genre_tagger.models.spec_augment import SpecAugment
from genre_tagger.models.tagger import build_tagger

FRAMES, MELS = 100, 40


@pytest.fixture(scope="module")
def log_mel():
    return np.random.default_rng(0).normal(-30, 10, (16, FRAMES, MELS)).astype("float32")


def masked_in_training(log_mel, **fields):
    """Return the output and a bool mask of the values that changed."""
    output = np.asarray(SpecAugment(**fields)(log_mel, training=True))
    return output, output != log_mel


def test_inference_changes_nothing(log_mel):
    np.testing.assert_array_equal(SpecAugment()(log_mel), log_mel)


def test_masks_are_whole_bands_of_the_clips_mean(log_mel):
    output, mask = masked_in_training(log_mel, masks=2, mel_share=0.25, frame_share=0.2)
    means = np.broadcast_to(log_mel.mean(axis=(1, 2), keepdims=True), output.shape)
    np.testing.assert_allclose(output[mask], means[mask], rtol=1e-5)
    frames, mels = mask.all(axis=2), mask.all(axis=1)  # [batch, frames], [batch, mels]
    np.testing.assert_array_equal(mask, frames[:, :, None] | mels[:, None])
    for lines, widest in ((frames, 2 * 0.2 * FRAMES), (mels, 2 * 0.25 * MELS)):
        assert (lines.sum(axis=1) <= widest + 2).all()  # two masks, each rounded up by one at most
        assert len({line.tobytes() for line in lines}) > 10  # the clips have different masks
        assert lines.sum(axis=1).mean() == pytest.approx(widest / 2, rel=0.4)  # half of the maximum, minus overlaps
        starts = (np.diff(lines.astype(int), axis=1, prepend=0) == 1).sum(axis=1)
        assert starts.max() == 2


def test_share_of_zero_masks_nothing(log_mel):
    _, mask = masked_in_training(log_mel, mel_share=0.0, frame_share=0.1)
    assert not mask.all(axis=1).any()
    assert mask.any()


def test_masks_follow_the_seed_and_change_with_every_call(log_mel):
    layer, again = SpecAugment(seed=3), SpecAugment(seed=3)
    first = np.asarray(layer(log_mel, training=True))
    np.testing.assert_array_equal(again(log_mel, training=True), first)
    assert (np.asarray(layer(log_mel, training=True)) != first).any()


def test_half_floats_and_compilation(log_mel):
    inputs = keras.Input((FRAMES, MELS))
    model = keras.Model(inputs, SpecAugment(dtype="mixed_bfloat16")(inputs))
    model.compile(loss="mse", optimizer="sgd", jit_compile=True)
    assert np.isfinite(model.train_on_batch(log_mel, log_mel))


def test_configuration_round_trips():
    layer = SpecAugment(masks=3, mel_share=0.2, frame_share=0.3, seed=4, name="log_mel_masks")
    assert SpecAugment.from_config(layer.get_config()).get_config() == layer.get_config()


def test_a_tagger_trained_with_masks_is_exported_without_them():
    config = tiny("wavenet_only", spec_augment={"mel_share": 0.5})
    model = build_tagger(config, 3)
    sound = np.random.default_rng(0).normal(0, 0.1, (4, config.window_samples)).astype("float32")
    in_training = np.asarray(model(sound, training=True))  # must come first because it updates batch norm
    at_inference = np.asarray(model(sound))
    assert np.abs(in_training - at_inference).max() > 1e-3
    np.testing.assert_allclose(inference_model(model)(sound)[0], at_inference, atol=1e-5)
