"""Read zip archives that are split into parts, compare with the packed content, and test every kind of damage."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facts import check_facts, expect_error

from genre_tagger.audio import archive
from genre_tagger.audio.archive import Damaged, JoinedFile, open_archive
from genre_tagger.audio.decode import Undecodable, decode

RATE = 12_000


def tone_mp3() -> bytes:
    content = io.BytesIO()
    soundfile.write(content, 0.3 * np.sin(np.arange(16_000) / 5), 16_000, format="MP3")
    return content.getvalue()


MEMBERS = {f"{n % 3}/{n}.mp3": tone_mp3() + bytes(n) for n in range(30)}


def archive_bytes(members=MEMBERS, compression=zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as packed:
        for name, data in members.items():
            packed.writestr(zipfile.ZipInfo(name), data, compression)
    return content.getvalue()


def write_parts(folder: Path, content: bytes, sizes=(0.4, 0.3)) -> list[Path]:
    """Split the content into three files of unequal size."""
    cuts = [0, round(sizes[0] * len(content)), round(sum(sizes) * len(content)), len(content)]
    folder.mkdir(exist_ok=True)
    paths = [folder / f"mp3.zip.00{n}" for n in (1, 2, 3)]
    for path, begin, end in zip(paths, cuts, cuts[1:], strict=False):
        path.write_bytes(content[begin:end])
    return paths


def test_joined_parts_read_as_the_whole(tmp_path: Path):
    rng = np.random.default_rng(0)
    content = rng.bytes(10_000)
    (tmp_path / "empty").touch()
    paths = [*write_parts(tmp_path, content), tmp_path / "empty"]
    joined, whole = io.BufferedReader(JoinedFile(paths), 100), io.BytesIO(content)
    for position, count in rng.integers(0, 11_000, (300, 2)).tolist():
        joined.seek(position)
        whole.seek(position)
        assert joined.read(count) == whole.read(count)
    assert joined.seek(-5, io.SEEK_END) == 9995
    assert joined.read() == content[-5:]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_of_an_archive_in_parts_decode_as_unpacked_ones(tmp_path: Path, compression: int):
    files = open_archive(write_parts(tmp_path, archive_bytes(compression=compression)))
    assert {name: file.read() for name, file in files.items()} == MEMBERS
    (tmp_path / "one.mp3").write_bytes(MEMBERS["1/1.mp3"])
    np.testing.assert_array_equal(decode(files["1/1.mp3"], RATE), decode(tmp_path / "one.mp3", RATE))
    assert str(files["1/1.mp3"]) == f"{tmp_path}/mp3.zip.001:1/1.mp3"


def test_a_damaged_file_is_reported_and_the_others_are_read(tmp_path: Path):
    content = bytearray(archive_bytes())
    content[content.index(b"1/10.mp3") + 500] ^= 0xFF
    files = open_archive(write_parts(tmp_path, bytes(content)))
    with expect_error("CRC-32", "'1/10.mp3'", kind=Damaged):
        files["1/10.mp3"].read()
    with expect_error("CRC-32", "'1/10.mp3'", kind=Undecodable):
        decode(files["1/10.mp3"], RATE)
    assert files["2/11.mp3"].read() == MEMBERS["2/11.mp3"]


def test_an_empty_file_and_a_folder_in_an_archive(tmp_path: Path):
    files = open_archive(write_parts(tmp_path, archive_bytes({"0/": b"", "0/a.mp3": b"", **MEMBERS})))
    assert "0/" not in files
    with expect_error("0 bytes", kind=Undecodable):
        decode(files["0/a.mp3"], RATE)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.mp3", "0/../../outside.mp3"])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str):
    with expect_error(tmp_path / "mp3.zip.003", repr(name)):
        open_archive(write_parts(tmp_path, archive_bytes({**MEMBERS, name: b"x"})))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_truncated_part_is_refused(tmp_path: Path, part: int):
    paths = write_parts(tmp_path, archive_bytes())
    paths[part].write_bytes(paths[part].read_bytes()[:-1000])
    with expect_error(tmp_path / "mp3.zip.00") as caught:
        open_archive(paths)
    # Without the end of the last part there is no zip directory, which would give the number of missing bytes.
    check_facts(caught.value, *([paths[2], "zip"] if part == 2 else [paths[0], "1,000 bytes", "3"]))


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("sizes", [(0.4, 0.3), (1 / 3, 1 / 3)])
def test_parts_in_the_wrong_order_are_refused(tmp_path: Path, order, sizes):
    paths = write_parts(tmp_path, archive_bytes(), sizes)
    contents = [path.read_bytes() for path in paths]
    for path, number in zip(paths, order, strict=True):
        path.write_bytes(contents[number])
    with expect_error("order") as caught:
        open_archive(paths)
    assert str(caught.value).startswith(tuple(f"{path}: " for path in paths))


def test_a_missing_part_is_named(tmp_path: Path):
    paths = write_parts(tmp_path, archive_bytes())
    paths[1].unlink()
    with expect_error(f"{paths[1]}: no such file"):
        open_archive(paths)


def test_a_file_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 1000)
    packed = open_archive(write_parts(tmp_path / "parts", archive_bytes()))["0/0.mp3"]
    with expect_error(f"{len(MEMBERS['0/0.mp3']):,}", "1,000", kind=Damaged):
        packed.read()
