"""The command `genre-tagger tag`."""

import io
import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from facts import check_facts, expect_error
from rich.console import Console
from tiny_tagger import TAGS, noise, write
from typer.testing import CliRunner

from genre_tagger.commands import console
from genre_tagger.commands.app import app, main
from genre_tagger.commands.tag import print_songs
from genre_tagger.errors import UserError
from genre_tagger.tagging.song import Song, TagChoice


def invoke(*arguments):
    return CliRunner().invoke(app, ["tag", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def music(tmp_path):
    """A folder of six files, two of them broken."""
    folder = tmp_path / "music"
    (folder / "sub").mkdir(parents=True)
    write(folder / "a.wav", noise(1))
    write(folder / "sub" / "odd\n[name].flac", noise(1, 1))
    write(folder / "sub" / "c.wav", noise(1, 2)).rename(folder / "sub" / os.fsdecode(b"caf\xe9.wav"))
    write(folder / "sub" / "hush.wav", 0 * noise(1))
    (folder / "text.mp3").write_text("this is no music\n" * 50)
    (folder / "empty.opus").write_bytes(b"")
    (folder / "cover.jpg").write_bytes(b"x")
    return folder


def test_a_folder_becomes_tables_and_the_broken_are_listed_at_the_end(tiny_run, music):
    result = invoke(tiny_run[0], music, "--top", 2)
    assert result.exit_code == 1
    assert result.stdout.count("probability") == 3  # the heading of a table
    assert r"sub/odd\n[name].flac" in result.stdout and r"caf\xe9.wav" in result.stdout
    assert f"{music}/sub/hush.wav: silent" in result.stdout.splitlines()
    first, second = result.stderr.splitlines()
    check_facts(first, f"{music}/empty.opus: ", "0 bytes")
    check_facts(second, f"{music}/text.mp3: ", "decoded")


def test_json_has_every_file_with_the_names_of_the_columns(tiny_run, music):
    result = invoke(tiny_run[0], music, "--json", "--top", 9)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    names = ["a.wav", "empty.opus", r"sub/caf\xe9.wav", "sub/hush.wav", "sub/odd\n[name].flac", "text.mp3"]
    lines.sort(key=lambda line: line["path"])
    assert [line["path"] for line in lines] == [f"{music}/{name}" for name in names]
    sound, broken = [lines[0], *lines[2:5]], [lines[1], lines[5]]
    assert [(line["flag"], line["seconds"], len(line["tags"])) for line in sound][1:3] == [("", 1, 5), ("silent", 1, 0)]
    assert all(set(line["tags"]) in (set(TAGS), set()) and line["reason"] == "" for line in sound)
    assert [f"{line['path']}: {line['reason']}" for line in broken] == result.stderr.splitlines()
    assert all("seconds" not in line and line["tags"] == {} for line in broken)
    assert result.exit_code == 1
    columns = {"path", "sha256", "seconds", "flag", "reason", "tags"}  # as in result tables
    assert all(set(line) == columns for line in sound)


def test_a_threshold_leaves_tags_out(tiny_run, music):
    every = json.loads(invoke(tiny_run[0], music / "a.wav", "--json", "--top", 9).stdout)["tags"]
    middle = sorted(every.values())[2]
    shown = json.loads(invoke(tiny_run[0], music / "a.wav", "--json", "--top", 9, "--threshold", middle).stdout)["tags"]
    assert shown == {tag: score for tag, score in every.items() if score >= middle} and len(shown) == 3
    none = invoke(tiny_run[0], music / "a.wav", "--threshold", 1).stdout
    assert none.startswith(f"{music}/a.wav: ") and none.count("\n") == 1
    check_facts(none, "threshold")
    assert not any(tag in none for tag in every)


def test_tables_are_written_instead_of_printing(tiny_run, music, tmp_path):
    csv, parquet = tmp_path / "out.csv", tmp_path / "out.parquet"
    result = invoke(tiny_run[0], music, "--csv", csv, "--parquet", parquet)
    check_facts(result.stdout, "3 tagged", "2 without", "1 silent", f": {csv}, {parquet}\n")
    again = invoke(tiny_run[0], music, "--csv", csv, "--parquet", parquet)
    check_facts(again.stdout, "3 known", "2 without", "1 silent", f": {csv}, {parquet}\n")
    assert "tagged" not in again.stdout
    assert again.stderr == result.stderr and again.exit_code == 1
    pd.testing.assert_frame_equal(
        pd.read_csv(csv, keep_default_na=False, na_values={f"score:{tag}": [""] for tag in TAGS} | {"seconds": [""]}),
        pd.read_parquet(parquet),
        check_dtype=False,
    )
    assert invoke(tiny_run[0], music / "a.wav", "--csv", csv, "--json").stdout.startswith('{"path"')


def test_a_taggram_is_drawn(tiny_run, music, tmp_path, drawn):
    result = invoke(
        tiny_run[0], music / "a.wav", "--taggram", tmp_path / "x.png", "--embeddings", tmp_path / "e.parquet"
    )
    assert result.exit_code == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    axes = drawn[0].axes[0]
    scores = json.loads(invoke(tiny_run[0], music / "a.wav", "--json").stdout)["tags"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(scores)
    assert axes.get_title() == f"{music}/a.wav"
    assert len(pd.read_parquet(tmp_path / "e.parquet")["embedding"][0]) == 6


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["RUN"], ["tag: ", "RUN", "audio files"]),
        (["RUN", "bare"], ["bare: ", "no audio", ".mp3"]),
        (["RUN", "gone.mp3"], ["gone.mp3: ", "no such file"]),
        (["bare", "music"], ["bare: ", "no model"]),
        (["RUN", "music", "--taggram", "x.png"], ["--taggram: ", "6 audio files"]),
        (["RUN", "music", "--csv", "bare"], ["--csv: ", "bare", ".csv"]),
        (["RUN", "music", "--csv", "t.xlsx"], ["--csv: ", "t.xlsx", ".csv"]),
        (["RUN", "music/a.wav", "--csv", "music/text.mp3"], ["--csv: ", "music/text.mp3", ".csv"]),
        (["RUN", "music", "--parquet", "t.csv"], ["--parquet: ", "t.csv", ".parquet"]),
        (["RUN", "music", "--embeddings", "t"], ["--embeddings: ", ".parquet"]),
        (["RUN", "music", "--runner", "rey"], ["--runner: ", "'rey'", "local, ray"]),
        (["RUN", "music", "--threshold", "2"], ["--threshold"]),
        (["RUN", "music", "--model", "tagger"], ["--model: ", "--server"]),
        (["RUN", "music", "--timeout", "5"], ["--timeout: ", "--server"]),
        (["--server", "localhost:1", "music", "--top", "6"], ["--top: ", "6", "5", "MODEL"]),
        (["--server", "localhost:1", "music", "--csv", "x.csv"], ["--csv: ", "MODEL"]),
        (["--server", "localhost:1", "music", "--parquet", "x"], ["--parquet: ", "MODEL"]),
        (["--server", "localhost:1", "music", "--taggram", "x"], ["--taggram: ", "MODEL"]),
        (["--server", "localhost:1", "music", "--embeddings", "x"], ["--embeddings: ", "MODEL"]),
        (["--server", "localhost:1", "RUN"], ["tag: ", "RUN", "audio files"]),
    ],
)
def test_mistakes_are_one_line(tiny_run, music, monkeypatch, failure, arguments, facts):
    monkeypatch.chdir(music.parent)
    Path("bare").mkdir()
    run = str(tiny_run[0])
    line = failure("tag", *(run if part == "RUN" else part for part in arguments))
    check_facts(line, *(run if fact == "RUN" else fact for fact in facts))


