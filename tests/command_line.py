"""Run commands in tests, with options for a model that trains in seconds."""

from typer.testing import CliRunner

from genre_tagger.commands.app import app

TINY = (
    "window.seconds=0.6",
    "window.hop_seconds=0.25",
    "model.cnn={kernels: [4, 4], pools: [[2, 2], [4, 4]], dropouts: [0, 0], output_width: 4}",
    "model.wavenet={dilation_depth: 2, blocks: 1, skip_channels: 8, output_width: 4, cascade: {width: 8}}",
    "model.head.widths=[8]",
    "training.batch_size=4",
    "training.epochs=2",
)
OVERRIDES = [part for override in TINY for part in ("--set", override)]
# Without the WaveNet and with one epoch, a training takes half the time. Use this if a test does not check the model.
SMALLEST = [*OVERRIDES, "--set", "model.wavenet=none", "--epochs", "1"]


def run_command(*arguments: object) -> str:
    """Run a command that must succeed, and return its standard output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
