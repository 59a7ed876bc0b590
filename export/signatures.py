"""The signatures of the SavedModel. They take raw audio. An invalid item gets an `error`; no exception is raised."""

from collections.abc import Callable

import keras
import tensorflow as tf

from genre_tagger.audio.decode import PCM16_SCALE
from genre_tagger.config import Config
from genre_tagger.dataset.pipeline import evaluation_starts
from genre_tagger.export.contract import TOP_TAGS
from genre_tagger.export.wav import read_header
from genre_tagger.export.waveform import header_samples, sample_error, waveform_reader

WINDOWS_AT_ONCE = 4  # windows of a file per call of the model, which limits the memory that a long file takes

Outputs = dict[str, tf.Tensor]


class ServedTagger(tf.Module):
    """A tagger with the signatures of a SavedModel, built from stock TensorFlow ops only.

    An invalid item is replaced by zeros before the model is called. Its outputs are zeros and an error message. An
    invalid item therefore never affects the other requests that a server merged into the same batch.

    Args:
        model: waveform [batch, samples] -> (probabilities [batch, tags], embedding [batch, dim]).
        config: configuration of the run, which sets windows, hop and pooling.
        tags: names of the tags, in the order of the probabilities.

    Raises:
        UserError: the model's sample rate has no small integer ratio to the supported rates of WAV files.
    """

    def __init__(self, model: keras.Model, config: Config, tags: tuple[str, ...]):
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        self._samples, self._rate_hz = config.window_samples, config.frontend.sample_rate
        self._pooling, self._tags = config.window.pooling, tags
        self._margin = config.frontend.clip_margin
        self._all_windows = config.covering
        # All signatures call these two functions, so the graph holds the model and the reader once. They are wrapped in
        # plain functions because a tf.Module saves every tf.function among its attributes a second time. AutoGraph is
        # off: no Python statement depends on a tensor, and the conversion would take most of the time of an export.
        windows = tf.TensorSpec([None, self._samples], tf.float32)
        score = tf.function(
            lambda batch: tuple(model(batch, training=False)), input_signature=[windows], autograph=False
        )
        read = waveform_reader(self._rate_hz)
        self._score: Callable[[tf.Tensor], tuple[tf.Tensor, ...]] = lambda batch: tuple(
            output[: tf.shape(batch)[0]] for output in score(_never_empty(batch))
        )
        self._read: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] = lambda audio: read(audio)

    def signatures(self) -> dict[str, Callable[..., Outputs]]:
        """Return a concrete function with a named input for each signature, by name."""
        waveform = tf.TensorSpec([None, self._samples], tf.float32, name="waveform")
        audio = tf.TensorSpec([None], tf.string, name="audio")
        functions = {
            "serving_default": (self._tag_waveforms, waveform),
            "pcm16": (self._tag_pcm16, audio),
            "wav": (self._tag_wavs, audio),
            "taggram": (self._taggrams, audio),
            "embed": (self._embed, waveform),
        }
        return {name: _concrete(function, spec) for name, (function, spec) in functions.items()}

    def _tag_waveforms(self, waveform: tf.Tensor) -> Outputs:
        waveform, error = _without_bad_items(waveform)
        return self._answer(self._score(waveform)[0], error)

    def _tag_pcm16(self, audio: tf.Tensor) -> Outputs:
        found, expected = tf.strings.length(audio), 2 * self._samples
        samples = tf.cast(tf.io.decode_raw(audio, tf.int16, fixed_length=expected), tf.float32)
        waveform, error = _without_bad_items(samples * (1.0 / PCM16_SCALE))
        expectation = f" bytes, expected {expected}: {self._samples} samples of 16-bit mono PCM at {self._rate_hz} Hz"
        wrong_size = tf.strings.join(["found ", tf.strings.as_string(found), expectation])
        return self._answer(self._score(waveform)[0], tf.where(found == expected, error, wrong_size))

    def _tag_wavs(self, audio: tf.Tensor) -> Outputs:
        def tag(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scores, _, error = self._score_file(file)
            return self._pool(scores), error

        kinds = tf.TensorSpec([len(self._tags)], tf.float32), tf.TensorSpec([], tf.string)
        return self._answer(*_one_by_one(tag, audio, kinds))

    def _taggrams(self, audio: tf.Tensor) -> Outputs:
        counts = tf.map_fn(self._count_windows, audio, fn_output_signature=tf.int32)
        most = tf.reduce_max(tf.concat([counts, [0]], axis=0))

        def taggram(file: tf.Tensor) -> tuple[tf.Tensor, ...]:
            scores, starts, error = self._score_file(file)
            missing = [[0, most - tf.size(starts)]]
            times = tf.cast(starts, tf.float32) / self._rate_hz
            return tf.pad(scores, [*missing, [0, 0]]), tf.pad(times, missing), tf.size(starts), error

        kinds = (
            tf.TensorSpec([None, len(self._tags)], tf.float32),
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.string),
        )
        names = ("probabilities", "times", "num_windows", "error")
        return dict(zip(names, _one_by_one(taggram, audio, kinds), strict=True))

    def _embed(self, waveform: tf.Tensor) -> Outputs:
        waveform, error = _without_bad_items(waveform)
        return {"embedding": _zero_where_bad(self._score(waveform)[1], error), "error": error}

    def _answer(self, probabilities: tf.Tensor, error: tf.Tensor) -> Outputs:
        probabilities = _zero_where_bad(probabilities, error)
        scores, indices = tf.math.top_k(probabilities, min(TOP_TAGS, len(self._tags)))
        names = tf.gather(tf.constant(self._tags), indices)
        return {
            "probabilities": probabilities,
            "top_tags": tf.where((error == "")[:, tf.newaxis], names, ""),
            "top_scores": scores,
            "error": error,
        }

    def _score_file(self, audio: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Score all windows of a WAV file.

        Returns:
            The scores [windows, tags], the first sample of each window [windows] and the error (scalar string). A file
            with an error has no windows.
        """
        waveform, error = self._read(audio)
        starts = self._starts(tf.size(waveform))
        missing = tf.maximum(self._samples - tf.size(waveform) - 2 * self._margin, 0)
        padded = tf.pad(waveform, [[self._margin, self._margin + missing]])

        def cut(start: tf.Tensor) -> tf.Tensor:
            return tf.ensure_shape(padded[start : start + self._samples], [self._samples])

        def step(first: tf.Tensor, scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch = tf.map_fn(cut, starts[first : first + WINDOWS_AT_ONCE], fn_output_signature=tf.float32)
            return first + WINDOWS_AT_ONCE, tf.concat([scores, self._score(batch)[0]], axis=0)

        _, scores = tf.while_loop(
            lambda first, _: first < tf.size(starts),
            step,
            (0, tf.zeros([0, len(self._tags)])),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, len(self._tags)])),
            parallel_iterations=1,
        )
        return scores, starts, error

    def _count_windows(self, audio: tf.Tensor) -> tf.Tensor:
        """Return the number of windows of a file, from its header alone."""
        samples = header_samples(read_header(audio), self._rate_hz)
        return tf.size(self._starts(samples))

    def _starts(self, samples: tf.Tensor) -> tf.Tensor:
        """Return the first sample of each window of a file with this number of samples; empty for 0 samples."""
        starts = evaluation_starts(samples + 2 * self._margin, self._all_windows)
        return starts[: tf.where(samples > 0, tf.size(starts), 0)]

    def _pool(self, scores: tf.Tensor) -> tf.Tensor:
        pooled = tf.reduce_mean(scores, axis=0) if self._pooling == "mean" else tf.reduce_max(scores, axis=0)
        return tf.where(tf.shape(scores)[0] > 0, pooled, 0.0)


def _concrete(function: Callable[[tf.Tensor], Outputs], spec: tf.TensorSpec) -> Callable[..., Outputs]:
    """Return a concrete function that checks the shape of its input, because a server passes on any shape."""

    def checked(batch: tf.Tensor) -> Outputs:
        return function(tf.ensure_shape(batch, spec.shape))

    return tf.function(checked, input_signature=[spec], autograph=False).get_concrete_function()


def _never_empty(batch: tf.Tensor) -> tf.Tensor:
    """Return the batch, or one item of zeros if it is empty. Convolutions and `tf.map_fn` fail on an empty batch."""
    missing = tf.cast(tf.shape(batch)[:1] == 0, tf.int32)
    return tf.concat([batch, tf.zeros(tf.concat([missing, tf.shape(batch)[1:]], axis=0), batch.dtype)], axis=0)


def _without_bad_items(waveform: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Replace invalid items (not finite, silent or absurdly loud) by zeros; also return the errors [batch]."""
    error = sample_error(waveform, tf.reduce_all(tf.math.is_finite(waveform), axis=1))
    return _zero_where_bad(waveform, error), error


def _zero_where_bad(values: tf.Tensor, error: tf.Tensor) -> tf.Tensor:
    return tf.where((error == "")[:, tf.newaxis], values, 0.0)


def _one_by_one(
    function: Callable[[tf.Tensor], tuple[tf.Tensor, ...]], audio: tf.Tensor, kinds: tuple[tf.TensorSpec, ...]
) -> tuple[tf.Tensor, ...]:
    """Apply a function to each file, one file at a time, so that a batch needs no more memory than its longest file.

    Identical files are processed once, because a server pads a batch to the next allowed size with copies of an item.
    """
    files, places = tf.unique(_never_empty(audio))
    answers = tf.map_fn(function, files, fn_output_signature=kinds, parallel_iterations=1)
    return tuple(tf.gather(answer, places[: tf.size(audio)]) for answer in answers)
