"""The sound of a few clips of a run's data, short enough for a page."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from genre_tagger.data.decode import PCM16_SCALE, Undecodable, decode
from genre_tagger.data.manifest import MANIFEST_NAME, Manifest, read_manifest
from genre_tagger.data.pipeline import RecordReader
from genre_tagger.data.shards import CLIPS_PER_SHARD
from genre_tagger.data.sources import SourceOptions, read_source
from genre_tagger.errors import UserError

LONGEST_SECONDS = 15.0
MP3_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # MP3 knows lower ones, which not every browser plays


class NoSound(Exception):  # noqa: N818, a state of the data that the page names
    """No sound of the data can be had; the message is the reason."""


def read_waveforms(
    record: dict[str, Any], sample_rate: int, split: str, clip_ids: Sequence[str]
) -> dict[str, np.ndarray]:
    """Waveforms [samples] of some clips by id, as the model heard them; those that are gone are left out.

    They come from the prepared data, or from the source's own files where there is none. Nothing is prepared, rendered
    or downloaded for it.

    Args:
        record: content of the run's `data.json`.
        sample_rate: the model's, in Hz.
        split: of the clips.
        clip_ids: which.

    Raises:
        NoSound: neither the prepared data nor the source is there.
    """
    prepared = record["prepared"] and Path(record["prepared"])
    try:
        if prepared and (prepared / MANIFEST_NAME).exists():
            return _from_records(read_manifest(prepared), split, clip_ids)
        return _from_files(record, sample_rate, clip_ids)
    except UserError as reason:
        raise NoSound(str(reason)) from None


def excerpt(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The middle of a waveform [samples], `LONGEST_SECONDS` of it at most."""
    longest = round(LONGEST_SECONDS * sample_rate)
    start = max(0, len(waveform) - longest) // 2
    return waveform[start : start + longest]


def to_mp3(waveform: np.ndarray, sample_rate: int) -> bytes:
    """A mono waveform [samples] as MP3, at the next rate that browsers play."""
    rate = next((rate for rate in MP3_RATES_HZ if rate >= sample_rate), MP3_RATES_HZ[-1])
    buffer = io.BytesIO()
    soundfile.write(buffer, soxr.resample(waveform, sample_rate, rate), rate, format="MP3")
    return buffer.getvalue()


def _from_records(manifest: Manifest, split: str, clip_ids: Sequence[str]) -> dict[str, np.ndarray]:
    names = manifest.clip_index(split)["id"]
    wanted = names[names.isin(clip_ids)].to_dict()  # by index
    paths = manifest.shard_paths(split)
    shards = [paths[number] for number in sorted({index // CLIPS_PER_SHARD for index in wanted})]
    reader = RecordReader(shards, len(wanted))
    clips = reader.load(reader.entries()).as_numpy_iterator() if shards else ()
    return {wanted[index]: pcm / np.float32(PCM16_SCALE) for pcm, _, index in clips if index in wanted}


def _from_files(record: dict[str, Any], sample_rate: int, clip_ids: Sequence[str]) -> dict[str, np.ndarray]:
    source = read_source(SourceOptions(**record["source"]), Path(record["data"]))
    waveforms = {}
    for clip in source.clips:
        if clip.id in clip_ids:
            try:
                waveforms[clip.id] = decode(clip.path, sample_rate)
            except Undecodable:  # gone or broken since: the page says so in the clip's place
                continue
    return waveforms
