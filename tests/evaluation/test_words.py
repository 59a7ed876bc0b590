"""What command line and model card print of a figure."""

from genre_tagger.evaluation.words import area_text, number_text


def test_figures_with_intervals_as_metrics_have_them():
    assert area_text({"value": 0.87654, "low": 0.8, "high": 0.90049}) == "0.8765 [0.800, 0.900]"
    assert area_text({"value": None, "low": None, "high": None}) == number_text(None) == "undefined"
    assert number_text(0.5) == "0.5000"
