"""Windows from prepared shards: their positions, their order, and how they depend on seeds and epochs."""

import numpy as np
import pytest
import tensorflow as tf

from genre_tagger.config import load_config
from genre_tagger.dataset.pipeline import (
    RecordReader,
    evaluation_starts,
    evaluation_windows,
    steps_per_epoch,
    training_windows,
    whole_clips,
)
from genre_tagger.frontend import LogMelSpectrogram

RATE = 1000
TAGS = 3
LENGTHS = (400, 1000, 1500, 2300, 90, 1000, 3001)  # samples of the clips, some of them shorter than a window


def ramp(number: int, samples: int) -> np.ndarray:
    """Return a clip whose samples identify the clip and the position."""
    return (number * 4000 + np.arange(samples)).astype("<i2")


@pytest.fixture
def reader(tmp_path):
    paths = [tmp_path / "train-0.tfrecord", tmp_path / "train-1.tfrecord"]
    for part, path in enumerate(paths):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for number in range(part, len(LENGTHS), 2):
                writer.write(example(number).SerializeToString())
    return RecordReader(paths, len(LENGTHS))


def example(number: int) -> tf.train.Example:
    labels = np.array([number % 2, 1, -1], np.int8)
    contents = {"pcm": ramp(number, LENGTHS[number]).tobytes(), "labels": labels.tobytes()}
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in contents.items()
    }
    features["index"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))
    return tf.train.Example(features=tf.train.Features(feature=features))


def config(*overrides: str):
    return load_config(
        overrides=[f"frontend.sample_rate={RATE}", "window.seconds=1.0", "training.batch_size=2", *overrides]
    )


def pcm(waveform: np.ndarray) -> np.ndarray:
    return np.rint(np.asarray(waveform) * 32768).astype(int)


