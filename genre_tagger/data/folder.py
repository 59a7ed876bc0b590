"""A folder of audio files with a table of tags."""

from collections.abc import Collection, Sequence
from pathlib import Path
from textwrap import shorten

from genre_tagger.data.clips import SPLITS, Clip
from genre_tagger.data.decode import MIN_SECONDS
from genre_tagger.data.inside import read_paths
from genre_tagger.data.labels import read_labels
from genre_tagger.data.splitting import drawn_splits
from genre_tagger.data.table import Table, nearest, read_table
from genre_tagger.errors import UserError

TABLE_NAMES = ("tags.csv", "tags.tsv")
SPLIT_WAYS = ("column", "group", "stratified")


class FolderSource:
    """Audio files of any format below a folder, and a CSV or TSV that tags them.

    The table has a column `path` (relative to the folder), then either one 0/1 column a tag (blank = unknown) or one
    column `tags` with names separated by `|`; and, if wanted, `split` (train, valid or test) and `group` (song, album
    or artist; a clip is its own group by default).

    Args:
        root: the folder.
        table: the table; `tags.csv` or `tags.tsv` in the folder by default.
        split: `column` takes the table's splits; `group` draws 70 % of the groups to train, 10 % to validate, 20 % to
            test; `stratified` draws so too, with alike shares of every tag. By default `column` where there is one,
            else `group`.
        seed: of the draw.

    Raises:
        UserError: a mistake in the table; the message names file, line and column.
    """

    name = "folder"
    min_seconds = MIN_SECONDS
    clip_seconds = None

    def __init__(self, root: Path, table: Path | None = None, seed: int = 0, split: str | None = None) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder, expected one with audio files and {' or '.join(TABLE_NAMES)}")
        listing = read_table(table or _default_table(root))
        if "path" not in listing.columns:
            hint = nearest("path", listing.columns) or f", the first is {shorten(listing.columns[0], 60)!r}"
            raise UserError(
                f"{listing.path}, line 1: found no column 'path'{hint}; expected it, commas between cells in a .csv, "
                "tabs in a .tsv"
            )
        self.tags, labels = read_labels(listing)
        ids = read_paths(listing, "path", root)
        groups = _read_groups(listing, ids)
        self.protocol = split
        if (split or _default_way(listing)) == "column":
            splits = _read_splits(listing, groups)
        else:
            splits = drawn_splits(listing.path, labels, groups, split or "group", seed)
        _check_splits(listing, splits)
        self.clips: Sequence[Clip] = [
            Clip(name, root / name, row, group, split)
            for name, row, group, split in zip(ids, labels, groups, splits, strict=True)
        ]

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """None: groups lie in one split each."""
        return ()


def _default_table(root: Path) -> Path:
    for name in TABLE_NAMES:
        if (root / name).exists():
            return root / name
    raise UserError(f"{root}: found no table of tags, expected {' or '.join(TABLE_NAMES)} there or a table named")


def _read_groups(listing: Table, ids: Sequence[str]) -> list[str]:
    if "group" not in listing.columns:
        return list(ids)
    return [group or name for group, name in zip(listing.column("group"), ids, strict=True)]


def _default_way(listing: Table) -> str:
    return "column" if "split" in listing.columns else "group"


def _read_splits(listing: Table, groups: Sequence[str]) -> list[str]:
    if "split" not in listing.columns:
        raise UserError(f"{listing.path}, line 1: found no column 'split', expected one for --split column")
    splits = listing.column("split")
    first_row: dict[str, int] = {}
    for row, (split, group) in enumerate(zip(splits, groups, strict=True)):
        if split not in SPLITS:
            hint = nearest(split, SPLITS)
            raise listing.error(row, "split", f"{split!r}", f"one of {', '.join(SPLITS)}{hint}")
        earlier = first_row.setdefault(group, row)
        if splits[earlier] != split:
            raise listing.error(
                row,
                "split",
                f"group {group!r} in {split} and, in line {listing.lines[earlier]}, in {splits[earlier]}",
                "all clips of a group in one split",
            )
    return splits


def _check_splits(listing: Table, splits: Sequence[str]) -> None:
    for split in SPLITS:
        if split not in splits:
            raise UserError(f"{listing.path}: found no clip in split {split!r}, expected clips in {', '.join(SPLITS)}")
