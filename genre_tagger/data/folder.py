"""A folder of audio files with a table of tags."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from genre_tagger.data.clips import SPLITS, Clip
from genre_tagger.data.labels import read_labels
from genre_tagger.data.table import Table, nearest, read_table
from genre_tagger.errors import UserError

TABLE_NAMES = ("tags.csv", "tags.tsv")
TEST_SHARE, VALID_SHARE = 0.2, 0.1


class FolderSource:
    """Audio files of any format below a folder, and a CSV or TSV that tags them.

    The table has a column `path` (relative to the folder), then either one 0/1 column a tag (blank = unknown) or one
    column `tags` with names separated by `|`; and, if wanted, `split` (train, valid or test) and `group` (song, album
    or artist; a clip is its own group by default). Without `split`, 70 % of the groups train, 10 % validate, 20 % test.

    Args:
        root: the folder.
        table: the table; `tags.csv` or `tags.tsv` in the folder by default.
        seed: of the split.

    Raises:
        UserError: a mistake in the table; the message names file, line and column.
    """

    name = "folder"

    def __init__(self, root: Path, table: Path | None = None, seed: int = 0) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder, expected one with audio files and {' or '.join(TABLE_NAMES)}")
        listing = read_table(table or _default_table(root))
        if "path" not in listing.columns:
            raise UserError(f"{listing.path}, line 1: found no column 'path'{nearest('path', listing.columns)}")
        self.tags, labels = read_labels(listing)
        ids = _read_ids(listing, root)
        groups = _read_groups(listing, ids)
        splits = _read_splits(listing, groups) if "split" in listing.columns else _make_splits(listing, groups, seed)
        _check_splits(listing, splits)
        self.clips: Sequence[Clip] = [
            Clip(name, root / name, row, group, split)
            for name, row, group, split in zip(ids, labels, groups, splits, strict=True)
        ]


def _default_table(root: Path) -> Path:
    for name in TABLE_NAMES:
        if (root / name).exists():
            return root / name
    raise UserError(f"{root}: found no table of tags, expected {' or '.join(TABLE_NAMES)} there or a table named")


def _read_ids(listing: Table, root: Path) -> list[str]:
    """Paths relative to the folder in their shortest form, so that `./a.wav` and `a.wav` are one file."""
    seen: dict[str, int] = {}
    resolve = cache(Path.resolve)  # 26,000 files lie in a few folders
    for row, cell in enumerate(listing.column("path")):
        if not cell:
            raise listing.error(row, "path", "nothing", "the path of an audio file")
        name = Path(os.path.normpath(cell)).as_posix()
        if not _stays_inside(name, root, resolve):
            raise listing.error(row, "path", repr(cell), f"a relative path that stays inside {root}")
        if name in seen:
            earlier = listing.lines[seen[name]]
            raise listing.error(row, "path", f"{cell!r} again after line {earlier}", "each file once")
        seen[name] = row
    return list(seen)


def _stays_inside(name: str, root: Path, resolve: Callable[[Path], Path]) -> bool:
    if Path(name).is_absolute() or name.split("/")[0] in (".", ".."):
        return False
    path = root / name
    is_link = os.path.islink(path)  # noqa: PTH114, Path.is_symlink raises where a name is too long for the disk
    try:
        real = path.resolve() if is_link else resolve(path.parent)
    except (OSError, RuntimeError):  # links that lead in a circle: decoding will reject the file
        return True
    return real.is_relative_to(resolve(root))


def _read_groups(listing: Table, ids: Sequence[str]) -> list[str]:
    if "group" not in listing.columns:
        return list(ids)
    return [group or name for group, name in zip(listing.column("group"), ids, strict=True)]


def _read_splits(listing: Table, groups: Sequence[str]) -> list[str]:
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


def _make_splits(listing: Table, groups: Sequence[str], seed: int) -> list[str]:
    count = len(set(groups))
    if count < len(SPLITS):
        raise UserError(
            f"{listing.path}: found {count} group(s), expected at least one for each of {', '.join(SPLITS)}"
        )
    groups = np.array(groups, dtype=object)
    splits = np.full(len(groups), "train", dtype=object)
    rest, test = _draw(np.arange(len(groups)), groups, TEST_SHARE, seed)
    _, valid = _draw(rest, groups, VALID_SHARE / (1 - TEST_SHARE), seed)
    splits[test], splits[valid] = "test", "valid"
    return splits.tolist()


def _draw(rows: np.ndarray, groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Parts rows in two such that the second holds about that share of the groups."""
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    kept, drawn = next(splitter.split(rows, groups=groups[rows]))
    return rows[kept], rows[drawn]


def _check_splits(listing: Table, splits: Sequence[str]) -> None:
    for split in SPLITS:
        if split not in splits:
            raise UserError(f"{listing.path}: found no clip in split {split!r}, expected clips in {', '.join(SPLITS)}")