def epochs(reader, config, count: int, first: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (windows, labels) of whole epochs as integers."""
    steps = steps_per_epoch(reader, config)
    batches = training_windows(reader, config, TAGS, first).take(steps * count)
    windows, labels = zip(*[(pcm(waveform), label.numpy()) for waveform, label in batches], strict=True)
    return [
        (np.concatenate(windows[start : start + steps]), np.concatenate(labels[start : start + steps]))
        for start in range(0, steps * count, steps)
    ]


def clip_of(window: np.ndarray) -> int:
    return round(window[0] / 4000 - 0.2)


def test_centre_windows_are_cut_from_the_middle_and_padded_at_the_end(reader):
    for waveform, number in evaluation_windows(reader, config()).unbatch():
        samples = LENGTHS[int(number)]
        start = max(samples - RATE, 0) // 2
        expected = ramp(int(number), samples)[start : start + RATE]
        window = pcm(waveform)
        assert np.array_equal(window[: len(expected)], expected)
        assert not window[len(expected) :].any()


@pytest.mark.parametrize(
    ("samples", "hop", "expected"),
    [
        (2300, 1.0, [0, 1000, 1300]),
        (3000, 1.0, [0, 1000, 2000]),
        (1000, 1.0, [0]),
        (400, 1.0, [0]),
        (1501, 0.5, [0, 500, 501]),
    ],
)
def test_all_windows_reach_the_end_of_the_clip(samples, hop, expected):
    chosen = config("window.evaluate=all", f"window.hop_seconds={hop}")
    assert evaluation_starts(samples, chosen).numpy().tolist() == expected


@pytest.mark.parametrize(("samples", "expected"), [(2300, [0, 700]), (2400, [0, 700, 1400]), (400, [0])])
def test_whole_windows_leave_out_the_remainder_at_the_end(samples, expected):
    chosen = config("window.evaluate=whole", "window.hop_seconds=0.7")
    assert evaluation_starts(samples, chosen).numpy().tolist() == expected


def test_adjacent_uncentred_windows_have_the_frames_of_the_whole_clip(reader):
    """Windows of 4 frames, 20 samples each, and a margin of 10 around each clip."""
    settings = ["n_fft=20", "hop_length=10", "n_mels=4", "center=false", "mel_exponent=1", "compression=log10"]
    overrides = [f"frontend.{setting}" for setting in settings] + ["window.seconds=0.05", "window.hop_seconds=0.04"]
    chosen = config(*overrides, "window.evaluate=whole")
    windows, numbers = (np.concatenate(part) for part in zip(*evaluation_windows(reader, chosen), strict=True))
    layer = LogMelSpectrogram(**chosen.frontend.model_dump())
    log_mel = np.asarray(layer(windows))
    for number, samples in enumerate(LENGTHS):
        clip = np.pad(ramp(number, samples) / 32768, 10)[np.newaxis]
        expected = np.asarray(layer(clip.astype("float32")))[0]
        assert len(expected) == 1 + samples // 10  # the same number as with centred frames
        found = np.concatenate(log_mel[numbers == number])
        assert len(found) == len(expected) // 4 * 4
        np.testing.assert_allclose(found, expected[: len(found)], atol=1e-3)


def test_every_window_of_every_clip_occurs_once_in_a_fixed_order(reader):
    chosen = config("window.evaluate=all")
    numbers = [int(number) for _, number in evaluation_windows(reader, chosen).unbatch()]
    expected = {number: len(evaluation_starts(samples, chosen)) for number, samples in enumerate(LENGTHS)}
    assert {number: numbers.count(number) for number in numbers} == expected
    assert numbers == [int(number) for _, number in evaluation_windows(reader, chosen).unbatch()]


def test_an_epoch_holds_each_clip_at_most_once_with_its_own_labels(reader):
    ((windows, labels),) = epochs(reader, config(), 1)
    numbers = [clip_of(window) for window in windows]
    assert len(numbers) == 6  # seven clips, whole batches of two
    assert len(set(numbers)) == 6
    assert np.array_equal(labels, [[number % 2, 1, -1] for number in numbers])


def test_epochs_differ_and_a_resumed_run_sees_the_same_ones(reader):
    chosen = config("window.train=random", "window.seconds=0.5")
    uninterrupted = epochs(reader, chosen, 3)
    (resumed,) = epochs(reader, chosen, 1, first=2)
    assert np.array_equal(uninterrupted[2][0], resumed[0])
    assert not np.array_equal(uninterrupted[0][0], uninterrupted[1][0])


def test_the_seed_changes_order_and_crops(reader):
    one, again, other = (epochs(reader, config("window.train=random", f"seed={seed}"), 1)[0][0] for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("global_seed", [0, 7])
def test_the_order_does_not_depend_on_the_global_seed(reader, global_seed):
    tf.random.set_seed(1)
    expected = epochs(reader, config(), 1)[0][0]
    tf.random.set_seed(global_seed)
    assert np.array_equal(epochs(reader, config(), 1)[0][0], expected)


def test_random_windows_lie_inside_the_clip_and_vary(reader):
    chosen = config("window.train=random", "window.seconds=0.5")
    starts = set()
    for windows, _ in epochs(reader, chosen, 20):
        for window in windows:
            if clip_of(window) == 6:
                start = int(window[0] - 6 * 4000)
                assert np.array_equal(window, ramp(6, LENGTHS[6])[start : start + 500])
                starts.add(start)
    assert len(starts) > 10
    assert max(starts) - min(starts) > 1000


def test_fewer_clips_than_a_batch_make_one_smaller_batch(reader):
    chosen = config("training.batch_size=64")
    assert steps_per_epoch(reader, chosen) == 1
    ((windows, _),) = epochs(reader, chosen, 1)
    assert len(windows) == len(LENGTHS)


def test_whole_clips_pass_through_the_transform(reader):
    sizes = {int(number): int(size) for size, number in whole_clips(reader, lambda wave: tf.size(wave)[tf.newaxis])}
    assert sizes == dict(enumerate(LENGTHS))
