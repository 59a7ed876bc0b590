"""TFRecord shards of prepared clips: plan them, write them, and read the notes about their clips."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from genre_tagger.audio.decode import Undecodable
from genre_tagger.files import replacing, write_text
from genre_tagger.sources.clips import SPLITS, Clip

CLIPS_PER_SHARD = 64  # 45 MB of 29 s clips at 12 kHz


@dataclass(frozen=True)
class Shard:
    """A planned file of clips of one split.

    Attributes:
        split: `train`, `valid` or `test`.
        clips: the clips of the shard, in order.
        first_index: position of the first clip in the shuffled order of the split.
        stem: file name without extension, such as `train-00003-of-00012`.
    """

    split: str
    clips: tuple[Clip, ...]
    first_index: int
    stem: str

    def records(self, directory: Path) -> Path:
        """Return the path of the TFRecord file."""
        return directory / f"{self.stem}.tfrecord"

    def notes(self, directory: Path) -> Path:
        """Return the path of the JSON file. This file is written last, so its shard is finished if it exists."""
        return directory / f"{self.stem}.json"


def plan_shards(clips: Sequence[Clip]) -> list[Shard]:
    """Shuffle each split in a fixed random order and divide it into shards of at most `CLIPS_PER_SHARD` clips."""
    return [shard for split in SPLITS for shard in _plan_split(split, [c for c in clips if c.split == split])]


def _plan_split(split: str, clips: list[Clip]) -> Iterator[Shard]:
    order = np.random.default_rng(0).permutation(len(clips))
    starts = range(0, len(clips), CLIPS_PER_SHARD)
    for number, start in enumerate(starts):
        members = tuple(clips[i] for i in order[start : start + CLIPS_PER_SHARD])
        yield Shard(split, members, start, f"{split}-{number:05d}-of-{len(starts):05d}")


def write_shard(
    shard: Shard, directory: Path, decoded: Iterator[bytes | Undecodable], on_clip: Callable[[], None]
) -> None:
    """Write a shard and its notes, each under a hidden name that is renamed at the end.

    Args:
        shard: the shard.
        directory: directory to write to.
        decoded: for each clip of the shard its 16-bit PCM, or the error if it has no usable audio. Items of later
            shards are not consumed.
        on_clip: called after each clip.
    """
    held, rejected = [], []
    with replacing(shard.records(directory)) as path, tf.io.TFRecordWriter(str(path)) as writer:
        for index, (clip, pcm) in enumerate(zip(shard.clips, decoded, strict=False), start=shard.first_index):
            if isinstance(pcm, Undecodable):
                rejected.append({"id": clip.id, "path": str(clip.path), "reason": str(pcm)})
            else:
                writer.write(_example(clip, index, pcm))
                held.append({"index": index, "id": clip.id, "group": clip.group, "samples": len(pcm) // 2})
            on_clip()
    write_text(shard.notes(directory), json.dumps({"clips": held, "rejected": rejected}))


def read_notes(shard: Shard, directory: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the clips in a finished shard (index, id, group, samples) and its rejected clips (id, path, reason)."""
    notes = json.loads(shard.notes(directory).read_text(encoding="utf-8"))
    return notes["clips"], notes["rejected"]


def _example(clip: Clip, index: int, pcm: bytes) -> bytes:
    example = tf.train.Example()
    features = example.features.feature  # filled in place, because a constructor would copy the audio
    features["id"].bytes_list.value.append(clip.id.encode())
    features["index"].int64_list.value.append(index)
    features["pcm"].bytes_list.value.append(pcm)
    features["labels"].bytes_list.value.append(clip.labels.astype(np.int8).tobytes())
    record: bytes = example.SerializeToString(deterministic=True)
    return record
