"""Level, noise and mixup of training batches: bounds and shares measured on the waveforms, seeds and unknown labels."""

import numpy as np
import pytest
import tensorflow as tf

from genre_tagger.config import AugmentConfig
from genre_tagger.dataset.augmentation import CLEANEST_DB, augment_batch

BATCH, SAMPLES = 32, 2000


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (BATCH, 4)).astype("float32")
    labels[:, 3] = -1
    return rng.normal(0, 0.1, (BATCH, SAMPLES)).astype("float32"), labels


def augmented(batch, seed=0, **fields):
    changed = augment_batch(*map(tf.constant, batch), tf.constant([seed, 7], tf.int64), AugmentConfig(**fields))
    return tuple(part.numpy() for part in changed)


def decibel(ratio):
    return 20 * np.log10(ratio)


def test_without_augmentation_nothing_changes(batch):
    for before, after in zip(batch, augmented(batch), strict=True):
        np.testing.assert_array_equal(after, before)


def test_gain_is_one_factor_per_window_within_its_bounds(batch):
    waveform, labels = augmented(batch, gain_db=6)
    factors = waveform / batch[0]
    np.testing.assert_allclose(factors, factors[:, :1].repeat(SAMPLES, axis=1), rtol=1e-5)
    gains = decibel(factors[:, 0])
    assert -6 <= gains.min() < -3 < 3 < gains.max() <= 6  # 32 uniform draws reach both outer quarters
    np.testing.assert_array_equal(labels, batch[1])


def test_noise_has_signal_to_noise_ratios_in_its_range(batch):
    waveform, _ = augmented(batch, noise_snr_db=10)
    noise = waveform - batch[0]
    ratios = decibel(batch[0].std(axis=1) / noise.std(axis=1))
    assert 9.5 < ratios.min() < 25 < 45 < ratios.max() < CLEANEST_DB + 0.5
    spectrum = np.abs(np.fft.rfft(noise / noise.std(axis=1, keepdims=True))) ** 2
    low, high = np.split(spectrum[:, 1:].mean(axis=0), 2)
    assert low.mean() == pytest.approx(high.mean(), rel=0.1)  # white


def test_mixup_mixes_labels_in_the_same_shares_as_waveforms(batch):
    """Compute the shares of the two windows from the waveforms alone, and compare them with the labels."""
    waveform, labels = augmented(batch, mixup=1.0)
    shares = np.linalg.lstsq(batch[0].T, waveform.T, rcond=None)[0].T  # [mixed, window]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-3)
    own = np.diag(shares)
    assert (own > 0.499).all() and own.min() < 0.7
    assert ((shares > 1e-3).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(labels[:, :3], shares @ batch[1][:, :3], atol=1e-3)
    np.testing.assert_array_equal(labels[:, 3], -1)


def test_a_label_that_is_unknown_in_one_of_two_mixed_windows_is_unknown():
    waveform = np.ones((2, 4), "float32")
    labels = np.array([[1, -1], [0, 1]], "float32")
    mixed = [augmented((waveform, labels), seed, mixup=1.0)[1] for seed in range(8)]
    swapped = [label for label in mixed if 0 < label[0, 0] < 1]
    assert swapped  # with some of the eight seeds, the two windows are mixed with each other
    for label in swapped:
        np.testing.assert_array_equal(label[:, 1], [-1, -1])


def test_the_result_depends_on_the_seed_only(batch):
    fields = {"gain_db": 6, "noise_snr_db": 10, "mixup": 0.3}
    first, again, other = (augmented(batch, seed, **fields)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(again, first)
    assert np.abs(other - first).max() > 0.01
