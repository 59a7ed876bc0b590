"""Counts what lies on several sides of a split: a model that knows a song, album or artist is not asked fairly."""

from collections.abc import Iterator

import pandas as pd

KINDS = ("song", "album", "artist")


def straddling_lines(clips: pd.DataFrame) -> Iterator[str]:
    """One line for songs, albums and artists each: how many lie in several splits, and the test clips of train's.

    Args:
        clips: a row a clip with the columns `song`, `album`, `artist` and `split`.
    """
    test = clips[clips["split"] == "test"]
    for kind in KINDS:
        sides = clips.groupby(kind)["split"].nunique()
        known = test[kind].isin(clips.loc[clips["split"] == "train", kind])
        yield (
            f"{kind}s in more than one split: {(sides > 1).sum():,} of {len(sides):,}; test clips whose {kind} is also "
            f"in train: {known.sum():,} of {len(test):,}"
        )
