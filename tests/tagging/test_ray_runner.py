"""Tagging on a real two-node Ray cluster of this machine."""

import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from genre_tagger.config import parse_config
from genre_tagger.models.tagger import build_tagger
from genre_tagger.run import create_run
from genre_tagger.tagging import ray_runner
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.results import Choice
from genre_tagger.tagging.tagger import Tagger

RATE = 12_000
TAGS = ("rock", "café", "no drums")
CONFIG = {
    "frontend": {"n_mels": 40},
    "window": {"seconds": 0.5, "hop_seconds": 0.25, "evaluate": "all"},
    "training": {"batch_size": 4},
    "model": {
        "cascade": "none",
        "wavenet": "none",
        "cnn": {"kernels": [6, 5], "pools": [[2, 2], [2, 3]], "dropouts": [0, 0], "output_width": 7},
        "head": {"widths": [12]},
    },
}
SECONDS = {f"song {number} 'é'.wav": 0.5 + 0.17 * number for number in range(8)}
LAST_WORDS = """
import os, signal, sys
from genre_tagger.tagging import ray_runner, tables
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.results import Choice
from pathlib import Path

ray_runner.SONGS_PER_PART, tables.SAVE_SECONDS = 3, 0
model, names, folder = ModelFiles.find(Path(sys.argv[1])), [Path(name) for name in sys.argv[3:]], Path(sys.argv[2])
for number, song in enumerate(ray_runner.tag_catalogue(model, Catalogue.of_files(names), folder, Choice(2))):
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
"""
pytest.importorskip("ray", reason="Ray is not installed")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ModelFiles:
    """A run of a tiny model with random weights."""
    config = parse_config(CONFIG)
    data = {"source": {"source": "folder", "root": "/music", "seed": 3}, "hash": "c0ffee", "stream": False}
    run = create_run(tmp_path_factory.mktemp("run") / "tiny", config, data, TAGS)
    tagger = build_tagger(config, len(TAGS))
    rng = np.random.default_rng(0)
    for weight in tagger.trainable_weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    tagger.save(run.model)
    return ModelFiles.find(run.path)


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> Path:
    """Songs of tones in noise; a text among them."""
    folder = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(0)
    for name, seconds in SECONDS.items():
        times = np.arange(round(seconds * RATE)) / RATE
        tones = sum(np.sin(2 * np.pi * hertz * times) for hertz in rng.uniform(50, 5000, 5))
        soundfile.write(folder / name, 0.1 * tones + rng.uniform(-0.02, 0.02, len(times)), RATE)
    (folder / "text.mp3").write_text("la la la")
    return folder


@pytest.fixture(scope="module")
def cluster():
    """A head and one more node, of one core each; this process and its children find it by RAY_ADDRESS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "object_store_memory": 80_000_000, "node_ip_address": "127.0.0.1"}
        cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
        cluster.second = cluster.add_node(**node)
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        cluster.shutdown()


class Pipe:
    """A named pipe as a song: who reads it waits, for as long as the test wants."""

    def __init__(self, path: Path, content: bytes):
        os.mkfifo(path)
        self.path, self.content = path, content

    def wait_for_reader(self) -> int:
        """The end to write into, once somebody reads."""
        while True:
            try:
                return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody there yet
                time.sleep(0.05)


def lose_a_node_in_mid_song(cluster, pipes: list[Pipe], lost: list[Path]) -> None:
    """Once both nodes read a pipe, kills one; notes whose reader died; only then does anybody get to read something."""
    ends = {pipe.wait_for_reader(): pipe for pipe in pipes}
    cluster.remove_node(cluster.second, allow_graceful=False)
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLERR)
    lost += [ends[end].path for end, _ in poll.poll(60_000)]
    for end, pipe in ends.items():
        if pipe.path not in lost:
            os.write(end, pipe.content)
        os.close(end)
    for pipe in pipes:
        if pipe.path in lost:
            pipe.path.write_bytes(pipe.content)  # to whoever opens it next


def table_of(folder: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(part) for part in sorted(folder.glob("part-*.parquet"))], ignore_index=True)


@pytest.mark.slow
def test_a_killed_command_and_a_killed_node_change_no_score(model, music, cluster, tmp_path, monkeypatch):
    folder, files = tmp_path / "tags", sorted(music.iterdir())
    killed = subprocess.run([sys.executable, "-c", LAST_WORDS, model.path, folder, *files], timeout=300)
    assert killed.returncode == -9
    parts = {part: part.read_bytes() for part in sorted(folder.glob("part-*.parquet"))}
    assert [len(pd.read_parquet(part)) for part in parts] == [3, 2]
    done = set(table_of(folder).path)

    pipes = [Pipe(tmp_path / f"{number}.wav", file.read_bytes()) for number, file in enumerate(files[:2])]
    todo = [file for file in files if str(file) not in done]
    tasks = [pipes[0].path, *todo[:2], pipes[1].path, *todo[2:]]  # a pipe at the start of either task
    monkeypatch.setattr(ray_runner, "SONGS_PER_TASK", 3)
    lost: list[Path] = []
    threading.Thread(target=lose_a_node_in_mid_song, args=(cluster, pipes, lost), daemon=True).start()
    catalogue = Catalogue([*map(str, tasks), *sorted(done)])
    songs = list(ray_runner.tag_catalogue(model, catalogue, folder, Choice(2)))

    assert len(lost) == 1
    assert {song.path for song in songs if not song.is_new} == done
    assert [part.read_bytes() for part in parts] == list(parts.values())
    table = table_of(folder)
    assert sorted(table.path) == sorted(catalogue.names)
    assert table[table.path.str.endswith(".mp3")].reason.item().startswith("cannot be decoded")
    tagger = Tagger.of_model(model.path)
    for row in table[table.reason == ""].to_dict("records"):
        path = Path(row["path"])
        expected = tagger.taggram(files[int(path.stem)] if path.is_fifo() else path)
        np.testing.assert_allclose([row[f"score:{tag}"] for tag in TAGS], expected.scores, atol=1e-5)
    assert table["score:rock"].std() > 1e-3
