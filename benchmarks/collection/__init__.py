"""A second collection of music made on the spot, by synthesis alone, to compare presets on more than the demo."""
