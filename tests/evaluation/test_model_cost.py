"""The cost of a model, compared with values computed by hand."""

import keras
import pytest
from keras import layers

from genre_tagger.evaluation.model_cost import count_flops, count_parameters, inference_graph, inference_ms


@pytest.fixture(scope="module")
def model():
    waveform = keras.Input((20, 3))
    x = layers.Conv1D(4, 5, padding="valid")(waveform)  # 16 outputs with 4 channels, each from 5 * 3 inputs
    x = layers.Dense(7)(layers.Flatten()(x))
    x = layers.BatchNormalization(trainable=False)(x)
    return keras.Model(waveform, x)


def test_a_multiplication_and_an_addition_are_two_flops(model):
    convolution = 16 * 4 * (2 * 5 * 3 + 1)
    dense = 7 * (2 * 64 + 1)
    normalisation = 2 * 7  # a product and a sum per output; its statistics are prepared once per batch
    flops = count_flops(inference_graph(model))
    assert convolution + dense <= flops <= convolution + dense + 2 * normalisation


def test_only_trainable_weights_count_as_parameters(model):
    assert count_parameters(model) == (5 * 3 * 4 + 4) + (64 * 7 + 7)


def test_inference_time_grows_with_the_number_of_operations(model):
    waveform = keras.Input((20, 3))
    x = layers.Dense(2000)(layers.Flatten()(waveform))
    for _ in range(4):
        x = layers.Dense(2000)(x)
    assert 0 < inference_ms(inference_graph(model)) < inference_ms(inference_graph(keras.Model(waveform, x)))
