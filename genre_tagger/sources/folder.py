"""A folder of audio files with a table of tags."""

from collections.abc import Collection, Sequence
from pathlib import Path
from textwrap import shorten

from genre_tagger.audio.decode import MIN_SECONDS
from genre_tagger.errors import UserError, suggest
from genre_tagger.sources.clips import SPLITS, Clip
from genre_tagger.sources.labels import read_labels
from genre_tagger.sources.safe_paths import read_paths
from genre_tagger.sources.splitting import drawn_splits
from genre_tagger.sources.text_table import TextTable, read_table

TABLE_NAMES = ("tags.csv", "tags.tsv")
SPLIT_WAYS = ("column", "group", "stratified")


class FolderSource:
    """Audio files of any format below a folder, tagged by a CSV or TSV table.

    The table has a column `path`, relative to the folder. Its tags are either in one 0/1 column per tag (blank =
    unknown) or in one column `tags` with names separated by `|`. The columns `split` (train, valid or test) and `group`
    (song, album or artist) are optional. Without `group`, each clip is its own group.

    Args:
        root: folder of the audio files.
        table: path of the table, `tags.csv` or `tags.tsv` in the folder by default.
        split: `column` takes the splits from the table. `group` draws whole groups: 70 % train, 10 % valid, 20 % test.
            `stratified` does the same and gives every tag similar shares in all splits. The default is `column` if the
            table has a column `split`, otherwise `group`.
        seed: seed of the random split.

    Raises:
        UserError: the folder does not exist, or the table is missing or has a mistake. The message names file, line and
            column.
    """

    name = "folder"
    min_seconds = MIN_SECONDS
    clip_seconds: float | None = None

    def __init__(self, root: Path, table: Path | None = None, seed: int = 0, split: str | None = None) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder, expected audio files and {' or '.join(TABLE_NAMES)}")
        listing = read_table(table or _default_table(root))
        if "path" not in listing.columns:
            first = f"; the first column is {shorten(listing.columns[0], 60)!r}"
            raise UserError(
                f"{listing.path}, line 1: found no column 'path', expected one, with cells separated by commas (.csv) "
                f"or tabs (.tsv){suggest('path', listing.columns) or first}"
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
        """Return no notes, because each group is in one split."""
        return ()


def _default_table(root: Path) -> Path:
    for name in TABLE_NAMES:
        if (root / name).exists():
            return root / name
    raise UserError(f"{root}: found no {' or '.join(TABLE_NAMES)}, expected one of them or another table")


def _read_groups(listing: TextTable, ids: Sequence[str]) -> list[str]:
    if "group" not in listing.columns:
        return list(ids)
    return [group or name for group, name in zip(listing.column("group"), ids, strict=True)]


def _default_way(listing: TextTable) -> str:
    return "column" if "split" in listing.columns else "group"


def _read_splits(listing: TextTable, groups: Sequence[str]) -> list[str]:
    if "split" not in listing.columns:
        raise UserError(f"{listing.path}, line 1: found no column 'split', expected one for split='column'")
    splits = listing.column("split")
    first_row: dict[str, int] = {}
    for row, (split, group) in enumerate(zip(splits, groups, strict=True)):
        if split not in SPLITS:
            raise listing.error(row, "split", f"{split!r}", f"one of {', '.join(SPLITS)}{suggest(split, SPLITS)}")
        earlier = first_row.setdefault(group, row)
        if splits[earlier] != split:
            raise listing.error(
                row,
                "split",
                f"group {group!r} in {split!r}, but in {splits[earlier]!r} in line {listing.lines[earlier]}",
                "all clips of a group in one split",
            )
    return splits


def _check_splits(listing: TextTable, splits: Sequence[str]) -> None:
    for split in SPLITS:
        if split not in splits:
            raise UserError(f"{listing.path}: found no clip in split {split!r}, expected clips in {', '.join(SPLITS)}")
