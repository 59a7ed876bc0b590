"""Measure the clips per second and core that `genre-tagger tag` processes, without Ray and on a local Ray cluster.

    python -m benchmarks.tagging MODEL [--quick]

MODEL is a run or an exported version. The files are MP3s of 29.12 s, and all windows are scored. Rates are based on the
processor time of all threads and processes together, so that the number of cores and other work do not matter.

Without Ray, clips are counted after a warm-up. With Ray, a few clips and many clips are tagged, each time from start to
end in a new cluster. The difference between the two times gives the time per clip. The rest of the time for the few
clips is the cost of starting a cluster. Decoding to the model's rate is also measured separately, for these clips and
for a format that is common in music libraries: 44.1 kHz and 128 kbit/s in stereo. The script needs Linux.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks._clips import CLIP_SECONDS, write_clips
from benchmarks._common import Measurement, matrix_rate, options, print_table, say
from genre_tagger.audio.decode import decode
from genre_tagger.evaluation.robustness.perturbations import MP3_RATE, encode_mp3
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.ray_runner import tag_catalogue
from genre_tagger.tagging.song import TagChoice
from genre_tagger.tagging.tagger import Tagger
from genre_tagger.tagging.window_models import ModelFiles

TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    few, many = (4, 12) if arguments.quick else (64, 320)
    model, rate = ModelFiles.find(arguments.model), matrix_rate()
    with TemporaryDirectory() as folder:
        files = many_files(Path(folder), many)
        alone = alone_seconds(model, files[: many // 2], warm_up=few // 2)
        hertz = model.config.frontend.sample_rate
        mono, stereo = (decoding_ms(clips, hertz) for clips in (files[:few], [stereo_clip(Path(folder))] * few))
        of_few, of_many = (cluster_seconds(model, files[:count], Path(folder, f"tags{count}")) for count in (few, many))
    on_ray = (of_many - of_few) / (many - few)
    rows = [
        Measurement("one core, with Ray", "clips/s", 1 / on_ray, rival="one core, without Ray", rival_figure=1 / alone),
        Measurement("decoding a clip, 16 kHz mono", "ms", mono),
        Measurement("decoding a clip, 44.1 kHz stereo", "ms", stereo),
        Measurement("starting Ray and its workers", "core-seconds", of_few - few * on_ray),
    ]
    print_table(f"tagging with {arguments.model.name}, clips of 29.12 s", rate, rows)


def many_files(folder: Path, count: int) -> list[Path]:
    """Create `count` links to a few MP3s and return their paths."""
    distinct = write_clips(folder)
    files = [folder / f"clip{number}.mp3" for number in range(count)]
    for number, file in enumerate(files):
        file.symlink_to(distinct[number % len(distinct)])
    return files


def stereo_clip(folder: Path) -> Path:
    """Write noise as an MP3 of 44.1 kHz and 128 kbit/s in stereo, and return its path."""
    path = folder / "stereo.mp3"
    noise = np.random.default_rng(0).normal(0, 0.1, (round(CLIP_SECONDS * MP3_RATE), 2))
    path.write_bytes(encode_mp3(noise, kbps=128))
    return path


def decoding_ms(files: Sequence[Path], sample_rate: int) -> float:
    """Return the processor time of decoding to `sample_rate` hertz, in milliseconds per clip."""
    before = time.process_time()
    for file in files:
        decode(file, sample_rate)
    return 1000 * (time.process_time() - before) / len(files)


def alone_seconds(model: ModelFiles, files: Sequence[Path], warm_up: int) -> float:
    """Return the processor seconds per clip in this process."""
    say(f"without Ray, {len(files)} clips")
    tagger = Tagger.load(model.path)
    for file in files[:warm_up]:
        tagger.taggram(file)
    before = time.process_time()
    for file in files[warm_up:]:
        tagger.taggram(file)
    return (time.process_time() - before) / (len(files) - warm_up)


def cluster_seconds(model: ModelFiles, files: Sequence[Path], folder: Path) -> float:
    """Return the processor seconds of a whole cluster, from its start to the last clip."""
    say(f"with Ray, {len(files)} clips")
    before = processor_seconds()
    for done, _ in enumerate(tag_catalogue(model, Catalogue.of_files(files), folder, TagChoice(top=5)), 1):
        if done == len(files):
            after = processor_seconds()
    return after - before


def processor_seconds() -> float:
    """Return the processor seconds of this process and its descendants, including those that ended and were reaped."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # the process has just ended
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), sum(map(int, fields[11:15])) / TICKS
    return sum(seconds for pid, seconds in used.items() if os.getpid() in lineage(pid, parents))


def lineage(pid: int, parents: dict[int, int]) -> list[int]:
    """Return the process and all its ancestors."""
    line = [pid]
    while line[-1] in parents:
        line.append(parents[line[-1]])
    return line


if __name__ == "__main__":
    main()
