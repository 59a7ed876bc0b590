"""Tagging on a real two-node Ray cluster of this machine."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny_tagger import TAGS, noise, write
from typer.testing import CliRunner

from genre_tagger.cli import app
from genre_tagger.errors import UserError
from genre_tagger.tagging import ray_cluster, ray_runner
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.ray_stages import Scorer, songs_to_windows
from genre_tagger.tagging.results import Choice, text_of
from genre_tagger.tagging.tagger import Tagger

COMMAND_THAT_DIES = """
import os, signal, sys
from pathlib import Path
from genre_tagger.tagging import ray_runner, tables
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.models import ModelFiles
from genre_tagger.tagging.ray_stages import Scorer, songs_to_windows
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


def ray_or_skip():
    """With the command's own settings, which hold from its first import on."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    return ray_cluster.import_ray()


# Stands for ffmpeg: a song that needs it is a shell script here, whose parent is the process that decodes it.
FFMPEG = """#!/bin/sh
while [ "$1" != -i ]; do shift; done
exec sh "${2#file:}"
"""
CRASHES = "kill -SEGV $PPID"
WAITS = "echo $PPID >> {song}.decoders; until [ -e {go} ]; do sleep 0.05; done; cat {song}.au"


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A head and one more node, of one core each; this process and its children find it by RAY_ADDRESS."""
    ray_or_skip()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ffmpeg").write_text(FFMPEG)
    (tmp_path / "bin/ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    cluster.add_node(**node)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def is_running(process: int) -> bool:
    """Not one that has ended and that nobody has asked about."""
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def waiting_song(path: Path, content: Path, go: Path) -> Path:
    """Sounds as another one does, but who decodes it waits until there is the file `go`."""
    waveform, rate = soundfile.read(content, dtype="float32")
    soundfile.write(f"{path}.au", waveform, rate, format="AU", subtype="FLOAT", endian="BIG")
    path.write_text(WAITS.format(song=path, go=go))
    return path


def decoders_of(song: Path) -> list[int]:
    """Ids of the processes that decoded it or do."""
    notes = Path(f"{song}.decoders")
    return [int(number) for number in notes.read_text().split()] if notes.exists() else []


def wait_until(is_so, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)


def lose_a_node_in_mid_song(cluster, songs: list[Path], go: Path) -> None:
    """Once both nodes decode a waiting song, kills one; only when its decoder is gone does anybody get to hear it."""
    wait_until(lambda: all(map(decoders_of, songs)))
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    wait_until(lambda: not all(is_running(decoders_of(song)[0]) for song in songs))
    go.touch()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc on this system")
def test_a_killed_command_a_killed_node_and_a_song_that_crashes_its_decoder(tiny_run, cluster, tmp_path, monkeypatch):
    model, folder, music, listing = tiny_run[0], tmp_path / "tags", tmp_path / "music", tmp_path / "list.txt"
    music.mkdir()
    songs = [write(music / f"{number} 'é'.wav", noise(0.4 + 0.3 * number, number)) for number in range(8)]
    songs[-1] = songs[-1].rename(music / os.fsdecode(b"caf\xe9.wav"))
    killed = subprocess.run([sys.executable, "-c", COMMAND_THAT_DIES, model, folder, music], timeout=300)
    assert killed.returncode == -9
    parts = {part: part.read_bytes() for part in sorted(folder.glob("part-*.parquet"))}
    done = [set(pd.read_parquet(part).path) for part in parts]
    assert list(map(len, done)) == [3, 2]

    waiting = [waiting_song(tmp_path / f"{number}.m4a", songs[number], tmp_path / "go") for number in (0, 1)]
    broken = {"text.mp3": "la la la", "crash.m4a": CRASHES}
    for name, content in broken.items():
        (tmp_path / name).write_text(content)
    todo = [song for song in songs if text_of(song) not in set.union(*done)]
    todo += [tmp_path / name for name in broken]
    tasks = [waiting[0], *todo[:2], waiting[1], *todo[2:]]  # either node starts with one
    monkeypatch.setattr(ray_runner, "SONGS_PER_TASK", 3)
    listing.write_bytes(b"\n".join(map(os.fsencode, [*tasks, *songs])))
    losing = (cluster, waiting, tmp_path / "go")
    threading.Thread(target=lose_a_node_in_mid_song, args=losing, daemon=True).start()
    result = invoke(model, "--runner", "ray", "--catalogue", listing, "--parquet", folder, "--top", 2)

    assert sorted(len(decoders_of(song)) for song in waiting) == [1, 2]  # the lost one was begun anew
    assert result.exit_code == 1
    *told, last = result.stdout.splitlines()
    assert last == f"5 known already, 5 tagged, 2 without usable audio: {folder}"
    assert not [line for line in told if "Raylet is terminated" in line or "because the node it was running on" in line]
    assert f"{tmp_path}/text.mp3: cannot be decoded" in result.stderr
    assert f"{tmp_path}/crash.m4a: its decoder crashed (segmentation fault)" in result.stderr
    assert [part.read_bytes() for part in parts] == list(parts.values())
    table = pd.concat([pd.read_parquet(part) for part in sorted(folder.glob("part-*.parquet"))]).set_index("path")
    contents = dict(zip([*songs, *waiting], [*songs, *songs[:2]], strict=True))
    assert sorted(table.index) == sorted(map(text_of, [*contents, *(tmp_path / name for name in broken)]))
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

    def run(*rows, stamps=("1 1", "1 2", "1 3")):
        def scored(ray, model, todo, store):
            asked = [row | {"number": todo.index(name)} for row in rows if (name := names[row["number"]]) in todo]
            return [{column: np.array([value]) for column, value in row.items()} for row in asked]

        monkeypatch.setattr(ray_runner, "ray_cluster", nullcontext)
        monkeypatch.setattr(ray_runner, "_scored_windows", scored)
        model = ModelFiles.find(tiny_run[0])
        catalogue = Catalogue(dict(zip(names, stamps, strict=True)))
        songs = list(ray_runner.tag_catalogue(model, catalogue, tmp_path / "tags", Choice(top=1)))
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


def test_another_content_under_an_old_name_is_scored_and_another_way_to_list_is_not(tag):
    rows = [row(number, 0, 1) for number in range(3)]
    tag(*rows)
    changed = [row(number, 0, 1, score=0.9) for number in range(3)]
    for stamps, new in (
        (("1 1", "1 2", "1 3"), ""),
        (("", "", ""), ""),  # a list of URIs names no sizes and times
        (("1 1", "2 2", "1 4"), "bc"),
        (("1 1", "2 2", "1 4"), ""),
    ):
        songs, table = tag(*changed, stamps=stamps)
        assert {song.path for song in songs if song.is_new} == {f"/music/{name}.wav" for name in new}
    last = table.drop_duplicates("path", keep="last").set_index("path")
    np.testing.assert_allclose(last["score:rock"], [0.5, 0.9, 0.9], atol=1e-6)
    assert last["stamp"].tolist() == ["1 1", "2 2", "1 4"]


def test_a_row_without_a_stamp_does_not_stand_for_a_file_with_one(tag):
    rows = [row(number, 0, 1) for number in range(3)]
    for stamps, new in ((("", "", ""), 3), (("1 1", "", ""), 1), (("1 1", "", ""), 0)):
        songs, _ = tag(*rows, stamps=stamps)
        assert sum(song.is_new for song in songs) == new


def test_both_runners_name_and_count_alike(tiny_run, tmp_path, monkeypatch):
    def scored_here(ray, model, names, store):
        score = Scorer(ray_runner.packed(model), threads=None)
        for songs in ray_runner._tasks(names):
            numbers = {name: column.to_numpy() for name, column in zip(songs.column_names, songs.columns, strict=True)}
            yield from map(score, songs_to_windows(numbers, store, model.config.covering))

    monkeypatch.setattr(ray_runner, "ray_cluster", nullcontext)
    monkeypatch.setattr(ray_runner, "_scored_windows", scored_here)
    monkeypatch.chdir(tmp_path)
    Path("music").mkdir()
    for number in range(2):
        write(Path(f"music/{number}.wav"), noise(1, number))
    write(Path("music/hush.wav"), 0 * noise(1))
    Path("music/text.mp3").write_text("la la la")
    os.mkfifo("music/pipe.wav")
    arguments = [tiny_run[0], Path("music/hush.wav"), "./music", "--parquet"]
    for _ in range(2):
        local, ray = invoke(*arguments, "tags.parquet"), invoke(*arguments, "parts", "--runner", "ray")
        assert local.stdout.replace(": tags.parquet", ": parts") == ray.stdout
        assert sorted(local.stderr.splitlines()) == sorted(ray.stderr.splitlines())
        assert (local.exit_code, ray.exit_code) == (1, 1)
    assert ray.stdout == "2 known already, 2 without usable audio, 1 silent: parts\n"
    tables = [
        pd.read_parquet(place).set_index("path").sort_index() for place in ("tags.parquet", "parts/part-00000.parquet")
    ]
    columns = ["sha256", "model", "seconds", "flag", "reason", "tags", *(f"score:{tag}" for tag in TAGS)]
    pd.testing.assert_frame_equal(*(table[columns] for table in tables), atol=1e-5)


def test_a_cluster_that_fails_is_one_line(monkeypatch):
    ray = ray_or_skip()
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
    ray_or_skip()
    write(tmp_path / "a.wav", noise(1))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    assert line.startswith("RAY_ADDRESS: no cluster answers at 127.0.0.1:1")


def test_a_folder_of_other_parts_is_refused(tiny_run, tmp_path, failure):
    write(tmp_path / "a.wav", noise(1))
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags/part-00000.parquet").write_text("something else")
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    assert line.startswith(f"{tmp_path}/tags: found parts of an earlier version, or something else; expected parts")
