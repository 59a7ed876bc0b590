"""The source of clips for MagnaTagATune, with audio from the archive or from its unpacked folders."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from genre_tagger.audio.archive import PackedFile, open_archive
from genre_tagger.sources.clips import Clip
from genre_tagger.sources.magnatagatune.annotations import BROKEN, FOLDERS, read_annotations
from genre_tagger.sources.magnatagatune.files import archive_parts, unpacked_tree
from genre_tagger.sources.magnatagatune.protocols import PROTOCOLS
from genre_tagger.sources.magnatagatune.split_leaks import straddling_lines

GROUPS = ("song", "album", "artist")
CLIP_SECONDS = 29.12


class MagnaTagATuneSource:
    """Clips of MagnaTagATune under one protocol.

    Args:
        root: folder with the two tables and the audio: either the archive (`mp3.zip.001` to `.003`, or `mp3.zip`) or
            its sixteen unpacked folders, directly or in `mp3/`.
        protocol: name of the protocol, one of PROTOCOLS.
        group: unit that confidence intervals resample, one of GROUPS.
        seed: seed of the protocols that split at random.

    Raises:
        UserError: a table has a mistake, the audio is missing, or the archive is incomplete or unsafe.
    """

    name = "magnatagatune"
    clip_seconds: float | None = CLIP_SECONDS

    def __init__(self, root: Path, protocol: str = "standard", group: str = "song", seed: int = 0) -> None:
        tree = unpacked_tree(root)
        annotations = read_annotations(root, tree)
        cut = PROTOCOLS[protocol](annotations, seed)
        packed = {} if tree else open_archive(archive_parts(root))
        found = _files_of(tree) if tree else packed.keys()
        self.protocol: str | None = protocol
        self.tags = cut.tags
        self.min_seconds = cut.min_seconds
        self._always_noted = [note for note in (cut.warning, _unlisted(found, annotations.clips["path"])) if note]
        self._origins = clips = cut.annotations.clips.assign(split=cut.splits)
        self.clips: Sequence[Clip] = [
            Clip(path, _audio(path, tree, root, packed), row, of, split)
            for path, row, of, split in zip(clips["path"], cut.labels, clips[group], cut.splits, strict=True)
        ]

    def notes(self, ids: Collection[str]) -> tuple[str, ...]:
        """Return lines about groups in several splits, about the protocol and about files without annotations."""
        return (*straddling_lines(self._origins[self._origins["path"].isin(ids)]), *self._always_noted)


def _audio(path: str, tree: Path | None, root: Path, packed: Mapping[str, PackedFile]) -> Path | PackedFile:
    """Return the location of a clip's audio. If the file is missing, decoding will report it."""
    return tree / path if tree else packed.get(path, root / path)


def _files_of(tree: Path) -> set[str]:
    return {f"{folder}/{file.name}" for folder in FOLDERS for file in (tree / folder).glob("*.mp3")}


def _unlisted(found: Iterable[str], listed: Iterable[str]) -> str | None:
    extra = sorted(name for name in set(found) - set(listed) - set(BROKEN) if name.endswith(".mp3"))
    if not extra:
        return None
    return f"{len(extra):,} MP3 files without annotations are ignored, the first is {extra[0]}"
