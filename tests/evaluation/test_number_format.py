"""Numbers as printed by the command line and the model card."""

from genre_tagger.evaluation.number_format import area_text, number_text


def test_text_of_values_with_and_without_interval():
    assert area_text({"value": 0.87654, "low": 0.8, "high": 0.90049}) == "0.8765 [0.800, 0.900]"
    assert area_text({"value": None, "low": None, "high": None}) == number_text(None) == "undefined"
    assert number_text(0.5) == "0.5000"
