"""TFRecord shards of prepared clips: which clip goes where, writing one, and what became of its clips."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from genre_tagger.data.clips import SPLITS, Clip
from genre_tagger.data.decode import Undecodable
from genre_tagger.files import replacing

CLIPS_PER_SHARD = 64  # 45 MB of 29 s clips at 12 kHz


@dataclass(frozen=True)
class Shard:
    """A planned file of clips of one split.

    Attributes:
        clips: those that belong in it, in order.
        first_index: position of the first of them in the shuffled order of the split.
        stem: file name without ending, such as `train-00003-of-00012`.
    """

    split: str
    clips: tuple[Clip, ...]
    first_index: int
    stem: str

    def records(self, directory: Path) -> Path:
        """The TFRecord file."""
        return directory / f"{self.stem}.tfrecord"

    def notes(self, directory: Path) -> Path:
        """The JSON file that is written last: where it lies, the shard is finished."""
        return directory / f"{self.stem}.json"


def plan_shards(clips: Sequence[Clip]) -> list[Shard]:
    """Shuffles each split, always in the same way, and cuts it into shards of at most `CLIPS_PER_SHARD` clips."""
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
    """Writes a shard and its notes, each under a hidden name first.

    Args:
        shard: what to write.
        directory: where.
        decoded: for each clip of the shard its 16-bit PCM or the reason why it has none; only as many are taken.
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
    with replacing(shard.notes(directory)) as path:
        path.write_text(json.dumps({"clips": held, "rejected": rejected}), encoding="utf-8")


def read_notes(shard: Shard, directory: Path) -> tuple[list[dict], list[dict]]:
    """The clips that a finished shard holds (index, id, group, samples) and its rejected ones (id, path, reason)."""
    notes = json.loads(shard.notes(directory).read_text(encoding="utf-8"))
    return notes["clips"], notes["rejected"]


def _example(clip: Clip, index: int, pcm: bytes) -> bytes:
    example = tf.train.Example()
    features = example.features.feature  # filled in place: messages given to a constructor are copied, audio and all
    features["id"].bytes_list.value.append(clip.id.encode())
    features["index"].int64_list.value.append(index)
    features["pcm"].bytes_list.value.append(pcm)
    features["labels"].bytes_list.value.append(clip.labels.astype(np.int8).tobytes())
    return example.SerializeToString(deterministic=True)
