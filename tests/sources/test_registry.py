"""The options of every source: which ones it takes, which ones it refuses, and which data they open."""

from pathlib import Path

import pytest
from facts import expect_error

from genre_tagger.errors import FieldError
from genre_tagger.files import DiskNeed
from genre_tagger.sources import registry
from genre_tagger.sources.registry import (
    DEMO_SONGS,
    OPTIONS,
    SOURCES,
    SourceOptions,
    check_options,
    download_seconds,
    open_source,
    read_source,
)

# Independent of the registry's own table: for each source, valid values of the options that it takes.
VALID = {
    "demo": {},
    "folder": {"root": Path("music"), "table": Path("t.csv"), "split": "stratified"},
    "magnatagatune": {"root": Path("mtt"), "split": "artist", "group": "album", "mirror": "http://x"},
    "jamendo": {"root": Path("mtg"), "table": Path("t.tsv"), "split": "files"},
}
ANY = {"root": Path("x"), "table": Path("t.csv"), "split": "group", "group": "song", "mirror": "http://x"}
SPLITS = {
    "folder": {"column", "group", "stratified"},
    "magnatagatune": {"standard", "full", "seed_random", "artist"},
    "jamendo": {"files", "group", "stratified"},
}


def test_the_table_above_has_every_source_and_option():
    assert VALID.keys() == SOURCES.keys()
    assert set(ANY) == set(OPTIONS)
    assert set(SourceOptions.model_fields) == {"source", *OPTIONS, "songs", "seed"}


@pytest.mark.parametrize("source", VALID)
def test_a_source_takes_its_options_together_and_alone(source: str):
    check_options(SourceOptions(source=source, **VALID[source]))
    needed = {"root": ANY["root"]} if "root" in VALID[source] else {}
    check_options(SourceOptions(source=source, **needed))
    for name, value in VALID[source].items():
        check_options(SourceOptions(source=source, **(needed | {name: value})))


@pytest.mark.parametrize(
    ("source", "option"), [(source, option) for source in VALID for option in ANY if option not in VALID[source]]
)
def test_every_other_option_is_refused(source: str, option: str):
    options = SourceOptions(source=source, **(VALID[source] | {option: ANY[option]}))
    with expect_error(f"{option}: ", repr(source), *VALID[source], kind=FieldError) as caught:
        check_options(options)
    assert caught.value.field == option


@pytest.mark.parametrize("source", [source for source in VALID if "root" in VALID[source]])
def test_a_missing_root_is_refused(source: str):
    options = SourceOptions(source=source, **(VALID[source] | {"root": None}))
    for refuse in (check_options, lambda options: read_source(options, Path("data"))):
        with expect_error("root: ", repr(source), kind=FieldError) as caught:
            refuse(options)
        assert caught.value.field == "root"


@pytest.mark.parametrize("source", SPLITS)
def test_every_split_of_a_source_is_taken_and_no_other(source: str):
    for name in SPLITS[source]:
        check_options(SourceOptions(source=source, root=Path("x"), split=name))
    for name in {"random", ""} | set().union(*SPLITS.values()) - SPLITS[source]:
        with expect_error("split: ", repr(name), *SPLITS[source], kind=FieldError) as caught:
            check_options(SourceOptions(source=source, root=Path("x"), split=name))
        assert caught.value.field == "split"


def test_an_unknown_group_or_source_is_refused():
    with expect_error("group: ", "'clip'", "song, album, artist", kind=FieldError) as caught:
        check_options(SourceOptions(source="magnatagatune", root=Path("x"), group="clip"))
    assert caught.value.field == "group"
    with expect_error("source: ", "'magnatagtune'", *VALID, kind=FieldError) as caught:
        check_options(SourceOptions(source="magnatagtune", root=Path("x")))
    assert caught.value.field == "source"


def test_paths_become_absolute_and_nothing_else_changes(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = SourceOptions(source="folder", root=Path("music/../mine"), table=Path("t.csv"), split="group", seed=3)
    assert options.absolute == options.model_copy(update={"root": tmp_path / "mine", "table": tmp_path / "t.csv"})
    assert options.absolute.absolute == options.absolute
    assert SourceOptions().absolute == SourceOptions() == SourceOptions(songs=DEMO_SONGS)


@pytest.mark.parametrize(
    ("source", "split", "clips"),
    [
        ("magnatagatune", None, 21_105),
        ("magnatagatune", "standard", 21_105),
        ("magnatagatune", "artist", 25_860),
        ("folder", None, 0),
        ("jamendo", None, 0),
        ("demo", None, 0),
    ],
)
def test_the_length_of_a_download(source: str, split: str | None, clips: int):
    seconds = download_seconds(SourceOptions(source=source, root=Path("x"), split=split))
    assert seconds == pytest.approx(clips * 29.12)


def test_the_demo_is_rendered_once_and_opened_as_a_folder(tmp_path: Path, monkeypatch):
    rendered = []

    def render(directory: Path, *, songs: int, seed: int, workers: int) -> Path:
        rendered.append((songs, seed, workers))
        directory.mkdir(parents=True)
        (directory / "tags.csv").write_text("path,x,split\na.wav,1,train\nb.wav,0,valid\nc.wav,1,test\n")
        return directory / "tags.csv"

    monkeypatch.setattr(registry, "render_demo", render)
    options = SourceOptions(songs=12, seed=5)
    for _ in range(2):
        source = open_source(options, tmp_path, 3)
        assert (source.name, len(source.clips)) == ("demo", 3)
    assert rendered == [(12, 5, 3)]
    open_source(options.model_copy(update={"seed": 6}), tmp_path, 3)
    assert rendered[1:] == [(12, 6, 3)]
    assert read_source(options, tmp_path).tags == ("x",)


def test_the_options_reach_their_source(music_folder: Path, tmp_path: Path, monkeypatch):
    table = tmp_path / "mine.csv"
    (music_folder / "tags.csv").rename(table)
    options = SourceOptions(source="folder", root=music_folder, table=table, split="group", seed=1)
    source = open_source(options, tmp_path, 1)
    assert (source.name, source.protocol, len(source.clips)) == ("folder", "group", 12)
    splits = [
        [clip.split for clip in read_source(options.model_copy(update={"seed": seed}), tmp_path).clips]
        for seed in range(5)
    ]
    assert splits[1] == [clip.split for clip in source.clips]
    assert len({tuple(names) for names in splits}) > 1


def test_only_magnatagatune_is_downloaded_with_space_for_what_follows(tmp_path: Path, monkeypatch):
    calls = []
    monkeypatch.setattr(registry, "fetch_missing", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(registry, "MagnaTagATuneSource", lambda *arguments: arguments)
    need = DiskNeed(tmp_path, 5, "to prepare into")
    options = SourceOptions(source="magnatagatune", root=tmp_path, mirror="http://x", group="artist", seed=4)
    assert open_source(options, tmp_path, 1, reserve=[need]) == (tmp_path, "standard", "artist", 4)
    assert calls == [(tmp_path, "http://x", [need])]
    assert read_source(options.model_copy(update={"split": "full", "group": None}), tmp_path)[1:3] == ("full", "song")
    assert len(calls) == 1
