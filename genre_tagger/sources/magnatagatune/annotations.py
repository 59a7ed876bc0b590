"""Read the two tables of the dataset: the tags of each clip, and the song, album and artist that it comes from."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genre_tagger.errors import UserError
from genre_tagger.sources.labels import read_tag_columns
from genre_tagger.sources.safe_paths import read_paths
from genre_tagger.sources.text_table import TextTable, read_table

ANNOTATIONS_NAME, CLIP_INFO_NAME = "annotations_final.csv", "clip_info_final.csv"
CLIP_ID, MP3_PATH = "clip_id", "mp3_path"
FOLDERS = tuple("0123456789abcdef")

# These files are empty in every copy of the dataset.
BROKEN = (
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_trio_xiv_rameau-88-117.mp3",
)

_SEGMENT = re.compile(r"-\d+-\d+\.mp3$")  # start and end of the clip in its song, in seconds


@dataclass(frozen=True)
class Annotations:
    """All annotated clips except the empty files.

    Attributes:
        clips: one row per clip with the columns `path` (relative to the dataset's folder), `folder`, `song`, `album`
            and `artist`.
        tags: names of the tag columns.
        labels: int8 [clips, tags], 1 present, 0 absent, -1 blank.
    """

    clips: pd.DataFrame
    tags: tuple[str, ...]
    labels: np.ndarray

    def chosen(self, rows: np.ndarray) -> "Annotations":
        """Return the annotations of the rows where `rows`, a bool mask [clips], is True."""
        return Annotations(self.clips[rows].reset_index(drop=True), self.tags, self.labels[rows])


def read_annotations(root: Path, audio: Path | None = None) -> Annotations:
    """Read `annotations_final.csv` and `clip_info_final.csv`.

    Args:
        root: folder of the tables.
        audio: folder that the clips' paths must stay inside, `root` by default.

    Returns:
        The annotations of all clips except the empty files.

    Raises:
        UserError: a table is missing or not in the dataset's format, a clip id or path is duplicated, or
            `clip_info_final.csv` lacks a clip.
    """
    listing = read_table(root / ANNOTATIONS_NAME, "\t")
    if listing.columns[0] != CLIP_ID or listing.columns[-1] != MP3_PATH or len(listing.columns) < 3:
        raise UserError(
            f"{listing.path}, line 1: found columns {listing.columns[0]!r} to {listing.columns[-1]!r}, expected "
            f"{CLIP_ID!r}, one column per tag and {MP3_PATH!r}, separated by tabs"
        )
    tags = listing.columns[1:-1]
    ids = _read_ids(listing)
    paths = read_paths(listing, MP3_PATH, audio or root)
    _check_folders(listing, paths)
    clips = pd.DataFrame({"path": paths, "folder": [path.split("/")[0] for path in paths]})
    clips["song"] = [_SEGMENT.sub("", path) for path in paths]
    clips = clips.join(_read_origins(root, listing, ids, clips["song"]))
    everything = Annotations(clips, tags, read_tag_columns(listing, tags))
    return everything.chosen(~clips["path"].isin(BROKEN).to_numpy())


def _read_ids(listing: TextTable) -> list[str]:
    first_row: dict[str, int] = {}
    for row, name in enumerate(listing.column(CLIP_ID)):
        if not name:
            raise listing.error(row, CLIP_ID, "nothing", "the clip's id")
        earlier = first_row.setdefault(name, row)
        if earlier != row:
            raise listing.error(row, CLIP_ID, f"{name!r} again after line {listing.lines[earlier]}", "each id once")
    return list(first_row)


def _check_folders(listing: TextTable, paths: list[str]) -> None:
    for row, path in enumerate(paths):
        folder, *names = path.split("/")
        if folder not in FOLDERS or len(names) != 1:
            raise listing.error(row, MP3_PATH, repr(path), "a file in one of the folders 0 to f")


def _read_origins(root: Path, listing: TextTable, ids: list[str], songs: pd.Series) -> pd.DataFrame:
    """Return album and artist of each clip. Album names include the artist, because different albums share a title."""
    info = read_table(root / CLIP_INFO_NAME, "\t", strict=False)
    missing = [name for name in (CLIP_ID, "artist", "album") if name not in info.columns]
    if missing:
        raise UserError(f"{info.path}, line 1: found no column {missing[0]!r}, expected {CLIP_ID}, artist and album")
    origin: dict[str, tuple[str, str]] = {}
    columns = (info.column(name) for name in (CLIP_ID, "artist", "album"))
    for row, (name, artist, album) in enumerate(zip(*columns, strict=True)):
        if origin.setdefault(name, (artist, album)) != (artist, album):
            raise info.error(row, CLIP_ID, f"{name!r} again, with a different artist or album", "each id once")
    for row, name in enumerate(ids):
        if name not in origin:
            raise listing.error(row, CLIP_ID, repr(name), f"an id from {CLIP_INFO_NAME}")
    # The song takes the place of a blank artist or album.
    artists = [origin[name][0] or song for name, song in zip(ids, songs, strict=True)]
    albums = [f"{artist}: {origin[name][1] or song}" for name, artist, song in zip(ids, artists, songs, strict=True)]
    return pd.DataFrame({"album": albums, "artist": artists})
