"""MTG-Jamendo: 55,000 full tracks with genre, instrument and mood tags (Bogdanov et al., ICML workshops 2019)."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from genre_tagger.audio.decode import MIN_SECONDS
from genre_tagger.errors import FieldError, UserError
from genre_tagger.sources.clips import Clip
from genre_tagger.sources.labels import check_tags
from genre_tagger.sources.safe_paths import read_paths, stays_inside
from genre_tagger.sources.splitting import drawn_splits
from genre_tagger.sources.text_table import TextTable, read_rows

JAMENDO_WAYS = ("files", "group", "stratified")
COLUMNS = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION")  # followed by TAGS, one cell per tag
SPLIT_ENDINGS = {"train": "-train.tsv", "valid": "-validation.tsv", "test": "-test.tsv"}


class JamendoSource:
    """Tracks of MTG-Jamendo, grouped by artist. Each artist is in one split.

    Args:
        root: folder of the audio files, such as `00/1414800.mp3` or its low-quality version `00/1414800.low.mp3`.
        table: path of a TSV of the dataset. If its name ends in `-train.tsv` and `split` is `files` or None, the
            tables `-validation.tsv` and `-test.tsv` in the same folder are read too.
        split: `files` takes one split from each of the three tables. `group` draws whole artists from this table: 70 %
            train, 10 % valid, 20 % test. `stratified` does the same and gives every tag similar shares in all splits.
            The default is `files` if the name ends in `-train.tsv`, otherwise `group`.
        seed: seed of the random split.

    Raises:
        UserError: the folder does not exist, a table is missing or has a mistake, or an artist or a file is in several
            tables.
    """

    name = "jamendo"
    min_seconds = MIN_SECONDS
    clip_seconds: float | None = None

    def __init__(self, root: Path, table: Path | None, split: str | None = None, seed: int = 0) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: no such folder, expected a folder with the tracks of MTG-Jamendo")
        if table is None:
            raise FieldError("table", "found nothing, expected a TSV of the dataset for the source 'jamendo'")
        tables = _read_tables(table, split)
        names = _read_names(tables, root)
        present = [tags for _, rows in tables.values() for tags in rows]
        self.tags = tuple(sorted(set().union(*present)))
        if not self.tags:
            raise UserError(f"{table}: found no tag in any line, expected tags from column {len(COLUMNS) + 1} on")
        labels = np.array([[tag in tags for tag in self.tags] for tags in present], np.int8)
        artists = [artist for listing, _ in tables.values() for artist in listing.column("ARTIST_ID")]
        splits = _splits(tables, labels, artists, split or "group", seed)
        self.protocol: str | None = "files" if len(tables) > 1 else split or "group"
        self.clips: Sequence[Clip] = [
            Clip(name, _audio(root, name), row, artist, of)
            for name, row, artist, of in zip(names, labels, artists, splits, strict=True)
        ]

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """Return no notes, because each artist is in one split."""
        return ()


Tables = dict[str, tuple[TextTable, list[set[str]]]]  # by split, or by "" if splits are drawn: first cells and tags


def _read_tables(table: Path, split: str | None) -> Tables:
    stem = table.name.removesuffix(SPLIT_ENDINGS["train"])
    in_three = stem != table.name
    if split == "files" and not in_three:
        raise FieldError("split", f"'files' needs a table whose name ends in {SPLIT_ENDINGS['train']}, found {table}")
    if not in_three or split in ("group", "stratified"):
        return {"": _read_table(table)}
    return {name: _read_table(table.with_name(stem + ending)) for name, ending in SPLIT_ENDINGS.items()}


def _read_table(path: Path) -> tuple[TextTable, list[set[str]]]:
    """Return the first five cells of each row, and its tags from all later cells."""
    rows, lines = read_rows(path, "\t")
    if not rows or tuple(rows[0][: len(COLUMNS)]) != COLUMNS:
        found = "\t".join(rows[0]) if rows else ""
        raise UserError(f"{path}, line 1: found {found!r}, expected the columns {', '.join(COLUMNS)} and TAGS")
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) <= len(COLUMNS):
            raise UserError(f"{path}, line {line}: found {len(row)} cells, expected {len(COLUMNS)} and one per tag")
    if len(rows) < 2:
        raise UserError(f"{path}: found a header but no rows, expected one line per track")
    cells = np.array([row[: len(COLUMNS)] for row in rows[1:]], dtype=object)
    tags = [{tag for tag in row[len(COLUMNS) :] if tag} for row in rows[1:]]
    table = TextTable(path, COLUMNS, cells, np.array(lines[1:]))
    check_tags(table, tags)
    return table, tags


def _read_names(tables: Tables, root: Path) -> list[str]:
    """Return the paths of all tables, after checking that none occurs in two of them."""
    split_of: dict[str, str] = {}
    for split, (listing, _) in tables.items():
        for row, name in enumerate(read_paths(listing, "PATH", root)):
            if name in split_of:
                raise listing.error(row, "PATH", f"{name!r}, which is also in {split_of[name]!r}", "each file once")
            split_of[name] = split
    return list(split_of)


def _splits(tables: Tables, labels: np.ndarray, artists: Sequence[str], way: str, seed: int) -> list[str]:
    if "" in tables:
        return drawn_splits(tables[""][0].path, labels, artists, way, seed)
    split_of: dict[str, str] = {}
    for split, (listing, _) in tables.items():
        for row, artist in enumerate(listing.column("ARTIST_ID")):
            if split_of.setdefault(artist, split) != split:
                found = f"{artist!r}, who is also in {split_of[artist]!r}"
                raise listing.error(row, "ARTIST_ID", found, "each artist in one split")
    return [split for split, (_, rows) in tables.items() for _ in rows]


def _audio(root: Path, name: str) -> Path:
    """Return the path of the low-quality version if it exists, otherwise that of the track."""
    low = Path(name).with_suffix(".low.mp3").as_posix()
    return root / (low if (root / low).exists() and stays_inside(low, root) else name)
