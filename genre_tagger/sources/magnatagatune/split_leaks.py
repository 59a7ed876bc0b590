"""Count songs, albums and artists in several splits. If they are in train and in test, scores are too high."""

from collections.abc import Iterator

import pandas as pd

KINDS = ("song", "album", "artist")


def straddling_lines(clips: pd.DataFrame) -> Iterator[str]:
    """Yield one line each for songs, albums and artists.

    Each line counts the groups in several splits, and the test clips whose song, album or artist is also in train.

    Args:
        clips: one row per clip with the columns `song`, `album`, `artist` and `split`.
    """
    test = clips[clips["split"] == "test"]
    for kind in KINDS:
        sides = clips.groupby(kind)["split"].nunique()
        known = test[kind].isin(clips.loc[clips["split"] == "train", kind])
        yield (
            f"{kind}s in more than one split: {(sides > 1).sum():,} of {len(sides):,}; test clips whose {kind} is also "
            f"in train: {known.sum():,} of {len(test):,}"
        )
