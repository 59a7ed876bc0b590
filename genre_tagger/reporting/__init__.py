"""A run on one self-contained HTML page."""
