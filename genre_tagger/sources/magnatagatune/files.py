"""Find the files of the dataset in a folder, and download the missing ones."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from genre_tagger.errors import UserError
from genre_tagger.files import DiskNeed, locked, replacing, sha256_of, storage_errors
from genre_tagger.sources.download import download
from genre_tagger.sources.magnatagatune.annotations import ANNOTATIONS_NAME, CLIP_INFO_NAME, FOLDERS

HOME = "https://mirg.city.ac.uk/datasets/magnatagatune"
NOTES_NAME = "downloads.json"
PART_NAMES = ("mp3.zip.001", "mp3.zip.002", "mp3.zip.003")
WHOLE_NAME = "mp3.zip"


class Note(BaseModel):
    """The record of a downloaded file: its URL, size in bytes and SHA-256."""

    url: str
    bytes: int
    sha256: str


_NOTES = TypeAdapter(dict[str, Note])  # by file name


def unpacked_tree(root: Path) -> Path | None:
    """Return the folder with all sixteen folders of the unpacked archive, or None."""
    for tree in (root, root / "mp3"):
        if all((tree / folder).is_dir() for folder in FOLDERS):
            return tree
    return None


def archive_parts(root: Path) -> list[Path]:
    """Return the path of the joined archive if it exists, otherwise the paths of its three parts, existing or not."""
    whole = root / WHOLE_NAME
    return [whole] if whole.exists() else [root / name for name in PART_NAMES]


def missing_names(root: Path) -> list[str]:
    """Return the names of the missing files. The archive is not missing if its unpacked folders exist."""
    names = [ANNOTATIONS_NAME, CLIP_INFO_NAME]
    if not unpacked_tree(root):
        names += [part.name for part in archive_parts(root)]
    return [name for name in names if not (root / name).exists()]


def fetch_missing(root: Path, mirror: str | None, afterwards: Sequence[DiskNeed] = ()) -> None:
    """Download the missing files of the dataset and record the size and SHA-256 of each in `downloads.json`.

    Existing files are used as they are, but their sizes must agree with `downloads.json` if it records them.

    Args:
        root: folder of the dataset, created if missing.
        mirror: URL of a folder with the five files, or None for the dataset's home page.
        afterwards: further disk space that must be free before the download starts.

    Raises:
        UserError: a download fails (see `download`), the size of an existing file is not the recorded one,
            `downloads.json` cannot be read, or another process works in the folder.
    """
    _check_noted_sizes(root)
    names = missing_names(root)
    if not names:
        return
    base = (mirror or HOME).rstrip("/")
    with storage_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with locked(root):
            urls = [f"{base}/{name}" for name in names]
            download(
                urls,
                root,
                on_finished=lambda parts: _note(root, base, parts),
                afterwards=afterwards,
            )


def _check_noted_sizes(root: Path) -> None:
    for name, note in _notes(root).items():
        path = root / name
        if path.exists() and (found := path.stat().st_size) != note.bytes:
            raise UserError(
                f"{path}: found {found:,} bytes, expected {note.bytes:,} as downloaded; remove the file and rerun the "
                "command to download it again"
            )


def _note(root: Path, base: str, parts: list[Path]) -> None:
    notes = _notes(root)
    for part in parts:
        name = part.with_suffix("").name
        notes[name] = Note(url=f"{base}/{name}", bytes=part.stat().st_size, sha256=sha256_of(part))
    with replacing(root / NOTES_NAME) as unfinished:
        unfinished.write_bytes(_NOTES.dump_json(notes, indent=1))


def _notes(root: Path) -> dict[str, Note]:
    path = root / NOTES_NAME
    try:
        return _NOTES.validate_json(path.read_bytes()) if path.exists() else {}
    except ValueError as error:
        raise UserError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); remove it to use the files without checking "
            "their sizes"
        ) from error
