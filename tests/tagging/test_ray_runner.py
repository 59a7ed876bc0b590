"""Tagging on a real two-node Ray cluster of this machine."""

import os
import select
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_tagger import TAGS, noise, write
from typer.testing import CliRunner

from genre_tagger.cli import app
from genre_tagger.errors import UserError
from genre_tagger.tagging import ray_cluster, ray_runner
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.results import Choice, text_of
from genre_tagger.tagging.tagger import Tagger

COMMAND_THAT_DIES = """
import os, signal, sys
from pathlib import Path
from genre_tagger.tagging import ray_runner, tables
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.results import Choice

ray_runner.SONGS_PER_PART, tables.SAVE_SECONDS, tables.SAVE_SHARE = 3, 0, 1e9  # writes after each song
model, folder, music = map(Path, sys.argv[1:])
songs = ray_runner.tag_catalogue(ModelFiles.find(model), Catalogue.of_files([music]), folder, Choice(top=2))
for number, song in enumerate(songs):
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def invoke(*arguments):
    return CliRunner().invoke(app, ["tag", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def cluster(monkeypatch):
    """A head and one more node, of one core each; this process and its children find it by RAY_ADDRESS."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
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
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
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


@pytest.mark.slow
def test_a_killed_command_and_a_killed_node_change_no_score(tiny_run, cluster, tmp_path, monkeypatch):
    model, folder, music, listing = tiny_run[0], tmp_path / "tags", tmp_path / "music", tmp_path / "list.txt"
    music.mkdir()
    songs = [write(music / f"{number} 'é'.wav", noise(0.4 + 0.3 * number, number)) for number in range(8)]
    songs[-1] = songs[-1].rename(music / os.fsdecode(b"caf\xe9.wav"))
    killed = subprocess.run([sys.executable, "-c", COMMAND_THAT_DIES, model, folder, music], timeout=300)
    assert killed.returncode == -9
    parts = {part: part.read_bytes() for part in sorted(folder.glob("part-*.parquet"))}
    done = [set(pd.read_parquet(part).path) for part in parts]
    assert list(map(len, done)) == [3, 2]

    pipes = [Pipe(tmp_path / f"pipe{number}.wav", songs[number].read_bytes()) for number in (0, 1)]
    (tmp_path / "text.mp3").write_text("la la la")
    todo = [song for song in songs if text_of(song) not in set.union(*done)] + [tmp_path / "text.mp3"]
    tasks = [pipes[0].path, *todo[:2], pipes[1].path, *todo[2:]]  # either starts with a pipe
    monkeypatch.setattr(ray_runner, "SONGS_PER_TASK", 3)
    listing.write_bytes(b"\n".join(map(os.fsencode, [*tasks, *songs])))
    lost: list[Path] = []
    threading.Thread(target=lose_a_node_in_mid_song, args=(cluster, pipes, lost), daemon=True).start()
    result = invoke(model, "--runner", "ray", "--catalogue", listing, "--parquet", folder, "--top", 2)

    assert len(lost) == 1
    assert result.exit_code == 1
    # Before that Ray tells of the lost node.
    assert result.stdout.splitlines()[-1] == f"5 known already, 5 tagged, 1 without usable audio: {folder}"
    assert f"{tmp_path}/text.mp3: cannot be decoded" in result.stderr
    assert [part.read_bytes() for part in parts] == list(parts.values())
    table = pd.concat([pd.read_parquet(part) for part in sorted(folder.glob("part-*.parquet"))]).set_index("path")
    contents = dict(zip([*songs, *(pipe.path for pipe in pipes)], [*songs, *songs[:2]], strict=True))
    assert sorted(table.index) == sorted(map(text_of, [*contents, tmp_path / "text.mp3"]))
    tagger = Tagger.of_model(model)
    columns = [f"score:{tag}" for tag in TAGS]
    for path, content in contents.items():
        np.testing.assert_allclose(
            table.loc[text_of(path), columns].tolist(), tagger.taggram(content).scores, atol=1e-5
        )
    assert table[columns].std().min() > 1e-3


def row(number, start, windows=0, reason="", score=0.5):
    """As a scorer returns it."""
    scores = np.full(len(TAGS), score, np.float32)
    facts = {"sha256": f"{number}", "seconds": 1.0, "flag": "", "reason": reason}
    return {"number": number, "start": start, "windows": windows} | facts | {"probabilities": scores}


