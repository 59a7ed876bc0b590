"""Makes a collection of synthesised music on the spot: FLAC files and a table of tags that are true by construction.

    python -m benchmarks.collection MUSIC
    genre-tagger compare folder --root MUSIC --presets small,no_dropout

No sound bank and no MIDI: strings, bells, filtered waves, formants and noise are computed, so that it has nothing in
common with the package's demo but that it is seeded. More songs extend a collection of the same seed.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.collection.composing import SECTIONS_A_SONG
from benchmarks.collection.rendering import write_song, write_table
from benchmarks.collection.song import TAGS

FEWEST_SONGS = 5  # of which one each is for validation and for the test


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.collection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--songs", type=int, default=300, help=f"{SECTIONS_A_SONG} clips each; 300 by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.songs < FEWEST_SONGS:
        parser.error(f"--songs: found {options.songs}, expected {FEWEST_SONGS} or more")
    if options.seed < 0:
        parser.error(f"--seed: found {options.seed}, expected 0 or more")
    numbers = track(range(options.songs), "songs", console=Console(stderr=True))
    rows = [row for number in numbers for row in write_song(options.directory, options.seed, number)]
    write_table(options.directory, rows)
    print(f"{options.directory}: {len(rows)} clips, {len(TAGS)} tags")


if __name__ == "__main__":
    main()
