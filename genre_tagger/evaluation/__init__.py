"""Exact metrics with confidence intervals, the logistic-regression baseline, tables and plots."""
