"""The tables of the dataset under the four protocols, compared with published lists and counts and small examples."""

import errno
import io
import os
import re
import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from facts import check_facts, expect_error

from genre_tagger.audio.decode import Undecodable, decode
from genre_tagger.dataset.prepare import data_hash, prepare
from genre_tagger.sources.clips import SPLITS
from genre_tagger.sources.magnatagatune import PROTOCOLS, MagnaTagATuneSource
from genre_tagger.sources.magnatagatune import source as source_module
from genre_tagger.sources.magnatagatune.annotations import BROKEN, read_annotations
from genre_tagger.sources.magnatagatune.tags import MERGED_TAGS, STANDARD_TAGS, SYNONYMS

ANNOTATIONS, CLIP_INFO = "annotations_final.csv", "clip_info_final.csv"
PUBLISHED = Path(__file__).parents[4] / "shared/mtt/standard_valid.csv"


def by_id(source: MagnaTagATuneSource) -> dict:
    return {clip.id: clip for clip in source.clips}


def names_of(clip, source) -> set[str]:
    return {tag for tag, label in zip(source.tags, clip.labels, strict=True) if label}


def test_the_lists_of_tags_agree_with_the_dataset(parts):
    _, tags, _, _ = parts
    assert len(tags) == len(set(tags)) == 188
    assert len(set(STANDARD_TAGS)) == len(set(MERGED_TAGS)) == 50
    assert set(STANDARD_TAGS) <= set(tags)
    merged = [name for names in SYNONYMS.values() for name in names]
    assert len(SYNONYMS) == 28
    assert len(set(merged)) == len(merged)
    assert set(merged) | set(SYNONYMS) | set(MERGED_TAGS) <= set(tags)
    assert not set(merged) & set(MERGED_TAGS)


def test_the_validation_split_equals_the_published_list(make_dataset):
    if not PUBLISHED.exists():
        pytest.skip(f"{PUBLISHED}: no such file, expected the published list")
    published = pd.read_csv(PUBLISHED).set_index("mp3_path")
    clips = {path: set(row.index[row == 1]) for path, row in published.iterrows()}
    others = {"c/x-y-01-z-0-29.mp3": {"world"}, "0/x-y-02-z-0-29.mp3": {"rock"}, "e/x-y-03-z-0-29.mp3": {"rock"}}
    source = MagnaTagATuneSource(make_dataset(others | clips))
    valid = {clip.id: clip for clip in source.clips if clip.split == "valid"}
    assert valid.keys() == set(published.index)  # the clip without a known tag is dropped
    assert len(valid) == 1529
    columns = [source.tags.index(tag) for tag in published.columns]
    labels = np.stack([valid[path].labels for path in published.index])
    np.testing.assert_array_equal(labels[:, columns], published.to_numpy())
    assert len({clip.group for clip in valid.values()}) == 345
    assert labels.mean() == pytest.approx(0.066, abs=5e-4)


def test_protocols_on_a_small_example(packed: Path):
    standard = MagnaTagATuneSource(packed)
    assert standard.tags == STANDARD_TAGS
    assert standard.min_seconds == 29.1
    split_of = {clip.id: clip.split for clip in standard.clips}
    assert split_of == {
        "0/ann-first-01-one-0-29.mp3": "train",
        "0/ann-first-01-one-30-59.mp3": "train",
        "b/bob-second-01-three-0-29.mp3": "train",
        "c/bob-third-01-four-0-29.mp3": "valid",
        "d/cid-fourth-02-six-0-29.mp3": "test",
        "f/dee-fifth-01-seven-0-29.mp3": "test",
    }
    assert names_of(by_id(standard)["0/ann-first-01-one-30-59.mp3"], standard) == {"guitar", "rock"}
    full = MagnaTagATuneSource(packed, "full")
    assert Counter(clip.split for clip in full.clips) == {"train": 4, "valid": 2, "test": 3}
    assert (full.tags, full.min_seconds) == (STANDARD_TAGS, 0.1)
    merged = MagnaTagATuneSource(packed, "seed_random")
    clips = by_id(merged)
    assert names_of(clips["0/ann-first-01-one-0-29.mp3"], merged) == {"guitar", "female"}
    assert names_of(clips["b/bob-second-01-three-0-29.mp3"], merged) == {"techno", "electronic"}
    assert names_of(clips["c/bob-third-01-four-0-29.mp3"], merged) == {"slow", "quiet"}
    assert names_of(clips["d/cid-fourth-02-six-0-29.mp3"], merged) == {"metal"}
    assert [source.protocol for source in (standard, full, merged)] == ["standard", "full", "seed_random"]


