"""Result tables over several calls: which files are scored again, odd names, other models; and plots."""

import os
import shutil
from dataclasses import replace
from threading import Thread

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from facts import expect_error
from tiny_tagger import TAGS, noise, write

from genre_tagger.errors import FieldError
from genre_tagger.tagging import output_tables as tables
from genre_tagger.tagging.audio_files import audio_files
from genre_tagger.tagging.output_tables import OutputPaths
from genre_tagger.tagging.song import Song, TagChoice
from genre_tagger.tagging.tag_files import TagRequest, tag_files
from genre_tagger.tagging.taggram_plot import plot_taggram

ODD = ['it\'s "odd", a\nb\r\nc.wav', "日本 ünï.wav", os.fsdecode(b"caf\xe9.wav"), "NA.wav", " =1+1.wav", "a\rb.wav"]
SHOWN = ['it\'s "odd", a\nb\r\nc.wav', "日本 ünï.wav", "caf\\xe9.wav", "NA.wav", " =1+1.wav", "a\rb.wav"]
TOP_2 = TagChoice(2)


def run(tagger, files, choice=TOP_2, **outputs):
    """Tag files. Return (songs, number of windows that were scored)."""
    before = tagger.model.windows
    songs = list(tag_files(tagger, TagRequest(files, choice, OutputPaths(**outputs))))
    return songs, tagger.model.windows - before


def read(path):
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, keep_default_na=False)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_odd_names_come_back_and_nothing_is_scored_twice(measuring, tmp_path, kind):
    table = tmp_path / f"out.{kind}"
    files = [write(tmp_path / "plain.wav", noise(1, seed)).rename(tmp_path / name) for seed, name in enumerate(ODD)]
    songs, windows = run(measuring, files, **{kind: table})
    assert windows == len(ODD) * 4 and all(song.is_new for song in songs)
    again, windows = run(measuring, files, **{kind: table})
    assert windows == 0 and not any(song.is_new for song in again)
    assert [song.scores for song in again] == [song.scores for song in songs]
    rows = read(table)
    assert [path.removeprefix(f"{tmp_path}/") for path in rows["path"]] == SHOWN
    for row, seed in zip(rows.to_dict("records"), range(len(ODD)), strict=True):
        waveform = noise(1, seed)
        firsts = [waveform[start] for start in (0, 1600, 3200, 4000)]
        assert row["score:rock"] == pytest.approx(np.mean(firsts), abs=1e-6)
        assert (row["seconds"], row["flag"], row["reason"], row["tags"]) == (1, "", "", "café|a $ b")


def test_one_content_is_scored_once_and_a_changed_file_again(measuring, tmp_path):
    files = [write(tmp_path / "a.wav", noise(1)), shutil.copy(tmp_path / "a.wav", tmp_path / "b.wav")]
    table = tmp_path / os.fsdecode(b"caf\xe9.csv")
    songs, windows = run(measuring, files, csv=table)
    assert windows == 4 and songs[1].scores == songs[0].scores
    write(files[0], noise(1, 1))
    shutil.copy(files[1], tmp_path / "c.wav")
    _, windows = run(measuring, [*files, tmp_path / "c.wav"], TagChoice(1, 0.9), csv=table)
    assert windows == 4
    rows = read(table)
    assert [path[-5:] for path in rows["path"]] == ["a.wav", "b.wav", "c.wav"]
    assert rows["sha256"][0] != rows["sha256"][1] == rows["sha256"][2]
    assert set(rows["tags"]) == {""}  # no tag reaches 0.9; the table still has all scores
    assert rows["score:café"].tolist() == [0.5] * 3


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_row_names_the_choice_of_the_latest_command(measuring, tmp_path, kind):
    files, table = [write(tmp_path / f"{seed}.wav", noise(1, seed)) for seed in range(3)], tmp_path / f"out.{kind}"
    files.append(write(tmp_path / "hush.wav", 0 * noise(1)))
    run(replace(measuring, model_version="f" * 16, tags=("x", *TAGS[1:])), files, TagChoice(5), **{kind: table})
    run(measuring, files, TagChoice(5), **{kind: table})
    _, windows = run(measuring, files[:1], TagChoice(4, 0.2), **{kind: table})
    assert windows == 0
    rows = read(table)
    assert len(rows) == 8
    for row in rows.to_dict("records"):
        scores = {name[6:]: float(row[name] or "nan") for name in rows if name.startswith("score:")}
        over = sorted((tag for tag, score in scores.items() if score >= 0.2), key=lambda tag: -scores[tag])
        assert row["tags"] == "|".join(over[:4])
    assert set(rows["tags"]) == {"café|a $ b", ""}


def test_rows_of_another_model_stay(measuring, tmp_path):
    file, table = write(tmp_path / "a.wav", noise(1)), tmp_path / "out.csv"
    run(measuring, [file], csv=table)
    other = replace(measuring, model_version="f" * 16, tags=("x", *TAGS[1:]))
    _, windows = run(other, [file], csv=table)
    assert windows == 4
    rows = read(table)
    assert rows["model"].tolist() == ["0123456789abcdef", "f" * 16]
    assert rows["score:x"][0] == "" and rows["score:rock"][1] == ""
    assert run(measuring, [file], csv=table)[1] == 0 == run(other, [file], csv=table)[1]


