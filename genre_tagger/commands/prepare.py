"""The command `prepare`."""

from typing import TYPE_CHECKING, Annotated

import typer

from genre_tagger.commands.console import protocol_text, say, show, titled_table
from genre_tagger.commands.options import takes_data

if TYPE_CHECKING:
    from genre_tagger.dataset.manifest import Manifest
    from genre_tagger.dataset.request import DataRequest


@takes_data()
def prepare(
    request: "DataRequest",
    sample_rate: Annotated[
        int, typer.Option(min=1000, max=192_000, help="Sample rate of the prepared audio, in Hz.")
    ] = 12_000,
) -> None:
    """Decode a collection into TFRecord shards. `train` also does this if needed.

    If interrupted, rerun the command to resume.
    """
    from genre_tagger.dataset.prepare import prepare_source

    print_manifest(prepare_source(request, sample_rate))


def print_manifest(manifest: "Manifest") -> None:
    """Print the splits, the rejected clips, the tags that metrics will leave out, and the directory."""
    tags = f"{len(manifest.tags)} tags{protocol_text(manifest.protocol)}"
    table = titled_table(f"prepared {manifest.source} at {manifest.sample_rate} Hz, {tags}", "split")
    for name in ("clips", "groups", "hours"):
        table.add_column(name, justify="right")
    for split, summary in manifest.splits.items():
        table.add_row(split, str(summary.clips), str(summary.groups), f"{summary.seconds / 3600:.2f}")
    show(table)
    if manifest.rejected:
        say(f"{manifest.rejected} clips rejected, with the reasons in {manifest.directory / 'rejected.csv'}")
    for split in manifest.splits:
        if one_sided := manifest.one_sided_tags(split):
            say(f"without positives or without negatives in {split}: {', '.join(one_sided)}")
    for note in manifest.notes:
        say(note)
    say(f"data in {manifest.directory}  (overview: dataset.png, dataset.json)")
