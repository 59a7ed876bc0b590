"""The dataset as a source of clips: tables, a protocol, and audio from the archive or from an unpacked tree."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from genre_tagger.data.archive import PackedFile, open_archive
from genre_tagger.data.clips import Clip
from genre_tagger.data.magnatagatune.annotations import BROKEN, FOLDERS, read_annotations
from genre_tagger.data.magnatagatune.files import archive_parts, unpacked_tree
from genre_tagger.data.magnatagatune.protocols import PROTOCOLS
from genre_tagger.data.magnatagatune.straddling import straddling_lines

GROUPS = ("song", "album", "artist")


class MagnaTagATuneSource:
    """Clips of MagnaTagATune under one protocol.

    Args:
        root: folder with the two tables and either the archive (`mp3.zip.001` to `.003`, or `mp3.zip`) or the sixteen
            folders it unpacks to, there or in `mp3/`.
        protocol: one of PROTOCOLS.
        group: what intervals are bootstrapped over: one of GROUPS.
        seed: of the protocols that draw.

    Raises:
        UserError: a mistake in a table, no audio, or an archive that is incomplete or unsafe.
    """

    name = "magnatagatune"
    clip_seconds = 29.12

    def __init__(self, root: Path, protocol: str = "standard", group: str = "song", seed: int = 0) -> None:
        tree = unpacked_tree(root)
        annotations = read_annotations(root, tree)
        cut = PROTOCOLS[protocol](annotations, seed)
        packed = {} if tree else open_archive(archive_parts(root))
        found = _files_of(tree) if tree else packed.keys()
        self.protocol = protocol
        self.tags = cut.tags
        self.min_seconds = cut.min_seconds
        self._always_noted = [note for note in (cut.warning, _unlisted(found, annotations.clips["path"])) if note]
        self._origins = clips = cut.annotations.clips.assign(split=cut.splits)
        self.clips: Sequence[Clip] = [
            Clip(path, _audio(path, tree, root, packed), row, of, split)
            for path, row, of, split in zip(clips["path"], cut.labels, clips[group], cut.splits, strict=True)
        ]

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """What lies on several sides among the usable clips, what flatters, and files without a row."""
        return (*straddling_lines(self._origins[self._origins["path"].isin(ids)]), *self._always_noted)


def _audio(path: str, tree: Path | None, root: Path, packed: Mapping[str, PackedFile]) -> Path | PackedFile:
    """Where a clip's audio lies; a file that is not there is left for decoding to name."""
    return tree / path if tree else packed.get(path, root / path)


def _files_of(tree: Path) -> set[str]:
    return {f"{folder}/{file.name}" for folder in FOLDERS for file in (tree / folder).glob("*.mp3")}


def _unlisted(found: Iterable[str], listed: Iterable[str]) -> str | None:
    extra = sorted(name for name in set(found) - set(listed) - set(BROKEN) if name.endswith(".mp3"))
    if not extra:
        return None
    return f"{len(extra):,} MP3 files without a row in the annotations are left alone, the first is {extra[0]}"