def test_groups_are_songs_albums_or_artists(packed: Path):
    def groups(group: str) -> list[str]:
        clips = by_id(MagnaTagATuneSource(packed, "full", group))
        return [clips[name].group for name in ("0/ann-first-01-one-0-29.mp3", "0/ann-first-01-one-30-59.mp3")]

    assert groups("song") == ["0/ann-first-01-one"] * 2
    assert groups("album") == ["ann: first"] * 2
    assert groups("artist") == ["ann"] * 2


def counts_of(line: str) -> list[int]:
    """Return the numbers in a line."""
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", line)]


def test_groups_in_several_splits_are_counted(packed: Path):
    # bob is in train (b) and valid (c), cid in valid (c) and test (d), ann and dee are in one split
    source = MagnaTagATuneSource(packed, "full")
    lines = source.notes({clip.id for clip in source.clips})
    kinds = ("songs", "albums", "artists")
    for line, kind, counts in zip(lines, kinds, ([0, 7, 0, 3], [1, 5, 0, 3], [2, 4, 0, 3]), strict=True):
        assert line.startswith(kind)
        # Groups in several splits, all groups, test clips whose group is also in train, all test clips.
        assert counts_of(line) == counts


@pytest.fixture(scope="module")
def whole_table(tmp_path_factory, parts) -> Path:
    """Return 25,863 annotated clips with the dataset's three empty files and its clip counts per split of `full`."""
    _, tags, _, _ = parts
    counts = {"train": 18_706, "valid": 1_825, "test": 5_329}
    folders = {"train": "0123456789ab", "valid": "c", "test": "def"}
    paths = list(BROKEN)
    for split, count in counts.items():
        names = folders[split]
        files = (f"artist{n // 5 % 46}{split}-album-01-title{n // 5}-{n}-{n + 29}.mp3" for n in range(count))
        paths += [f"{names[n // 5 % len(names)]}/{file}" for n, file in enumerate(files)]
    root = tmp_path_factory.mktemp("whole")
    header = "\t".join(f'"{name}"' for name in ("clip_id", *tags, "mp3_path"))
    rng = np.random.default_rng(0)
    rows = ["\t".join(f'"{value}"' for value in rng.integers(0, 2, 188)) for _ in range(40)]
    with (root / "annotations_final.csv").open("w") as table:
        print(header, file=table)
        table.writelines(f'"{n}"\t{rows[n % 40]}\t"{path}"\n' for n, path in enumerate(paths))
    with (root / "clip_info_final.csv").open("w") as table:
        print('"clip_id"\t"artist"\t"album"', file=table)
        table.writelines(f'"{n}"\t"{path[2:].split("-")[0]}"\t"album"\n' for n, path in enumerate(paths))
    for folder in "0123456789abcdef":
        (root / folder).mkdir()
    return root


def test_the_published_counts_of_full_and_seed_random(whole_table: Path, monkeypatch):
    read = cache(read_annotations)  # reading the tables takes seconds
    monkeypatch.setattr(source_module, "read_annotations", read)
    full = MagnaTagATuneSource(whole_table, "full")
    assert Counter(clip.split for clip in full.clips) == {"train": 18_706, "valid": 1_825, "test": 5_329}
    assert not {clip.id for clip in full.clips} & set(BROKEN)
    drawn = MagnaTagATuneSource(whole_table, "seed_random", seed=3)
    assert Counter(clip.split for clip in drawn.clips) == {"train": 18_102, "valid": 2_586, "test": 5_172}
    notes = drawn.notes({clip.id for clip in drawn.clips})
    assert counts_of(notes[0])[0] > 3000  # songs in several splits
    annotations = read(whole_table, whole_table)
    again, other = (PROTOCOLS["seed_random"](annotations, seed) for seed in (3, 4))
    assert [clip.split for clip in drawn.clips] == again.splits != other.splits
    assert again.warning in notes
    assert full.notes(set())[3:] == ()
    cut = PROTOCOLS["artist"](annotations, 0)
    shares = Counter(cut.splits)
    assert cut.warning is None
    assert shares["train"] / 25_860 == pytest.approx(0.7, abs=0.05)
    assert shares["valid"] / 25_860 == pytest.approx(0.1, abs=0.05)
    sides = pd.Series(cut.splits).groupby(cut.annotations.clips["artist"].to_numpy()).nunique()
    assert len(sides) == 3 * 46
    assert (sides == 1).all()