def test_a_bar_counts_files_and_their_rate_on_a_terminal_alone(monkeypatch, tmp_path, capsys):
    songs = [Song(tmp_path / f"{number}.mp3", scores={"rock": 0.5}) for number in range(3)]
    for is_terminal in (True, False):
        screen = io.StringIO()
        monkeypatch.setattr(console, "stderr", Console(file=screen, force_terminal=is_terminal, width=100))
        assert print_songs(iter(songs), 3, TagChoice(1), False, []) == []
        shown = screen.getvalue()
        assert ("2/3" in shown and "files/s" in shown) == is_terminal
        assert is_terminal or not shown
        assert capsys.readouterr().out.count("│ rock │       0.500 │") == 3


@pytest.fixture
def screen(monkeypatch):
    """The text on standard error, as if that were a terminal."""
    screen = io.StringIO()
    monkeypatch.setattr(console, "stderr", Console(file=screen, force_terminal=True, width=100))
    return screen


def test_fewer_songs_than_were_counted_end_the_bar(screen, tmp_path):
    songs = iter([Song(tmp_path / "a.mp3", reason="gone")])
    assert print_songs(songs, 3, TagChoice(1), False, []) == [f"{tmp_path}/a.mp3: gone"]
    assert "1/3" in screen.getvalue()


def test_no_success_is_reported_before_the_last_save(screen, tmp_path, capsys):
    def songs():
        yield Song(tmp_path / "a.mp3", scores={"rock": 0.5})
        raise UserError("no space left on its disk")

    with expect_error("no space left"):
        print_songs(songs(), 1, TagChoice(1), False, [tmp_path / "t.csv"])
    assert capsys.readouterr().out == ""


def test_notes_of_the_mp3_decoder_stay_off_the_terminal(tiny_run, tmp_path, monkeypatch, capfd):
    soundfile.write(tmp_path / "a.mp3", noise(2), 8000)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content + b"TAG" + bytes(2000) + content[:700])
    (tmp_path / "x.mp3").write_text("this is no music\n" * 50)
    soundfile.read(tmp_path / "a.mp3")
    assert capfd.readouterr().err  # otherwise this test proves nothing
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)  # as in a separate process
    monkeypatch.setattr(sys, "argv", ["genre-tagger", "tag", str(tiny_run[0]), str(tmp_path)])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    check_facts(line, f"{tmp_path}/x.mp3: ", "no audio")
    assert sys.stderr is sys.__stderr__
    os.write(2, b"shown again")
    assert capfd.readouterr().err == "shown again"
