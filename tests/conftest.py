"""Seeds and small real material for all tests."""

import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

REAL_CLIP = (
    Path(__file__).parents[2] / "shared/mtt/joram-moments_of_clarity-08-solipsism-59-88.mp3"
)  # 29 s, 16 kHz, mono


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Makes every test draw the same random numbers whichever ran before it."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    yield


@pytest.fixture
def failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Runs a command that must end in one line on standard error and exit code 2; returns it without its beginning."""

    def run(*arguments: object) -> str:
        from genre_tagger.cli import main

        monkeypatch.setattr(sys, "argv", ["genre-tagger", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            main()
        assert ending.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert line.startswith("genre-tagger: ")
        return line.removeprefix("genre-tagger: ")

    return run


@pytest.fixture
def real_mp3() -> Path:
    """A real clip of MagnaTagATune."""
    if not REAL_CLIP.exists():
        pytest.skip(f"the real clip is not here: {REAL_CLIP}")
    return REAL_CLIP


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """The figures that are saved, in order."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **options: (figures.append(figure), save(figure, *args, **options))
    )
    return figures


def music(rng: np.random.Generator, seconds: float, sample_rate: int, channels: int) -> np.ndarray:
    """A chord of three tones with noise, float64 [samples, channels], peak about 0.6."""
    times = np.arange(round(seconds * sample_rate))[:, None] / sample_rate
    hertz = rng.uniform(100, 1500, 3)
    tones = sum(np.sin(2 * np.pi * f * times + rng.uniform(0, 6, channels)) for f in hertz)
    return 0.18 * tones + 0.02 * rng.standard_normal((times.size, channels)).clip(-3, 3)


# name, sample rate in Hz, channels, seconds, drums, loud, split; group is the letter
FILES = (
    ("a1.wav", 8000, 1, 0.8, "1", "0", "train"),
    ("a2.flac", 44100, 2, 1.0, "0", "1", "train"),
    ("b1.ogg", 22050, 1, 1.2, "1", "", "train"),
    ("b2.mp3", 16000, 1, 1.5, "0", "0", "train"),
    ("c1.wav", 12000, 1, 0.5, "1", "1", "train"),
    ("c2.mp3", 48000, 2, 1.0, "0", "0", "train"),
    ("d1.flac", 16000, 1, 0.7, "1", "1", "valid"),
    ("d2.wav", 48000, 2, 0.6, "0", "0", "valid"),
    ("e1.ogg", 44100, 2, 0.9, "1", "", "valid"),
    ("f1.mp3", 44100, 1, 1.1, "1", "1", "test"),
    ("f2.wav", 32000, 1, 0.5, "0", "1", "test"),
    ("sub/g1.wav", 24000, 2, 0.75, "0", "1", "test"),
)


@pytest.fixture
def music_folder(tmp_path: Path, shared_music_folder: Path) -> Path:
    """A folder of 12 short audio files of four formats with a tags.csv: tags drums and loud, splits and groups."""
    return Path(shutil.copytree(shared_music_folder, tmp_path / "music"))


@pytest.fixture(scope="session")
def shared_music_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for tests that change nothing in it."""
    root = tmp_path_factory.mktemp("shared") / "music"
    (root / "sub").mkdir(parents=True)
    rng = np.random.default_rng(7)
    lines = ["path,drums,loud,split,group"]
    for name, rate, channels, seconds, drums, loud, split in FILES:
        soundfile.write(root / name, music(rng, seconds, rate, channels), rate)
        lines.append(f"{name},{drums},{loud},{split},{Path(name).stem[0]}")
    (root / "tags.csv").write_text("\n".join(lines) + "\n")
    return root
