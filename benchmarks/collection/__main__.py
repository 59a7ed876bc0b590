"""Make a collection of synthesised music: FLAC files and a table of tags that are true by construction.

    python -m benchmarks.collection MUSIC
    genre-tagger compare folder --root MUSIC --presets small,no_dropout

The script uses no sound bank and no MIDI. It computes strings, bells, filtered waves, formants and noise. It shares
nothing with the package's demo, except that both are seeded. With the same seed, a larger number of songs extends a
collection.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import track

from benchmarks.collection.composing import SECTIONS_PER_SONG
from benchmarks.collection.rendering import write_song, write_table
from benchmarks.collection.song import TAGS

FEWEST_SONGS = 5  # with these, the validation and test splits have one song each


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.collection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument(
        "--songs", type=int, default=300, help=f"number of songs, with {SECTIONS_PER_SONG} clips each; 300 by default"
    )
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
