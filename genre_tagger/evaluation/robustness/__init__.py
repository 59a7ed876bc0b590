"""Robustness of a model to the quality of recordings: perturbed clips, their scores, tables and a plot."""
