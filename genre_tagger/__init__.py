"""Maps music to genre and other tags with a WaveNet in parallel with a CNN; import the submodules, this stays light."""

__version__ = "0.1.0"
