"""A second collection, with synthesised music only, to compare presets on more than the demo."""
