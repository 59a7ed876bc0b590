"""MTG-Jamendo: 55,000 full tracks with genre, instrument and mood tags (Bogdanov et al., ICML workshops 2019)."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from genre_tagger.data.clips import Clip
from genre_tagger.data.decode import MIN_SECONDS
from genre_tagger.data.inside import read_paths, stays_inside
from genre_tagger.data.labels import check_tags
from genre_tagger.data.splitting import drawn_splits
from genre_tagger.data.table import Table, read_rows
from genre_tagger.errors import UserError

JAMENDO_WAYS = ("files", "group", "stratified")
COLUMNS = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION")  # then TAGS: any number of cells
SPLIT_ENDINGS = {"train": "-train.tsv", "valid": "-validation.tsv", "test": "-test.tsv"}


class JamendoSource:
    """Tracks of MTG-Jamendo; the artist is the group, and no artist is on two sides of any split.

    Args:
        root: folder of the audio, `00/1414800.mp3` and so on (`.low.mp3` will do).
        table: a TSV of the dataset. Where its name ends in `-train.tsv`, those of validation and test beside it belong
            to it and make up the splits.
        split: `files` takes those, `group` draws 70, 10 and 20 % of the artists, `stratified` draws so with alike
            shares of every tag. By default `files` where the table is one of three, else `group`.
        seed: of the draw.

    Raises:
        UserError: no such folder, a table that is missing or broken, an artist or a file in two of the three tables.
    """

    name = "jamendo"
    min_seconds = MIN_SECONDS
    clip_seconds = None

    def __init__(self, root: Path, table: Path | None, split: str | None = None, seed: int = 0) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder, expected one with the tracks of MTG-Jamendo")
        if table is None:
            raise UserError("--table: the source 'jamendo' needs a TSV of the dataset, found nothing")
        tables = _read_tables(table, split)
        names = _read_names(tables, root)
        present = [tags for _, rows in tables.values() for tags in rows]
        self.tags = tuple(sorted(set().union(*present)))
        if not self.tags:
            raise UserError(f"{table}: found no tag in any line, expected some after the fifth column")
        labels = np.array([[tag in tags for tag in self.tags] for tags in present], np.int8)
        artists = [artist for listing, _ in tables.values() for artist in listing.column("ARTIST_ID")]
        splits = _splits(tables, labels, artists, split or "group", seed)
        self.protocol = "files" if len(tables) > 1 else split or "group"
        self.clips: Sequence[Clip] = [
            Clip(name, _audio(root, name), row, artist, of)
            for name, row, artist, of in zip(names, labels, artists, splits, strict=True)
        ]

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """None: artists lie in one split each."""
        return ()


Tables = dict[str, tuple[Table, list[set[str]]]]  # by split, "" where it is drawn: the first cells, the tags


def _read_tables(table: Path, split: str | None) -> Tables:
    stem = table.name.removesuffix(SPLIT_ENDINGS["train"])
    in_three = stem != table.name
    if split == "files" and not in_three:
        raise UserError(f"--split files: found the table {table.name}, expected one that ends in -train.tsv")
    if not in_three or split in ("group", "stratified"):
        return {"": _read_table(table)}
    return {name: _read_table(table.with_name(stem + ending)) for name, ending in SPLIT_ENDINGS.items()}


def _read_table(path: Path) -> tuple[Table, list[set[str]]]:
    """The first five cells of each row, and its tags: all cells behind them."""
    rows, lines = read_rows(path, "\t")
    if not rows or tuple(rows[0][: len(COLUMNS)]) != COLUMNS:
        found = "\t".join(rows[0]) if rows else ""
        raise UserError(f"{path}, line 1: found {found!r}, expected the columns {', '.join(COLUMNS)} and TAGS")
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) <= len(COLUMNS):
            raise UserError(f"{path}, line {line}: found {len(row)} cells, expected {len(COLUMNS)} and one a tag")
    if len(rows) < 2:
        raise UserError(f"{path}: found a header but no rows, expected a line for each track")
    cells = np.array([row[: len(COLUMNS)] for row in rows[1:]], dtype=object)
    tags = [{tag for tag in row[len(COLUMNS) :] if tag} for row in rows[1:]]
    table = Table(path, COLUMNS, cells, np.array(lines[1:]))
    check_tags(table, tags)
    return table, tags


def _read_names(tables: Tables, root: Path) -> list[str]:
    """The paths of all tables, each in one of them."""
    split_of: dict[str, str] = {}
    for split, (listing, _) in tables.items():
        for row, name in enumerate(read_paths(listing, "PATH", root)):
            if name in split_of:
                raise listing.error(row, "PATH", f"{name!r}, which is in {split_of[name]} too", "each file once")
            split_of[name] = split
    return list(split_of)


def _splits(tables: Tables, labels: np.ndarray, artists: Sequence[str], way: str, seed: int) -> list[str]:
    if "" in tables:
        return drawn_splits(tables[""][0].path, labels, artists, way, seed)
    split_of: dict[str, str] = {}
    for split, (listing, _) in tables.items():
        for row, artist in enumerate(listing.column("ARTIST_ID")):
            if split_of.setdefault(artist, split) != split:
                found = f"{artist!r}, who is in {split_of[artist]} too"
                raise listing.error(row, "ARTIST_ID", found, "each artist in one split")
    return [split for split, (_, rows) in tables.items() for _ in rows]


def _audio(root: Path, name: str) -> Path:
    """The track, or its version of lower quality where only that is there."""
    low = Path(name).with_suffix(".low.mp3").as_posix()
    return root / (low if (root / low).exists() and stays_inside(low, root) else name)