def unpack(root: Path, members: dict[str, bytes]) -> None:
    """Replace the archive by unpacked folders with these files."""
    for part in root.glob("mp3.zip.*"):
        part.unlink()
    for folder in "0123456789abcdef":
        (root / "mp3" / folder).mkdir(parents=True)
    for name, content in members.items():
        (root / "mp3" / name).write_bytes(content)


@pytest.mark.parametrize("as_tree", [False, True])
def test_prepares_from_the_parts_or_unpacked_folders_and_rejects_unusable_clips(
    packed: Path, tmp_path: Path, members, as_tree: bool
):
    if as_tree:
        unpack(packed, members)
    source = MagnaTagATuneSource(packed)
    manifest = prepare(source, 12_000, tmp_path / "out", workers=2)
    assert {split: manifest.splits[split].clips for split in SPLITS} == {"train": 3, "valid": 1, "test": 1}
    assert manifest.splits["train"].seconds == pytest.approx(3 * 29.2, abs=0.3)
    assert manifest.protocol == "standard"
    # The only clip of cid with a known tag is too short and not counted. bob is in folders b and c.
    assert manifest.notes[2].startswith("artists")
    assert counts_of(manifest.notes[2]) == [1, 3, 0, 1]
    rejected = pd.read_csv(tmp_path / "out/rejected.csv")
    assert rejected["id"].tolist() == ["d/cid-fourth-02-six-0-29.mp3"]
    check_facts(rejected["reason"][0], "20.", "29.1 s")


def test_the_hash_depends_on_the_protocol_and_the_content_of_the_archive(packed: Path, parts, members, mp3):
    _, _, zipped, cut_in_three = parts
    seen = {data_hash(MagnaTagATuneSource(packed, protocol), 12_000) for protocol in PROTOCOLS}
    assert len(seen) == 4
    before = data_hash(MagnaTagATuneSource(packed), 12_000)
    other = packed.with_name("other")
    shutil.copytree(packed, other)
    assert data_hash(MagnaTagATuneSource(other), 12_000) == before
    changed = packed.with_name("changed")
    shutil.copytree(packed, changed)
    longer = members | {"0/ann-first-01-one-0-29.mp3": mp3(29.5)}
    for name, content in cut_in_three(zipped(longer)).items():
        (changed / name).write_bytes(content)
    assert data_hash(MagnaTagATuneSource(changed), 12_000) != before


def test_rows_without_files_and_files_without_rows(packed: Path, tmp_path: Path, parts, members, mp3):
    _, _, zipped, cut_in_three = parts
    kept = {name: data for name, data in members.items() if "three" not in name}
    silent = io.BytesIO()
    soundfile.write(silent, np.zeros(30 * 16_000), 16_000, format="MP3")
    extra = {"2/nobody-x-01-y-0-29.mp3": mp3(1), "0/ann-first-01-one-0-29.mp3": silent.getvalue(), "readme.txt": b"x"}
    for name, content in cut_in_three(zipped(kept | extra)).items():
        (packed / name).write_bytes(content)
    source = MagnaTagATuneSource(packed)
    check_facts(source.notes(set())[-1], "1 MP3", "2/nobody-x-01-y-0-29.mp3")
    manifest = prepare(source, 12_000, tmp_path / "out", workers=1)
    rejected = pd.read_csv(manifest.directory / "rejected.csv").set_index("id")["reason"]
    assert rejected["b/bob-second-01-three-0-29.mp3"] == os.strerror(errno.ENOENT).lower()
    assert "silence" in rejected["0/ann-first-01-one-0-29.mp3"]
    assert manifest.splits["train"].clips == 1


def test_rows_without_files_and_files_without_rows_in_unpacked_folders(packed: Path, members):
    kept = {name: data for name, data in members.items() if "three" not in name}
    extra = dict.fromkeys(("2/nobody-x-01-y-0-29.mp3", "a/nobody-x-01-z-0-29.mp3", "2/readme.txt", BROKEN[0]), b"x")
    unpack(packed, kept | extra)
    source = MagnaTagATuneSource(packed)
    check_facts(source.notes(set())[-1], "2 MP3", "2/nobody-x-01-y-0-29.mp3")
    missing = by_id(source)["b/bob-second-01-three-0-29.mp3"]
    assert missing.path == packed / "mp3/b/bob-second-01-three-0-29.mp3"
    with expect_error(os.strerror(errno.ENOENT).lower(), kind=Undecodable):
        decode(missing.path, 12_000)


