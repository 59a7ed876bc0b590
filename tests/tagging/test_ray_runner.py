"""Tagging on a cluster: one real Ray cluster of two nodes on this machine, and fake ones."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from facts import check_facts, expect_error
from tiny_tagger import TAGS, noise, write
from typer.testing import CliRunner

from genre_tagger.commands.app import app
from genre_tagger.errors import FieldError
from genre_tagger.tagging import ray_cluster, ray_runner
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.ray_stages import Scorer, songs_to_windows
from genre_tagger.tagging.song import TagChoice, text_of
from genre_tagger.tagging.tagger import Tagger
from genre_tagger.tagging.window_models import ModelFiles

COMMAND_THAT_DIES = """
import os, signal, sys
from pathlib import Path
from genre_tagger.tagging import ray_runner
from genre_tagger.tagging import output_tables as tables
from genre_tagger.tagging.catalogue import Catalogue
from genre_tagger.tagging.window_models import ModelFiles
from genre_tagger.tagging.ray_stages import Scorer, songs_to_windows
from genre_tagger.tagging.song import TagChoice

ray_runner.SONGS_PER_PART, tables.SAVE_SECONDS, tables.SAVE_SHARE = 3, 0, 1e9  # save after each song
model, folder, music = map(Path, sys.argv[1:])
songs = ray_runner.tag_catalogue(ModelFiles.find(model), Catalogue.of_files([music]), folder, TagChoice(top=2))
for number, song in enumerate(songs):
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def invoke(*arguments):
    return CliRunner().invoke(app, ["tag", *map(str, arguments)], catch_exceptions=False)


