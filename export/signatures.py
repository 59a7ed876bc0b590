"""The signatures of the SavedModel: raw audio in, tags out, and for each item an `error` instead of an exception."""

from collections.abc import Callable

import keras
import tensorflow as tf

from genre_tagger.config import Config
from genre_tagger.data.decode import PCM16_SCALE
from genre_tagger.data.pipeline import evaluation_starts
from genre_tagger.export.contract import TOP_TAGS
from genre_tagger.export.wav import read_header
from genre_tagger.export.waveform import header_samples, sample_error, waveform_reader

WINDOWS_AT_ONCE = 4  # of a file go through the model: bounds the memory of a long one

Answer = dict[str, tf.Tensor]


class ServedTagger(tf.Module):
    """A tagger as a SavedModel serves it, of stock ops alone.

    A bad item is replaced by zeros before the model and gets zeros and a message for an answer, so that nothing of it
    reaches the other requests that a server merged into the same batch.

    Args:
        model: waveform [batch, samples] -> (probabilities [batch, tags], embedding [batch, dim]).
        config: of the run, for windows, hop and pooling.
        tags: names of the probabilities.

    Raises:
        UserError: the sample rate has no small ratio to those of WAV files.
    """

    def __init__(self, model: keras.Model, config: Config, tags: tuple[str, ...]):
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        self._samples, self._rate_hz = config.window_samples, config.frontend.sample_rate
        self._pooling, self._tags = config.window.pooling, tags
        self._margin = config.frontend.clip_margin
        self._all_windows = config.covering
        # Functions that all signatures call, so that the graph holds model and reader once; behind a plain function,
        # since a module saves those that it sees a second time.
        windows = tf.TensorSpec([None, self._samples], tf.float32)
        score = tf.function(lambda batch: tuple(model(batch, training=False)), input_signature=[windows])
        read = waveform_reader(self._rate_hz)
        self._score = lambda batch: tuple(output[: tf.shape(batch)[0]] for output in score(_never_empty(batch)))
        self._read = lambda audio: read(audio)

    def signatures(self) -> dict[str, Callable]:
        """A concrete function for each signature, with its input named."""
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

    def _tag_waveforms(self, waveform) -> Answer:
        waveform, error = _without_bad_items(waveform)
        return self._answer(self._score(waveform)[0], error)

    def _tag_pcm16(self, audio) -> Answer:
        found, expected = tf.strings.length(audio), 2 * self._samples
        samples = tf.cast(tf.io.decode_raw(audio, tf.int16, fixed_length=expected), tf.float32)
        waveform, error = _without_bad_items(samples * (1.0 / PCM16_SCALE))
        expectation = f" bytes, expected {expected}: {self._samples} samples of 16-bit mono PCM at {self._rate_hz} Hz"
        wrong_size = tf.strings.join(["found ", tf.strings.as_string(found), expectation])
        return self._answer(self._score(waveform)[0], tf.where(found == expected, error, wrong_size))

    def _tag_wavs(self, audio) -> Answer:
        def tag(file):
            scores, _, error = self._score_file(file)
            return self._pool(scores), error

        kinds = tf.TensorSpec([len(self._tags)], tf.float32), tf.TensorSpec([], tf.string)
        return self._answer(*_one_by_one(tag, audio, kinds))

    def _taggrams(self, audio) -> Answer:
        counts = tf.map_fn(self._count_windows, audio, fn_output_signature=tf.int32)
        most = tf.reduce_max(tf.concat([counts, [0]], axis=0))

        def taggram(file):
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

    def _embed(self, waveform) -> Answer:
        waveform, error = _without_bad_items(waveform)
        return {"embedding": _zero_where_bad(self._score(waveform)[1], error), "error": error}

    def _answer(self, probabilities, error) -> Answer:
        probabilities = _zero_where_bad(probabilities, error)
        scores, indices = tf.math.top_k(probabilities, min(TOP_TAGS, len(self._tags)))
        names = tf.gather(tf.constant(self._tags), indices)
        return {
            "probabilities": probabilities,
            "top_tags": tf.where((error == "")[:, tf.newaxis], names, ""),
            "top_scores": scores,
            "error": error,
        }

    def _score_file(self, audio) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Scores [windows, tags] and first samples [windows] of a file's windows, none where its error says why."""
        waveform, error = self._read(audio)
        starts = self._starts(tf.size(waveform))
        missing = tf.maximum(self._samples - tf.size(waveform) - 2 * self._margin, 0)
        padded = tf.pad(waveform, [[self._margin, self._margin + missing]])

        def cut(start):
            return tf.ensure_shape(padded[start : start + self._samples], [self._samples])

        def step(first, scores):
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

    def _count_windows(self, audio) -> tf.Tensor:
        """Windows of a file by its header alone."""
        samples = header_samples(read_header(audio), self._rate_hz)
        return tf.size(self._starts(samples))

    def _starts(self, samples) -> tf.Tensor:
        """First samples of all windows that the run evaluates, or would of a longer clip; none without samples."""
        starts = evaluation_starts(samples + 2 * self._margin, self._all_windows)
        return starts[: tf.where(samples > 0, tf.size(starts), 0)]

    def _pool(self, scores) -> tf.Tensor:
        pooled = tf.reduce_mean(scores, axis=0) if self._pooling == "mean" else tf.reduce_max(scores, axis=0)
        return tf.where(tf.shape(scores)[0] > 0, pooled, 0.0)


def _concrete(function: Callable[[tf.Tensor], Answer], spec: tf.TensorSpec) -> Callable:
    """The function of one named input, whose shape is looked at first: a server passes on whatever it is sent."""

    def checked(batch):
        return function(tf.ensure_shape(batch, spec.shape))

    return tf.function(checked, input_signature=[spec]).get_concrete_function()


def _never_empty(batch) -> tf.Tensor:
    """The batch, or one item of zeros where it has none, which convolutions and `tf.map_fn` fail on."""
    missing = tf.cast(tf.shape(batch)[:1] == 0, tf.int32)
    return tf.concat([batch, tf.zeros(tf.concat([missing, tf.shape(batch)[1:]], axis=0), batch.dtype)], axis=0)


def _without_bad_items(waveform) -> tuple[tf.Tensor, tf.Tensor]:
    """Zeros in place of items that are not finite, silent or absurdly loud, and the errors [batch]."""
    error = sample_error(waveform, tf.reduce_all(tf.math.is_finite(waveform), axis=1))
    return _zero_where_bad(waveform, error), error


def _zero_where_bad(values, error) -> tf.Tensor:
    return tf.where((error == "")[:, tf.newaxis], values, 0.0)


def _one_by_one(function, audio, kinds) -> tuple[tf.Tensor, ...]:
    """The function of each file, one file after the other, so that a batch takes no more memory than its longest.

    A server fills a batch up to the next allowed size with copies of an item, which must not cost a file each.
    """
    files, places = tf.unique(_never_empty(audio))
    answers = tf.map_fn(function, files, fn_output_signature=kinds, parallel_iterations=1)
    return tuple(tf.gather(answer, places[: tf.size(audio)]) for answer in answers)
