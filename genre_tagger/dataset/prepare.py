"""Prepare a source for training: decode every clip once, in parallel, to TFRecord shards with a manifest."""

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

from genre_tagger.audio.archive import PackedFile
from genre_tagger.audio.decode import Undecodable, pcm16_size
from genre_tagger.audio.decode_pool import SCRATCH_PREFIX, decode_many
from genre_tagger.dataset.card import CARD_NAME, write_card
from genre_tagger.dataset.index_files import write_index_files
from genre_tagger.dataset.manifest import FORMAT_VERSION, MANIFEST_NAME, PREPARED_NAME, Manifest, read_manifest
from genre_tagger.dataset.request import DataRequest
from genre_tagger.dataset.shards import Shard, plan_shards, write_shard
from genre_tagger.errors import UserError
from genre_tagger.files import DiskNeed, check_space, locked, remove_leftovers, storage_errors, write_text
from genre_tagger.progress import progress
from genre_tagger.sources.clips import Source
from genre_tagger.sources.registry import download_seconds, open_source

HASH_NAME = "hash.txt"

Decode = Callable[[list[Path | PackedFile]], Generator[bytes | Undecodable, None, None]]


def prepare_source(request: DataRequest, sample_rate: int) -> Manifest:
    """Open a source and prepare all its clips below the request's folder, unless they are prepared already.

    The demo is rendered and MagnaTagATune is downloaded first if they are missing.

    Args:
        request: the source and the folder.
        sample_rate: sample rate of the prepared audio, in Hz.

    Returns:
        The manifest of the prepared data.

    Raises:
        UserError: an invalid option or table, a failed download, no usable clip, or a full or unwritable disk.
    """
    source = open_source(request.source, request.folder, request.workers, reserve=_disk_needed(request, sample_rate))
    digest = data_hash(source, sample_rate)
    directory = request.folder / PREPARED_NAME / f"{source.name}-{sample_rate}hz-{digest[:10]}"
    if source.clip_seconds and not (directory / MANIFEST_NAME).exists():
        already = sum(file.stat().st_size for file in directory.glob("*.tfrecord"))
        needed = len(source.clips) * pcm16_size(source.clip_seconds, sample_rate)
        check_space([DiskNeed(directory, max(0, needed - already), "to prepare into")])
    return prepare(source, sample_rate, directory, workers=request.workers)


def _disk_needed(request: DataRequest, sample_rate: int) -> list[DiskNeed]:
    """Return the space that preparing needs after a download: none if this source and rate are prepared already."""
    prepared, name = request.folder / PREPARED_NAME, request.source.source
    if any(prepared.glob(f"{name}-{sample_rate}hz-*/{MANIFEST_NAME}")):
        return []
    seconds = download_seconds(request.source)
    return [DiskNeed(prepared, pcm16_size(seconds, sample_rate), "to prepare into")] if seconds else []


def prepare(source: Source, sample_rate: int, directory: Path, *, workers: int) -> Manifest:
    """Decode all clips of a source to TFRecord shards of 16-bit mono PCM.

    An interrupted call is resumed by the next one. If the data is prepared already, nothing is decoded.

    The files are `SPLIT-00000-of-00001.tfrecord` with a JSON file about its clips, `clips.parquet`, `rejected.csv`,
    `tags.txt`, `manifest.json` and, written last, the dataset card: `dataset.json` and `dataset.png`. A record has the
    features `id`, `index` (see `Manifest.clip_index`), `pcm` (little-endian int16 [samples]) and `labels` (int8 [tags],
    -1 unknown).

    Args:
        source: source of the clips.
        sample_rate: sample rate of the stored audio, in Hz.
        directory: directory to write, created if missing. It holds one source at one rate.
        workers: number of decoding processes.

    Returns:
        The manifest of the prepared data.

    Raises:
        UserError: the directory holds other data, is full or cannot be written, another process works in it, or a split
            has no usable clip.
    """
    digest = data_hash(source, sample_rate)
    with storage_errors(directory):
        if (directory / MANIFEST_NAME).exists():
            _refuse_other_data(directory, digest)
            if not (directory / CARD_NAME).exists():  # an earlier call was killed just before
                write_card(source, read_manifest(directory))
            return read_manifest(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory):
            _claim(directory, digest)
            remove_leftovers(directory, SCRATCH_PREFIX)
            shards = plan_shards(source.clips)
            decode = partial(
                decode_many, sample_rate=sample_rate, workers=workers, scratch=directory, min_seconds=source.min_seconds
            )
            _write_missing(shards, directory, decode)
            write_index_files(source, sample_rate, directory, digest, shards)
            write_card(source, read_manifest(directory))
        return read_manifest(directory)


def data_hash(source: Source, sample_rate: int) -> str:
    """Return the SHA-256 that identifies prepared data, in hexadecimal.

    It covers the format version, sample rate, tags, protocol and minimum clip length, and for each clip its id, labels,
    split, group and file. Files are identified by size and modification time, because reading all of them would take as
    long as preparing them. Files in an archive are identified by size and CRC-32.

    Args:
        source: source of the clips.
        sample_rate: sample rate of the prepared audio, in Hz.
    """
    identity = [FORMAT_VERSION, sample_rate, list(source.tags), source.protocol, source.min_seconds]
    digest = hashlib.sha256(json.dumps(identity).encode())
    for clip in source.clips:
        fields = [clip.id, clip.labels.tolist(), clip.split, clip.group, *_file_state(clip.path)]
        digest.update(json.dumps(fields).encode())
    return digest.hexdigest()


def _file_state(path: Path | PackedFile) -> tuple[int, int]:
    if isinstance(path, PackedFile):
        return path.size, path.crc
    try:
        state = path.stat()
    except OSError:  # decoding will report the reason
        return (-1, -1)
    return state.st_size, state.st_mtime_ns


def _claim(directory: Path, digest: str) -> None:
    _refuse_other_data(directory, digest)
    write_text(directory / HASH_NAME, digest)


def _refuse_other_data(directory: Path, digest: str) -> None:
    path = directory / HASH_NAME
    if path.exists() and (found := path.read_text(encoding="utf-8")) != digest:
        raise UserError(
            f"{directory}: found other data in it (hash {found[:8]}, expected {digest[:8]}: clips, labels, splits, "
            "files or the sample rate have changed); choose another directory or remove this one"
        )


def _write_missing(shards: list[Shard], directory: Path, decode: Decode) -> None:
    missing = [shard for shard in shards if not shard.notes(directory).exists()]
    paths = [clip.path for shard in missing for clip in shard.clips]
    total = sum(len(shard.clips) for shard in shards)
    done = total - len(paths)
    with progress("preparing clips") as update, closing(decode(paths)) as decoded:

        def count() -> None:
            nonlocal done
            done += 1
            update(done, total)

        update(done, total)
        for shard in missing:
            write_shard(shard, directory, decoded, count)