def test_broken_files_are_tried_again_and_flags_are_not(measuring, tmp_path):
    files = [tmp_path / "a.wav", write(tmp_path / "short.wav", noise(0.05)), write(tmp_path / "hush.wav", 0 * noise(1))]
    files[0].write_text("no music")
    outputs = {"csv": tmp_path / "out.csv", "embeddings": tmp_path / "out.parquet"}
    songs, _ = run(measuring, files, **outputs)
    assert [song.flag for song in songs] == ["", "too short", "silent"] and "decoded" in songs[0].reason
    assert read(outputs["csv"])["score:rock"].tolist() == [""] * 3
    again, windows = run(measuring, files, **outputs)
    assert [song.is_new for song in again] == [True, False, False] and windows == 0
    write(files[0], noise(1))
    (song, *_), windows = run(measuring, files, **outputs)
    assert windows == 4 and not song.reason and read(outputs["csv"])["reason"].tolist() == [""] * 3


def test_embeddings_are_means_over_windows_and_asked_for_alone_need_no_scores(measuring, tmp_path):
    file, table = write(tmp_path / "a.wav", noise(1)), tmp_path / "e.parquet"
    outputs = {"embeddings": table, "shows_scores": False}
    assert [run(measuring, [file], **outputs)[1] for _ in range(2)] == [4, 0]
    waveform = noise(1)
    expected = np.mean([waveform[start : start + 2] for start in (0, 1600, 3200, 4000)], axis=0)
    np.testing.assert_allclose(read(table)["embedding"][0], expected, atol=1e-6)
    assert str(pq.read_schema(table).field("embedding").type) in ("list<element: float>", "list<item: float>")
    assert run(measuring, [file], embeddings=table)[1] == 4  # scores for the screen are in no table
    assert run(measuring, [file], embeddings=table, csv=tmp_path / "s.csv")[1] == 4
    assert run(measuring, [file], embeddings=table, csv=tmp_path / "s.csv")[1] == 0


def test_tables_are_written_on_the_way_and_when_interrupted(measuring, tmp_path, monkeypatch):
    files = [write(tmp_path / f"{number}.wav", noise(1, number)) for number in range(4)]
    table = tmp_path / "out.csv"
    monkeypatch.setattr(tables, "SAVE_SECONDS", 0)
    monkeypatch.setattr(tables, "SAVE_SHARE", 1e9)
    songs = tag_files(measuring, TagRequest(files, TOP_2, OutputPaths(csv=table)))
    next(songs), next(songs)
    assert len(read(table)) == 2
    monkeypatch.setattr(tables, "SAVE_SECONDS", 1e9)
    next(songs)
    with pytest.raises(KeyboardInterrupt):
        songs.throw(KeyboardInterrupt)
    assert len(read(table)) == 3
    assert [path.name for path in tmp_path.glob(".*")] == [".out.csv.lock"]
    assert run(measuring, files, csv=table)[1] == 4


def test_a_table_is_kept_up_by_one_process_at_a_time(measuring, tmp_path):
    files = [write(tmp_path / f"{number}.wav", noise(1, number)) for number in range(2)]
    outputs = {"csv": tmp_path / "out.csv", "embeddings": tmp_path / "e.parquet"}
    first = tag_files(measuring, TagRequest(files[:1], TOP_2, OutputPaths(csv=outputs["csv"])))
    next(first)
    with expect_error(f"{outputs['csv']}: ", "another process"):
        run(measuring, files[1:], **outputs)
    assert not outputs["embeddings"].exists()
    first.close()
    run(measuring, files[1:], **outputs)
    assert [path[-5:] for path in read(outputs["csv"])["path"]] == ["0.wav", "1.wav"]


