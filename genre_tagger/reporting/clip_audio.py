"""Short audio excerpts of clips for the HTML report."""

import io
from collections.abc import Sequence

import numpy as np
import soundfile
import soxr

from genre_tagger.audio.decode import PCM16_SCALE, Undecodable, decode
from genre_tagger.dataset.manifest import MANIFEST_NAME, Manifest, read_manifest
from genre_tagger.dataset.pipeline import RecordReader
from genre_tagger.dataset.shards import CLIPS_PER_SHARD
from genre_tagger.errors import UserError
from genre_tagger.runs.record import RunRecord
from genre_tagger.sources.registry import read_source

LONGEST_SECONDS = 15.0
# MP3 also has lower rates, but some browsers do not play them.
MP3_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


class NoSound(Exception):  # noqa: N818, a state of the data that the HTML report shows
    """The audio of the clips is not available; the message is the reason."""


def read_waveforms(record: RunRecord, sample_rate: int, split: str, clip_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the waveforms of some clips at the sample rate of the model.

    They are read from the prepared data if it still exists, otherwise from the files of the source. Nothing is
    prepared, rendered or downloaded.

    Args:
        record: content of `data.json` of the run.
        sample_rate: sample rate of the model, in Hz.
        split: split of the clips.
        clip_ids: ids of the clips to read.

    Returns:
        float32 [samples] by clip id, without the clips that no longer exist.

    Raises:
        NoSound: neither the prepared data nor the source exists.
    """
    prepared = record.prepared
    try:
        if prepared is not None and (prepared / MANIFEST_NAME).exists():
            return _from_records(read_manifest(prepared), split, clip_ids)
        return _from_files(record, sample_rate, clip_ids)
    except UserError as error:
        raise NoSound(str(error)) from error


def excerpt(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the middle of a waveform [samples] at `sample_rate` Hz, at most `LONGEST_SECONDS` long."""
    longest = round(LONGEST_SECONDS * sample_rate)
    start = max(0, len(waveform) - longest) // 2
    return waveform[start : start + longest]


def to_mp3(waveform: np.ndarray, sample_rate: int) -> bytes:
    """Encode a mono waveform [samples] as MP3.

    Args:
        waveform: float32 [samples].
        sample_rate: sample rate of the waveform, in Hz. The MP3 has the lowest of `MP3_RATES_HZ` that is not below it,
            or else the highest one.

    Returns:
        The content of an MP3 file.
    """
    rate = next((rate for rate in MP3_RATES_HZ if rate >= sample_rate), MP3_RATES_HZ[-1])
    buffer = io.BytesIO()
    soundfile.write(buffer, soxr.resample(waveform, sample_rate, rate), rate, format="MP3")
    return buffer.getvalue()


def _from_records(manifest: Manifest, split: str, clip_ids: Sequence[str]) -> dict[str, np.ndarray]:
    names = manifest.clip_index(split)["id"]
    chosen = names[names.isin(clip_ids)]
    wanted: dict[int, str] = dict(zip(chosen.index.tolist(), chosen.tolist(), strict=True))
    paths = manifest.shard_paths(split)
    shards = [paths[number] for number in sorted({index // CLIPS_PER_SHARD for index in wanted})]
    reader = RecordReader(shards, len(wanted))
    clips = reader.load(reader.entries()).as_numpy_iterator() if shards else ()
    return {wanted[index]: pcm / np.float32(PCM16_SCALE) for pcm, _, index in clips if index in wanted}


def _from_files(record: RunRecord, sample_rate: int, clip_ids: Sequence[str]) -> dict[str, np.ndarray]:
    if record.source is None or record.folder is None:
        raise NoSound("the run has no data")
    source = read_source(record.source, record.folder)
    waveforms = {}
    for clip in source.clips:
        if clip.id in clip_ids:
            try:
                waveforms[clip.id] = decode(clip.path, sample_rate)
            except Undecodable:  # missing or broken; the HTML report shows a note instead
                continue
    return waveforms
