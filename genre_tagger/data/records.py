"""Prepares a source for training: decodes every clip once, in parallel, to sharded TFRecords with a manifest."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from genre_tagger.data.archive import PackedFile
from genre_tagger.data.card import CARD_NAME, write_card
from genre_tagger.data.clips import Source
from genre_tagger.data.decode import Undecodable
from genre_tagger.data.decode_pool import SCRATCH_PREFIX, decode_many
from genre_tagger.data.manifest import FORMAT_VERSION, MANIFEST_NAME, Manifest, read_manifest
from genre_tagger.data.shards import Shard, plan_shards, write_shard
from genre_tagger.data.summary import write_summary
from genre_tagger.errors import UserError
from genre_tagger.files import locked, remove_leftovers, replacing, storage_errors

HASH_NAME = "hash.txt"

OnProgress = Callable[[int, int], None]
Decode = Callable[[list[Path | PackedFile]], Iterator[bytes | Undecodable]]


def prepare(
    source: Source, sample_rate: int, directory: Path, *, workers: int, on_progress: OnProgress | None = None
) -> Manifest:
    """Decodes all clips of a source to TFRecord shards of 16-bit mono PCM; goes on where a killed call stopped.

    Writes `SPLIT-00000-of-00001.tfrecord` with a JSON of the clips in it, `clips.parquet`, `rejected.csv`,
    `tags.txt`, `manifest.json` and, last of all, the dataset card, `dataset.json` and `dataset.png`. A record holds
    `id`, `index` (see `Manifest.clip_index`), `pcm` (little-endian int16 [samples]) and `labels` (int8 [tags], -1
    unknown). Does nothing where that is done.

    Args:
        source: yields the clips.
        sample_rate: of the stored audio, in Hz.
        directory: is made where it is missing; holds one source at one rate.
        workers: number of decoding processes.
        on_progress: called with the number of clips done and of all.

    Raises:
        UserError: the directory holds other data, or cannot be written, or is full, or another process works there;
            or a split has no usable clip.
    """
    digest = data_hash(source, sample_rate)
    with storage_errors(directory):
        if (directory / MANIFEST_NAME).exists():
            _refuse_other_data(directory, digest)
            if not (directory / CARD_NAME).exists():  # killed just before
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
            _write_missing(shards, directory, decode, on_progress or (lambda done, total: None))
            write_summary(source, sample_rate, directory, digest, shards)
            write_card(source, read_manifest(directory))
        return read_manifest(directory)


def data_hash(source: Source, sample_rate: int) -> str:
    """SHA-256 that identifies prepared data: format, rate, tags, protocol, shortest clip, and each clip's labels,
    split, group and file.

    Files are told apart by size and time of change, as reading them all would take as long as preparing them.
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
    except OSError:  # whatever is wrong, decoding will name it
        return (-1, -1)
    return state.st_size, state.st_mtime_ns


def _claim(directory: Path, digest: str) -> None:
    _refuse_other_data(directory, digest)
    with replacing(directory / HASH_NAME) as unfinished:
        unfinished.write_text(digest, encoding="utf-8")


def _refuse_other_data(directory: Path, digest: str) -> None:
    path = directory / HASH_NAME
    if path.exists() and (found := path.read_text(encoding="utf-8")) != digest:
        raise UserError(
            f"{directory}: holds other data (hash {found[:8]}, expected {digest[:8]}: clips, labels, splits, files or "
            "the sample rate changed); choose another directory or remove this one"
        )


def _write_missing(shards: list[Shard], directory: Path, decode: Decode, on_progress: OnProgress) -> None:
    missing = [shard for shard in shards if not shard.notes(directory).exists()]
    paths = [clip.path for shard in missing for clip in shard.clips]
    total = sum(len(shard.clips) for shard in shards)
    done = total - len(paths)
    on_progress(done, total)

    def count() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    with closing(decode(paths)) as decoded:
        for shard in missing:
            write_shard(shard, directory, decoded, count)