def test_a_damaged_file_of_the_archive_is_rejected_and_the_others_are_prepared(packed: Path, tmp_path: Path):
    part = packed / "mp3.zip.001"
    content = bytearray(part.read_bytes())
    content[content.index(b"0/ann-first-01-one-30-59.mp3") + 5000] ^= 0xFF
    part.write_bytes(content)
    manifest = prepare(MagnaTagATuneSource(packed, "full"), 12_000, tmp_path / "out", workers=1)
    rejected = pd.read_csv(tmp_path / "out/rejected.csv")
    assert rejected["id"].tolist() == ["0/ann-first-01-one-30-59.mp3"]
    assert rejected["path"][0] == f"{part}:0/ann-first-01-one-30-59.mp3"
    check_facts(rejected["reason"][0], "CRC-32", "'0/ann-first-01-one-30-59.mp3'")
    assert sum(split.clips for split in manifest.splits.values()) == 8


@pytest.mark.parametrize(
    ("name", "change", "facts"),
    [
        (ANNOTATIONS, lambda t: t.replace('"3"\t', '"2"\t', 1), ["line 3", "column 'clip_id'", "'2'", "line 2"]),
        (ANNOTATIONS, lambda t: t.replace('"3"\t', '""\t', 1), ["line 3", "column 'clip_id'", "nothing"]),
        (ANNOTATIONS, lambda t: t.replace("\t", ","), ["line 1", ".csv quoting"]),
        (ANNOTATIONS, lambda t: t.replace('"beats"', '"beatz"'), ["line 1", "no column 'beats'", "'beatz'"]),
        (ANNOTATIONS, lambda t: t.replace('"0"', '"x"', 1), ["line 2", "'x'", "0, 1"]),
        (ANNOTATIONS, lambda t: t.replace("0/ann", "../ann", 1), ["line 2", "column 'mp3_path'", "'../ann", "inside"]),
        (ANNOTATIONS, lambda t: t.replace('"0/ann', '"/0/ann', 1), ["line 2", "'/0/ann", "relative"]),
        (ANNOTATIONS, lambda t: t.replace("0/ann", "x/ann", 1), ["line 2", "'x/ann", "0 to f"]),
        (ANNOTATIONS, lambda t: t.replace("-30-59", "-0-29"), ["line 3", "column 'mp3_path'", "line 2"]),
        (ANNOTATIONS, lambda t: t.replace("bob", "b\udcfcb"), ["line 5", "0xfc", "UTF-8"]),
        (ANNOTATIONS, lambda t: "", ["empty"]),
        (ANNOTATIONS, lambda t: t.replace('"1"', '"1', 1), ["line "]),
        (CLIP_INFO, lambda t: t.replace('"4"\t', '"44"\t', 1), ["line 4", "column 'clip_id'", "'4'", CLIP_INFO]),
        (CLIP_INFO, lambda t: t.replace('"4"\t', '"1"\t', 1), ["column 'clip_id'", "'1'", "artist or album"]),
        (CLIP_INFO, lambda t: t.replace('"artist"', '"singer"'), ["line 1", "no column 'artist'"]),
        (CLIP_INFO, lambda t: t.replace("title", "t\udce9", 2), ["line 1", "0xe9", "UTF-8"]),
    ],
)
def test_mistakes_in_the_tables_are_one_line(packed: Path, name: str, change, facts: list[str]):
    path = packed / name
    path.write_text(change(path.read_text()), errors="surrogateescape")
    with expect_error(name, *facts) as caught:
        MagnaTagATuneSource(packed)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["", "mp3"])
def test_a_link_out_of_the_unpacked_folders_is_refused(make_dataset, tmp_path: Path, parts, place):
    root = make_dataset(parts[0])
    if place:
        (root / place).mkdir()
        for folder in "0123456789abcdef":
            (root / folder).rename(root / place / folder)
    (tmp_path / "elsewhere.mp3").write_bytes(b"x")
    (root / place / "c/cid-fourth-01-five-0-29.mp3").symlink_to(tmp_path / "elsewhere.mp3")
    with expect_error("line 7", "column 'mp3_path'", "'c/cid-fourth-01-five-0-29.mp3'", "inside", root / place):
        MagnaTagATuneSource(root)
