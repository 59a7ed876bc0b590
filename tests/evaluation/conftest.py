"""Fixtures of the evaluation tests."""

from made_predictions import predictions, predictions_of, rows_of  # noqa: F401, fixtures
