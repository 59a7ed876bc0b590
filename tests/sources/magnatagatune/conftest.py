"""Small synthetic copies of the dataset in its exact format: quoted cells, tabs, 188 tags, a zip in three parts."""

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

# The tag columns of the real annotations_final.csv, between clip_id and mp3_path.
_TAG_TEXT = """
no voice, singer, duet, plucking, hard rock, world, bongos, harpsichord, female singing, clasical, sitar, chorus,
female opera, male vocal, vocals, clarinet, heavy, silence, beats, men, woodwind, funky, no strings, chimes,
foreign, no piano, horns, classical, female, no voices, soft rock, eerie, spacey, jazz, guitar, quiet, no beat,
banjo, electric, solo, violins, folk, female voice, wind, happy, ambient, new age, synth, funk, no singing, middle
eastern, trumpet, percussion, drum, airy, voice, repetitive, birds, space, strings, bass, harpsicord, medieval,
male voice, girl, keyboard, acoustic, loud, classic, string, drums, electronic, not classical, chanting, no violin,
not rock, no guitar, organ, no vocal, talking, choral, weird, opera, soprano, fast, acoustic guitar, electric
guitar, male singer, man singing, classical guitar, country, violin, electro, reggae, tribal, dark, male opera, no
vocals, irish, electronica, horn, operatic, arabic, lol, low, instrumental, trance, chant, strange, drone,
synthesizer, heavy metal, modern, disco, bells, man, deep, fast beat, industrial, hard, harp, no flute, jungle,
pop, lute, female vocal, oboe, mellow, orchestral, viola, light, echo, piano, celtic, male vocals, orchestra,
eastern, old, flutes, punk, spanish, sad, sax, slow, male, blues, vocal, indian, no singer, scary, india, woman,
woman singing, rock, dance, piano solo, guitars, no drums, jazzy, singing, cello, calm, female vocals, voices,
different, techno, clapping, house, monks, flute, not opera, not english, oriental, beat, upbeat, soft, noise,
choir, female singer, rap, metal, hip hop, quick, water, baroque, women, fiddle, english
"""
TAGS = _TAG_TEXT.strip().replace("\n", " ").split(", ")

INFO = "clip_id track_number title artist album url segmentStart segmentEnd original_url mp3_path"

# Tags by path. Paths are FOLDER/artist-album-track-title-start-end.mp3, and clips of a song share a folder.
CLIPS = {
    "0/ann-first-01-one-0-29.mp3": {"guitar", "women"},
    "0/ann-first-01-one-30-59.mp3": {"guitar", "rock"},
    "5/ann-first-02-two-0-29.mp3": {"world"},
    "b/bob-second-01-three-0-29.mp3": {"techno", "electro"},
    "c/bob-third-01-four-0-29.mp3": {"slow", "silence"},
    "c/cid-fourth-01-five-0-29.mp3": {"women"},
    "d/cid-fourth-02-six-0-29.mp3": {"metal", "heavy metal"},
    "f/dee-fifth-01-seven-0-29.mp3": {"guitar", "flute"},
    "f/dee-fifth-01-seven-30-59.mp3": set(),
}


def quoted(cells) -> str:
    return "\t".join(f'"{cell}"' for cell in cells)


def write_tables(root: Path, clips: Mapping[str, set[str]]) -> None:
    """Write both tables, with clip ids that start at 2 as in the real ones."""
    zeros = ["0"] * len(TAGS)
    lines, info = [quoted(["clip_id", *TAGS, "mp3_path"])], [quoted(INFO.split())]
    for number, (path, tags) in enumerate(clips.items(), start=2):
        labels = ["1" if tag in tags else "0" for tag in TAGS] if tags else zeros
        lines.append(quoted([number, *labels, path]))
        artist, album, *_ = path.split("/")[1].split("-")
        info.append(quoted([number, 1, 'A "title"', artist, album, "http://x", 0, 29, "http://y", path]))
    info.append(quoted([1, 1, "never annotated", "eve", "sixth", "http://x", 0, 29, "http://y", "0/eve.mp3"]))
    root.mkdir(parents=True, exist_ok=True)
    (root / "annotations_final.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (root / "clip_info_final.csv").write_text("\n".join(info) + "\n", encoding="utf-8")


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return a zip archive without compression."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()


def cut_in_three(content: bytes) -> dict[str, bytes]:
    size = len(content) // 3 + 1
    return {f"mp3.zip.00{n}": content[(n - 1) * size : n * size] for n in (1, 2, 3)}


@pytest.fixture(scope="session")
def mp3() -> Callable[[float], bytes]:
    """Return a function that makes an MP3 of the given seconds in the dataset's format: 16 kHz, mono."""

    def make(seconds: float) -> bytes:
        times = np.arange(round(seconds * 16_000)) / 16_000
        content = io.BytesIO()
        soundfile.write(content, 0.3 * np.sin(2 * np.pi * 440 * times), 16_000, format="MP3")
        return content.getvalue()

    return make


@pytest.fixture(scope="session")
def members(mp3) -> dict[str, bytes]:
    """Return the audio of CLIPS by path. One test clip (`six`) is too short for `standard`."""
    whole, short = mp3(29.2), mp3(20)
    return {name: short if "six" in name else whole for name in CLIPS}


@pytest.fixture
def packed(tmp_path: Path, members) -> Path:
    """Return the folder of the dataset as downloaded."""
    root = tmp_path / "mtt"
    write_tables(root, CLIPS)
    for name, content in cut_in_three(zipped(members)).items():
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[[Mapping[str, set[str]]], Path]:
    """Return a function that writes the tables of the given clips and sixteen folders without audio."""

    def make(clips: Mapping[str, set[str]]) -> Path:
        root = tmp_path / "made"
        write_tables(root, clips)
        for folder in "0123456789abcdef":
            (root / folder).mkdir(exist_ok=True)
        return root

    return make


@pytest.fixture(scope="session")
def parts():
    """Return (CLIPS, TAGS, zipped, cut_in_three), because tests cannot import from a conftest.py."""
    return CLIPS, TAGS, zipped, cut_in_three
