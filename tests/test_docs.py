"""The recipes of docs/datasets.md run as they stand, on tiny made-up trees."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from genre_tagger.data.folder import FolderSource

DATASETS = Path(__file__).parents[1] / "docs/datasets.md"


def recipe(heading: str) -> str:
    """The code block of a section."""
    section = DATASETS.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]


def run_recipe(heading: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", recipe(heading)], cwd=folder, check=True, timeout=60)


def clips_of(root: Path) -> dict:
    source = FolderSource(root)
    return {
        clip.id: ([tag for tag, label in zip(source.tags, clip.labels, strict=True) if label == 1], clip.split)
        for clip in source.clips
    }


def test_gtzan(tmp_path: Path):
    for split, lines in {
        "train": "blues/blues.00029.wav\nrock/rock.00001.wav\n",
        "valid": "blues/blues.00000.wav\n",
        "test": "rock/rock.00002.wav\r\n",
    }.items():
        (tmp_path / "genres").mkdir(exist_ok=True)
        (tmp_path / f"genres/{split}_filtered.txt").write_text(lines)
    run_recipe("GTZAN", tmp_path)
    assert clips_of(tmp_path / "genres") == {
        "blues/blues.00029.wav": (["blues"], "train"),
        "rock/rock.00001.wav": (["rock"], "train"),
        "blues/blues.00000.wav": (["blues"], "valid"),
        "rock/rock.00002.wav": (["rock"], "test"),
    }


TRACKS = """\
,album,artist,set,set,track,track
,title,id,split,subset,genre_top,title
track_id,,,,,,
2,"A, B",1,training,small,Hip-Hop,Food
3,C,1,training,large,Rock,Not of the subset
140,D,7,validation,small,Rock,Queen
155123,E,9,test,small,,No genre
"""


def test_fma(tmp_path: Path):
    (tmp_path / "fma_metadata").mkdir()
    (tmp_path / "fma_small").mkdir()
    (tmp_path / "fma_metadata/tracks.csv").write_text(TRACKS)
    run_recipe("FMA", tmp_path)
    assert clips_of(tmp_path / "fma_small") == {
        "000/000002.mp3": (["Hip-Hop"], "train"),
        "000/000140.mp3": (["Rock"], "valid"),
        "155/155123.mp3": ([], "test"),
    }
    assert [clip.group for clip in FolderSource(tmp_path / "fma_small").clips] == ["1", "7", "9"]


@pytest.mark.parametrize("heading", ["GTZAN", "FMA"])
def test_recipes_are_a_few_lines(heading: str):
    assert len(recipe(heading).strip().splitlines()) <= 12
