"""Which files of the dataset lie in a folder, and the download of those that do not."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter

from genre_tagger.data.download import OnBytes, download
from genre_tagger.data.magnatagatune.annotations import ANNOTATIONS_NAME, CLIP_INFO_NAME, FOLDERS
from genre_tagger.errors import UserError
from genre_tagger.files import Need, locked, replacing, sha256_of, storage_errors

HOME = "https://mirg.city.ac.uk/datasets/magnatagatune"
NOTES_NAME = "downloads.json"
PART_NAMES = ("mp3.zip.001", "mp3.zip.002", "mp3.zip.003")
WHOLE_NAME = "mp3.zip"


class Note(BaseModel):
    """What is kept of a download."""

    url: str
    bytes: int
    sha256: str


_NOTES = TypeAdapter(dict[str, Note])  # by name


def unpacked_tree(root: Path) -> Path | None:
    """The folder that holds all sixteen of the unpacked archive, if there is one."""
    for tree in (root, root / "mp3"):
        if all((tree / folder).is_dir() for folder in FOLDERS):
            return tree
    return None


def archive_parts(root: Path) -> list[Path]:
    """The archive, joined already or in its three parts, whether they are there or not."""
    whole = root / WHOLE_NAME
    return [whole] if whole.exists() else [root / name for name in PART_NAMES]


def missing_names(root: Path) -> list[str]:
    """The files to download, where neither the archive nor what it unpacks to is there whole."""
    names = [ANNOTATIONS_NAME, CLIP_INFO_NAME]
    if not unpacked_tree(root):
        names += [part.name for part in archive_parts(root)]
    return [name for name in names if not (root / name).exists()]


def fetch_missing(
    root: Path,
    mirror: str | None,
    on_progress: OnBytes | None,
    say: Callable[[str], None],
    afterwards: Sequence[Need] = (),
) -> None:
    """Downloads what is missing of the dataset and notes the size and SHA-256 of each file in `downloads.json`.

    Files that are there are used as they are, unless `downloads.json` says that they were longer or shorter.

    Args:
        root: folder of the dataset, made if missing.
        mirror: address of a folder with the five files, or None for the dataset's home.
        on_progress: called with the number of bytes that are there and of all.
        say: prints a line.
        afterwards: disk that is needed beside the download's.

    Raises:
        UserError: as `download`; or a file is not as long as it was when it was downloaded.
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
                say=say,
                on_progress=on_progress,
                on_finished=lambda parts: _note(root, base, parts),
                afterwards=afterwards,
            )


def _check_noted_sizes(root: Path) -> None:
    for name, note in _notes(root).items():
        path = root / name
        if path.exists() and (found := path.stat().st_size) != note.bytes:
            raise UserError(
                f"{path}: found {found:,} bytes, expected the {note.bytes:,} that were downloaded; remove it and "
                "the same command downloads it again"
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
            f"{path}: broken ({' '.join(str(error).split())}); remove it, and files are used without comparing sizes"
        ) from None
