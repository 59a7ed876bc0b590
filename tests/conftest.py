"""Fixtures for all tests: seeds, small audio files, and commands that must fail."""

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
    """Seed every test, so that it draws the same random numbers in any order of the tests."""
    random.seed(0)
    np.random.seed(0)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    yield


@pytest.fixture
def failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Return a function that runs a command that must fail with an error that the user can correct.

    The function checks that the exit code is 2 and that there is no traceback. It returns the last line of standard
    error without the name of the program.
    """

    def run(*arguments: object) -> str:
        from genre_tagger.commands.app import DEBUG, main

        monkeypatch.delenv(DEBUG, raising=False)
        monkeypatch.setattr(sys, "argv", ["genre-tagger", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            main()
        assert ending.value.code == 2
        stderr = capsys.readouterr().err
        assert "Traceback" not in stderr
        line = stderr.strip().splitlines()[-1]
        assert line.startswith("genre-tagger: ")
        return line.removeprefix("genre-tagger: ")

    return run


@pytest.fixture
def real_mp3() -> Path:
    """Return a clip of MagnaTagATune; skip the test if it is missing."""
    if not REAL_CLIP.exists():
        pytest.skip(f"{REAL_CLIP}: no such file, expected a clip of MagnaTagATune")
    return REAL_CLIP


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list:
    """Return the list of figures that are saved during the test, in order."""
    from matplotlib.figure import Figure

    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **options: (figures.append(figure), save(figure, *args, **options))
    )
    return figures


def music(rng: np.random.Generator, seconds: float, sample_rate: int, channels: int) -> np.ndarray:
    """Return a chord of three tones with noise, float64 [samples, channels], with a peak of about 0.6."""
    times = np.arange(round(seconds * sample_rate))[:, None] / sample_rate
    hertz = rng.uniform(100, 1500, 3)
    tones = sum(np.sin(2 * np.pi * f * times + rng.uniform(0, 6, channels)) for f in hertz)
    return 0.18 * tones + 0.02 * rng.standard_normal((times.size, channels)).clip(-3, 3)


# Name, sample rate in Hz, channels, seconds, drums, loud, split. The group is the first letter of the name.
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
    """Return a folder of 12 short audio files in four formats. Its tags.csv has two tags, splits and groups."""
    return Path(shutil.copytree(shared_music_folder, tmp_path / "music"))


@pytest.fixture(scope="session")
def shared_music_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same folder for tests that do not change it."""
    root = tmp_path_factory.mktemp("shared") / "music"
    (root / "sub").mkdir(parents=True)
    rng = np.random.default_rng(7)
    lines = ["path,drums,loud,split,group"]
    for name, rate, channels, seconds, drums, loud, split in FILES:
        soundfile.write(root / name, music(rng, seconds, rate, channels), rate)
        lines.append(f"{name},{drums},{loud},{split},{Path(name).stem[0]}")
    (root / "tags.csv").write_text("\n".join(lines) + "\n")
    return root
