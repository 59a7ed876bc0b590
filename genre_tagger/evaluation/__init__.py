"""Exact metrics with intervals, the logistic-regression floor, tables and plots."""