@pytest.fixture
def tag(tiny_run, tmp_path, monkeypatch):
    """Tags three songs on a cluster whose rows are given, as far as they are asked for; returns songs and all parts."""
    names = ["/music/a.wav", "/music/b.wav", "/music/c.wav"]

    def run(*rows):
        def scored(ray, model, todo, catalogue):
            asked = [row | {"number": todo.index(name)} for row in rows if (name := names[row["number"]]) in todo]
            return [{column: np.array([value]) for column, value in row.items()} for row in asked]

        monkeypatch.setattr(ray_runner, "ray_cluster", nullcontext)
        monkeypatch.setattr(ray_runner, "_scored_windows", scored)
        model = ModelFiles.find(tiny_run[0])
        songs = list(ray_runner.tag_catalogue(model, Catalogue(names), tmp_path / "tags", Choice(top=1)))
        parts = sorted((tmp_path / "tags").glob("part-*.parquet"))
        return songs, pd.concat([pd.read_parquet(part) for part in parts])

    return run


def test_windows_that_come_again_change_nothing(tag):
    songs, table = tag(
        *(row(0, 0, score=0.2), row(0, 1600, windows=2, score=0.4)),
        *(row(0, 0, score=0.2), row(1, 0, windows=1), row(0, 1600, windows=2, score=0.4)),
        row(2, 0, windows=1),
    )
    assert [(song.path, song.reason) for song in songs] == [(f"/music/{name}.wav", "") for name in "abc"]
    np.testing.assert_allclose(table["score:rock"], [0.3, 0.5, 0.5], atol=1e-6)


def test_songs_that_never_become_whole_are_named(tag):
    songs, table = tag(row(0, 0, windows=1), row(1, 0), row(1, 3200, windows=3))
    reasons = ["", "its windows did not all arrive", "its windows did not all arrive"]
    assert [song.reason for song in songs] == reasons
    assert table.reason.tolist() == reasons


def test_a_broken_song_has_another_row_only_where_its_reason_is_another(tag):
    outcomes = (["text", "gone"], ["text", "gone"], ["text", "text"], ["text", "gone"], ["", "gone"])
    lengths = []
    for b, c in outcomes:
        songs, table = tag(row(0, 0, 1), row(1, 0, 1, reason=b), row(2, 0, 1, reason=c))
        assert [song.reason for song in songs if song.path != "/music/a.wav"][-2:] == [b, c]
        last = table.drop_duplicates("path", keep="last").set_index("path").reason
        assert last.to_dict() == {"/music/a.wav": "", "/music/b.wav": b, "/music/c.wav": c}
        lengths.append(len(table))
    assert lengths == [3, 3, 4, 5, 6]


def test_a_cluster_that_fails_is_one_line(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(ray_cluster, "_connect", lambda ray: None)
    with pytest.raises(UserError) as error, ray_cluster.ray_cluster():
        raise ray.exceptions.RayTaskError("task", "Traceback\n  many lines", MemoryError("no room\nat all"))
    line = "--runner ray: the cluster failed (MemoryError: no room); the same command goes on from there"
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--runner", "ray"], "--parquet: found none, expected with --runner ray a folder, new or of an earlier run"),
        (["--runner", "ray", "--parquet", "{music}/a.wav"], "--parquet: found the file {music}/a.wav, expected"),
        (["--runner", "ray", "--parquet", "{tags}", "--csv", "a.csv"], "--csv: does not go with --runner ray"),
        (["--runner", "ray", "--parquet", "{tags}", "--json"], "--json: does not go with --runner ray"),
        (["--runner", "ray", "--parquet", "{tags}", "--catalogue", "l.txt"], "--catalogue: found {music} too"),
        (["--catalogue", "l.txt"], "--catalogue: goes with --runner ray"),
    ],
)
def test_options_that_do_not_go_together(options, message, tiny_run, tmp_path, failure):
    places = {"music": tmp_path / "music", "tags": tmp_path / "tags"}
    places["music"].mkdir()
    write(places["music"] / "a.wav", noise(1))
    options = [option.format(**places) for option in options]
    assert message.format(**places) in failure("tag", tiny_run[0], places["music"], *options)
    assert not places["tags"].exists()


def test_ray_is_asked_for_where_it_is_missing(tiny_run, tmp_path, monkeypatch, failure):
    write(tmp_path / "a.wav", noise(1))
    monkeypatch.setitem(sys.modules, "ray", None)
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    assert "pip install 'genre-tagger[ray]'" in line


def test_names_that_ray_does_not_take_on_a_command_line(tiny_run, tmp_path, failure):
    song = write(tmp_path / "a.wav", noise(1)).rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    line = failure("tag", tiny_run[0], song, "--runner", "ray", "--parquet", tmp_path / "tags")
    assert "no UTF-8; expected their folder" in line


def test_a_cluster_that_does_not_answer(tiny_run, tmp_path, monkeypatch, failure):
    pytest.importorskip("ray", reason="Ray is not installed")
    write(tmp_path / "a.wav", noise(1))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    assert line.startswith("RAY_ADDRESS: no cluster answers at 127.0.0.1:1")


def test_a_folder_of_other_parts_is_refused(tiny_run, tmp_path, failure):
    write(tmp_path / "a.wav", noise(1))
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags/part-00000.parquet").write_text("something else")
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    assert line.startswith(f"{tmp_path}/tags: cannot be read")
