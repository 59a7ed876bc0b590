"""The examples of the documentation run, its links have targets, and its pages list every command and field."""

import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facts import check_facts
from typer.main import get_command

from genre_tagger.commands.app import app
from genre_tagger.config import load_config
from genre_tagger.sources.folder import FolderSource

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DATASETS = DOCS / "datasets.md"
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RATE = 12_000


def recipe(heading: str) -> str:
    """Return the code block of a section of docs/datasets.md."""
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


def python_blocks(page: Path) -> dict[str, list[str]]:
    """Return the Python blocks of a page by the heading of their section."""
    _, *sections = page.read_text(encoding="utf-8").split("\n## ")
    headings = {section.partition("\n")[0]: PYTHON_BLOCK.findall(section) for section in sections}
    return {heading: blocks for heading, blocks in headings.items() if blocks}


def execute(blocks: list[str], names: dict) -> dict:
    """Run blocks one after another with the same names, and return the names."""
    for block in blocks:
        exec(compile(block, "<documentation>", "exec"), names)
    return names


def write_tone(path: Path, hertz: float, seconds: float) -> None:
    path.parent.mkdir(exist_ok=True)
    times = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(round(hertz)).normal(0, 0.02, times.size)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * times) + noise, RATE)


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory for the examples: a collection of low and high tones, songs, and a file without audio."""
    lines = ["path,tags,split"]
    for number, split in enumerate(["train"] * 8 + ["valid"] * 4 + ["test"] * 4):
        tag, hertz = ("low", 200 + number) if number % 2 else ("high", 3000 + number)
        write_tone(tmp_path / f"MUSIC/{number}.wav", hertz, 4.0)
        lines.append(f"{number}.wav,{tag},{split}")
    (tmp_path / "MUSIC/tags.csv").write_text("\n".join(lines) + "\n")
    for name, hertz, seconds in (("song.mp3", 250, 9.0), ("a.mp3", 300, 4.0), ("b.mp3", 2900, 5.0)):
        write_tone(tmp_path / name, hertz, seconds)
    (tmp_path / "notes.txt").write_text("no audio\n" * 50)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def unchanged_logging() -> Iterator[None]:
    """Restore the log level, which an example changes for the whole process."""
    logger = logging.getLogger("genre_tagger")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.slow
def test_python_examples(music: Path, unchanged_logging: None, capsys: pytest.CaptureFixture):
    blocks = python_blocks(DOCS / "python.md")
    names = execute([*blocks.pop("Train"), *blocks.pop("Evaluate")], {})
    result, metrics = names["result"], names["metrics"]
    assert (names["config"], len(result.history)) == (load_config("small", overrides=["training.epochs=2"]), 2)
    assert result.metrics == metrics and 0 <= metrics["roc_auc"]["value"] <= 1
    assert result.run.path.resolve() == music / "runs/mine" and result.run.model.is_file()

    shutil.copytree(music / "runs/mine", music / "runs/musicnn")  # the tests do not download the published weights
    capsys.readouterr()
    names = execute(list(chain.from_iterable(blocks.values())), {})
    tagger, taggram = names["tagger"], names["taggram"]
    assert sorted(tagger.tags) == ["high", "low"]
    assert set(names["tags"]) == set(tagger.tags)
    assert list(names["tags"].values()) == sorted(names["tags"].values(), reverse=True)
    assert len(names["best"]) == 2 and set(names["best"]) <= set(tagger.tags)
    assert taggram.probabilities.shape == (len(taggram.times), 2) and 8.9 < taggram.seconds < 9.2
    assert names["a"].dtype == np.float32 and -1.001 <= names["similarity"] <= 1.001
    check_facts(capsys.readouterr().out, "notes.txt: ", f"({len(taggram.times)}, 2)", *tagger.tags)

    execute(PYTHON_BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")), {})
    printed = [line.split(": ") for line in capsys.readouterr().out.splitlines()]
    expected = tagger.tag("song.mp3")
    assert printed == [[tag, f"{probability:.3f}"] for tag, probability in expected.items()]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md"])
def test_links_of_pages_outside_the_site(page: str):
    """`mkdocs build --strict` checks the links of all other pages."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


def test_every_command_is_documented(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(DOCS / "hooks")
    from command_pages import command_pages

    pages, commands = command_pages(), get_command(app).commands
    assert list(pages) == list(commands)
    listed = (DOCS / "commands/index.md").read_text(encoding="utf-8")
    for name, command in commands.items():
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        check_facts(pages[name], f"# `genre-tagger {name}`", *(f"`{option}" for option in options))
        check_facts(listed, f"({name}.md)")


CALL = re.compile(r"genre-tagger ((?:--[a-z]+ )?)([a-z]+)((?:\\\n|[^\n`|;])*)")  # in code, with continued lines
PAGES = sorted(path for path in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_use_commands_and_options_that_exist(page: Path):
    commands = get_command(app).commands
    code = re.findall(
        r"`[^`\n]+`|^(?: {4}.*\n)+|^```.*?^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    for _, name, rest in chain.from_iterable(CALL.findall(part) for part in code):
        assert name in commands, name
        known = {option for parameter in commands[name].params for option in parameter.opts + parameter.secondary_opts}
        used = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest.partition("genre-tagger")[0]))
        assert used - {"--help"} <= known, f"{name}{rest}"


def test_every_field_of_the_configuration_is_documented(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(DOCS / "hooks")
    from config_fields import field_tables

    def keys(values: dict, prefix: str = "") -> Iterator[str]:
        for name, value in values.items():
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{name}.")
            elif value is not None:
                yield f"{prefix}{name}"

    found = set(re.findall(r"^\| `([\w.]+)` \|", field_tables(), re.MULTILINE))
    assert set(keys(load_config("attention").model_dump())) <= found
    assert "model.musicnn.timbral_filters" in found  # a field of a section that most presets do not have