def ray_or_skip():
    """Import Ray with the settings of the command, which it reads at its first import."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    return ray_cluster.import_ray()


# A fake ffmpeg that runs a song as a shell script. Its parent is the process that decodes the song.
FFMPEG = """#!/bin/sh
while [ "$1" != -i ]; do shift; done
exec sh "${2#file:}"
"""
CRASHES = "kill -SEGV $PPID"
WAITS = "echo $PPID >> {song}.decoders; until [ -e {go} ]; do sleep 0.05; done; cat {song}.au"


NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
# A node that is killed is noticed within a second. By default that takes up to 15 s.
HEALTH_CHECKS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A cluster of a head and another node with one core each. This process and its children find it by RAY_ADDRESS."""
    ray_or_skip()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ffmpeg").write_text(FFMPEG)
    (tmp_path / "bin/ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    from ray.cluster_utils import Cluster

    head = {"include_dashboard": False, "_system_config": HEALTH_CHECKS}
    cluster = Cluster(initialize_head=True, head_node_args=NODE | head)
    cluster.add_node(**NODE, wait=False)  # the first command does not need this node
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def is_running(process: int) -> bool:
    """Return whether a process has not ended. A zombie has ended."""
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def waiting_song(path: Path, content: Path, go: Path) -> Path:
    """Write a song with the content of another one, whose decoder waits until the file `go` exists."""
    waveform, rate = soundfile.read(content, dtype="float32")
    soundfile.write(f"{path}.au", waveform, rate, format="AU", subtype="FLOAT", endian="BIG")
    path.write_text(WAITS.format(song=path, go=go))
    return path


def decoders_of(song: Path) -> list[int]:
    """Return the ids of the processes that have decoded a song or are decoding it."""
    notes = Path(f"{song}.decoders")
    return [int(number) for number in notes.read_text().split()] if notes.exists() else []


def wait_until(is_so, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)


def lose_a_node_in_mid_song(cluster, songs: list[Path], go: Path) -> None:
    """Kill a node once both nodes decode a waiting song. Once its decoder has ended, let the other one continue."""
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

    cluster.wait_for_nodes()
    waiting = [waiting_song(tmp_path / f"{number}.m4a", songs[number], tmp_path / "go") for number in (0, 1)]
    broken = {"text.mp3": "la la la", "crash.m4a": CRASHES}
    for name, content in broken.items():
        (tmp_path / name).write_text(content)
    todo = [song for song in songs if text_of(song) not in set.union(*done)]
    todo += [tmp_path / name for name in broken]
    tasks = [waiting[0], *todo[:2], waiting[1], *todo[2:]]  # each node starts with a waiting song
    monkeypatch.setattr(ray_runner, "SONGS_PER_TASK", 3)
    listing.write_bytes(b"\n".join(map(os.fsencode, [*tasks, *songs])))
    losing = (cluster, waiting, tmp_path / "go")
    threading.Thread(target=lose_a_node_in_mid_song, args=losing, daemon=True).start()
    result = invoke(model, "--runner", "ray", "--catalogue", listing, "--parquet", folder, "--top", 2)

    assert sorted(len(decoders_of(song)) for song in waiting) == [1, 2]  # the song of the lost node was decoded again
    assert result.exit_code == 1
    *others, last = result.stdout.splitlines()
    check_facts(last, "5 known", "5 tagged", "2 without", f": {folder}")
    hidden = ("Raylet is terminated", "because the node it was running on")  # Ray's words
    assert not [line for line in others if any(words in line for words in hidden)]
    check_facts(result.stderr, f"{tmp_path}/text.mp3: ", f"{tmp_path}/crash.m4a: ", "segmentation fault")
    assert [part.read_bytes() for part in parts] == list(parts.values())
    table = pd.concat([pd.read_parquet(part) for part in sorted(folder.glob("part-*.parquet"))]).set_index("path")
    contents = dict(zip([*songs, *waiting], [*songs, *songs[:2]], strict=True))
    assert sorted(table.index) == sorted(map(text_of, [*contents, *(tmp_path / name for name in broken)]))
    tagger = Tagger.load(model)
    columns = [f"score:{tag}" for tag in TAGS]
    for path, content in contents.items():
        np.testing.assert_allclose(
            table.loc[text_of(path), columns].tolist(), tagger.taggram(content).scores, atol=1e-5
        )
    assert table[columns].std().min() > 1e-3


def row(number, start, windows=0, reason="", score=0.5):
    """Return a row as a scorer returns it."""
    scores = np.full(len(TAGS), score, np.float32)
    facts = {"sha256": f"{number}", "seconds": 1.0, "flag": "", "reason": reason}
    return {"number": number, "start": start, "windows": windows} | facts | {"probabilities": scores}


@pytest.fixture
def tag(tiny_run, tmp_path, monkeypatch):
    """Tag three songs on a fake cluster whose rows are given. Return the songs and the rows of all parts."""
    names = ["/music/a.wav", "/music/b.wav", "/music/c.wav"]

    def run(*rows, stamps=("1 1", "1 2", "1 3")):
        def scored(model, todo, store):
            asked = [row | {"number": todo.index(name)} for row in rows if (name := names[row["number"]]) in todo]
            yield from ({column: np.array([value]) for column, value in row.items()} for row in asked)

        monkeypatch.setattr(ray_runner, "scored_windows", scored)
        model = ModelFiles.find(tiny_run[0])
        catalogue = Catalogue(dict(zip(names, stamps, strict=True)))
        songs = list(ray_runner.tag_catalogue(model, catalogue, tmp_path / "tags", TagChoice(top=1)))
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
    assert [bool(song.reason) for song in songs] == [False, True, True]
    assert table.reason.tolist() == [song.reason for song in songs]
    assert table.path.tolist() == [song.path for song in songs] == ["/music/a.wav", "/music/b.wav", "/music/c.wav"]


def test_a_broken_song_gets_another_row_only_for_another_reason(tag):
    outcomes = (["text", "gone"], ["text", "gone"], ["text", "text"], ["text", "gone"], ["", "gone"])
    lengths = []
    for b, c in outcomes:
        songs, table = tag(row(0, 0, 1), row(1, 0, 1, reason=b), row(2, 0, 1, reason=c))
        assert [song.reason for song in songs if song.path != "/music/a.wav"][-2:] == [b, c]
        last = table.drop_duplicates("path", keep="last").set_index("path").reason
        assert last.to_dict() == {"/music/a.wav": "", "/music/b.wav": b, "/music/c.wav": c}
        lengths.append(len(table))
    assert lengths == [3, 3, 4, 5, 6]


def test_new_content_under_an_old_name_is_scored_but_another_listing_is_not(tag):
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


def test_a_row_without_a_stamp_does_not_count_for_a_file_with_one(tag):
    rows = [row(number, 0, 1) for number in range(3)]
    for stamps, new in ((("", "", ""), 3), (("1 1", "", ""), 1), (("1 1", "", ""), 0)):
        songs, _ = tag(*rows, stamps=stamps)
        assert sum(song.is_new for song in songs) == new


def test_both_runners_print_and_write_the_same(tiny_run, tmp_path, monkeypatch):
    def scored_here(model, names, store):
        score = Scorer(ray_runner.packed(model), threads=None)
        songs = {"number": np.arange(len(names)), "name": np.array(list(map(os.fsencode, names)), object)}
        yield from map(score, songs_to_windows(songs, store, model.config.covering))

    monkeypatch.setattr(ray_runner, "scored_windows", scored_here)
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
    check_facts(ray.stdout, "2 known", "2 without", "1 silent", ": parts")
    tables = [
        pd.read_parquet(place).set_index("path").sort_index() for place in ("tags.parquet", "parts/part-00000.parquet")
    ]
    columns = ["sha256", "model", "seconds", "flag", "reason", "tags", *(f"score:{tag}" for tag in TAGS)]
    pd.testing.assert_frame_equal(*(table[columns] for table in tables), atol=1e-5)


def test_a_cluster_that_fails_is_one_line(monkeypatch):
    ray = ray_or_skip()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda *_, **options: None)
    with expect_error("MemoryError: no room", kind=FieldError) as error, ray_cluster.ray_cluster():
        raise ray.exceptions.RayTaskError("task", "Traceback\n  many lines", MemoryError("no room\nat all"))
    assert error.value.field == "runner"
    assert not any(word in str(error.value) for word in ("\n", "many lines", "at all"))


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (["--runner", "ray"], ["--parquet: ", "none", "folder"]),
        (["--runner", "ray", "--parquet", "{music}/a.wav"], ["--parquet: ", "{music}/a.wav", "folder"]),
        (["--runner", "ray", "--parquet", "{tags}", "--csv", "a.csv"], ["--csv: ", "--runner ray"]),
        (["--runner", "ray", "--parquet", "{tags}", "--json"], ["--json: ", "--runner ray"]),
        (["--runner", "ray", "--parquet", "{tags}", "--catalogue", "l.txt"], ["--catalogue: ", "{music}"]),
        (["--catalogue", "l.txt"], ["--catalogue: ", "--runner ray"]),
    ],
)
def test_options_that_do_not_go_together(options, facts, tiny_run, tmp_path, failure):
    places = {"music": tmp_path / "music", "tags": tmp_path / "tags"}
    places["music"].mkdir()
    write(places["music"] / "a.wav", noise(1))
    options = [option.format(**places) for option in options]
    line = failure("tag", tiny_run[0], places["music"], *options)
    check_facts(line, *(fact.format(**places) for fact in facts))
    assert not places["tags"].exists()


