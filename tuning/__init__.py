"""KerasTuner search over a configuration."""