def test_a_pipe_is_broken_and_not_waited_for(measuring, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp3")
    writer = Thread(target=lambda: (tmp_path / "pipe.mp3").open("wb").close())  # ends when the pipe is opened
    writer.start()
    (song,), _ = run(measuring, audio_files([tmp_path]), csv=tmp_path / "out.csv")
    reader = os.open(tmp_path / "pipe.mp3", os.O_RDONLY | os.O_NONBLOCK)  # stays open until the writer opens it
    writer.join()
    os.close(reader)
    assert (song.reason, song.sha256) == ("not a file", "")
    assert read(tmp_path / "out.csv")["reason"].tolist() == ["not a file"]


@pytest.mark.parametrize(
    ("outputs", "plot", "expected"),
    [
        ({}, "b.wav", ("taggram", "b.wav", ".png")),
        ({}, "a.png", ("taggram", "a.png", "files to tag")),
        ({"csv": "link/a.png"}, None, ("csv", "link/a.png", "files to tag")),
        (
            {"parquet": "t.parquet", "embeddings": "link/t.parquet"},
            None,
            ("embeddings", "link/t.parquet", "parquet"),
        ),
        ({"csv": "x.png"}, "x.png", ("taggram", "x.png", "of csv")),
    ],
)
def test_outputs_spare_music_and_each_other(measuring, tmp_path, outputs, plot, expected):
    song = write(tmp_path / "b.wav", noise(1)).rename(tmp_path / "a.png")
    content = write(tmp_path / "b.wav", noise(1)).read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    outputs = OutputPaths(**{name: tmp_path / path for name, path in outputs.items()})
    field, name, fact = expected
    with expect_error(tmp_path / name, fact, kind=FieldError) as error:
        list(tag_files(measuring, TagRequest([song], TOP_2, outputs, plot and tmp_path / plot)))
    assert error.value.field == field
    assert song.read_bytes() == content == (tmp_path / "b.wav").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.wav", "link"}


@pytest.mark.parametrize(
    "content", ["a,b\n1,2\n", "path,sha256,model,seconds,flag,reason,score:rock\nx,y,z,1,,,loud\n", ""]
)
def test_a_table_of_something_else_is_refused_and_kept(measuring, tmp_path, content):
    table = tmp_path / "mine.csv"
    table.write_text(content)
    with expect_error(f"{table}: ", "CSV", "`genre-tagger tag`"):
        run(measuring, [], csv=table)
    assert table.read_text() == content
    with expect_error(f"{tmp_path}/mine.parquet: ", "Parquet"):
        run(measuring, [], parquet=table.rename(tmp_path / "mine.parquet"))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_files_that_are_no_tables_are_refused_without_the_words_of_the_parser(measuring, tmp_path, kind):
    name_of = {"csv": "CSV", "parquet": "Parquet"}
    files = {"song": write(tmp_path / "a.mp3", noise(1)).read_bytes(), "bytes": bytes(range(256)) * 40}
    for name, content in files.items():
        table = tmp_path / f"{name}.{kind}"
        table.write_bytes(content)
        with expect_error(f"{table}: ", f"a {name_of[kind]} file", "`genre-tagger tag`") as error:
            run(measuring, [], **{kind: table})
        assert str(error.value.__cause__).splitlines()[0] not in str(error.value)
    folder = tmp_path / f"folder.{kind}"
    folder.mkdir()
    with expect_error(f"{folder}: ", "found a folder", f"a {name_of[kind]} file"):
        run(measuring, [], **{kind: folder})


def test_folders_of_outputs_are_created(measuring, tmp_path):
    file, folder = write(tmp_path / "a.wav", noise(1)), tmp_path / "new" / "deep"
    request = TagRequest([file], TOP_2, OutputPaths(csv=folder / "t.csv"), tmp_path / "plots" / "a.png")
    songs = tag_files(measuring, request)
    assert [song.reason for song in songs] == [""]
    assert len(read(folder / "t.csv")) == 1 and (tmp_path / "plots" / "a.png").exists()
    with expect_error(f"{file}: ", "written"):
        run(measuring, [file], csv=file / "t.csv")


def test_a_taggram_shows_the_strongest_tags_on_top_by_minutes(measuring, tmp_path, drawn):
    waveform = noise(130)
    taggram = measuring.taggram(write(tmp_path / "a.wav", waveform))
    plot_taggram(tmp_path / "a.png", taggram, TAGS, 3, "a $1 & b$")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    axes = drawn[0].axes[0]
    third = max(("rock", "jazz", "no drums"), key=lambda tag: taggram.scores[TAGS.index(tag)])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["café", "a $ b", third]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first name on top
    shown = axes.collections[0].get_array()
    np.testing.assert_allclose(shown[0], 0.5)
    np.testing.assert_allclose(shown[2], taggram.probabilities[:, TAGS.index(third)])
    assert axes.get_xlim() == (0, 130)
    ticks = [second for second in axes.get_xticks() if 0 <= second <= 130]
    assert ticks == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130]  # 13 steps; 14 is the maximum
    times = "00:00 00:10 00:20 00:30 00:40 00:50 01:00 01:10 01:20 01:30 01:40 01:50 02:00 02:10"
    assert axes.xaxis.get_major_formatter().format_ticks(ticks) == times.split()


def test_a_taggram_is_of_one_song_that_can_be_tagged(measuring, tmp_path):
    files = [write(tmp_path / name, 0 * noise(1)) for name in ("a.wav", "b.wav")]
    for wrong, facts in ((files, ["2 audio files"]), (files[:1], [files[0], "silent"])):
        with expect_error(*facts, kind=FieldError) as error:
            list(tag_files(measuring, TagRequest(wrong, TOP_2, taggram=tmp_path / "x.png")))
        assert error.value.field == "taggram"
    assert not (tmp_path / "x.png").exists()


def test_a_choice_is_the_highest_over_the_threshold(tmp_path):
    song = Song(tmp_path, scores={"a": 0.9, "b": 0.5, "c": 0.4})
    assert list(TagChoice(2).of(song.scores)) == ["a", "b"]
    assert list(TagChoice(5, 0.5).of(song.scores)) == ["a", "b"]
    assert TagChoice(5, 0.95).of(song.scores) == {}