def test_without_ray_the_extra_is_named(tiny_run, tmp_path, monkeypatch, failure):
    write(tmp_path / "a.wav", noise(1))
    monkeypatch.setitem(sys.modules, "ray", None)
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    check_facts(line, "--runner: ", "pip install 'genre-tagger[ray]'")


def test_names_that_are_not_utf8_are_refused_on_the_command_line(tiny_run, tmp_path, failure):
    song = write(tmp_path / "a.wav", noise(1)).rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    line = failure("tag", tiny_run[0], song, "--runner", "ray", "--parquet", tmp_path / "tags")
    check_facts(line, "--runner: ", "UTF-8", "--catalogue")


def test_a_cluster_that_does_not_answer(tiny_run, tmp_path, monkeypatch, failure):
    ray_or_skip()
    write(tmp_path / "a.wav", noise(1))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    check_facts(line, "RAY_ADDRESS: ", "127.0.0.1:1")


def test_a_folder_of_other_parts_is_refused(tiny_run, tmp_path, failure):
    write(tmp_path / "a.wav", noise(1))
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags/part-00000.parquet").write_text("something else")
    line = failure("tag", tiny_run[0], tmp_path / "a.wav", "--runner", "ray", "--parquet", tmp_path / "tags")
    check_facts(line, f"{tmp_path}/tags: ", "parts")
