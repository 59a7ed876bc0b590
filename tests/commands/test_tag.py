"""The command `tag` with a trained run. tests/tagging tests its tables, servers and clusters."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from command_line import run_command
from typer.testing import CliRunner

from genre_tagger.commands.app import app


def test_tag_scores_a_file_as_evaluation_scored_its_clip(trained, shared_music_folder):
    path, _ = trained
    expected = pd.read_parquet(path / "predictions.parquet").set_index("clip").loc["f1.mp3"]
    (line,) = run_command("tag", path, shared_music_folder / "f1.mp3", "--json").splitlines()
    scores = json.loads(line)["tags"]
    assert set(scores) == {"drums", "loud"}
    for tag, score in scores.items():
        assert score == pytest.approx(expected[f"score:{tag}"], abs=2e-3)  # prepared audio is rounded to 16 bits
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    best, other = scores
    output = run_command("tag", path, shared_music_folder / "f1.mp3", "--top", 1)
    assert f"{scores[best]:.3f}" in output and other not in output


def test_a_broken_file_among_others_is_named_and_makes_exit_code_1(trained, tmp_path, shared_music_folder):
    broken = tmp_path / "broken.mp3"
    broken.write_text("this is no audio")
    files = [str(broken), str(shared_music_folder / "f2.wav")]
    result = CliRunner().invoke(app, ["tag", str(trained[0]), *files, "--json"])
    assert result.exit_code == 1
    assert "broken.mp3: " in result.stderr
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["path"] == str(broken) and first["reason"] and not first["tags"]
    assert second["path"].endswith("f2.wav") and second["tags"]


def test_the_installed_command_tags_in_a_process_of_its_own(trained, shared_music_folder, tmp_path):
    named = tmp_path / "odd [live].wav"
    shutil.copy(shared_music_folder / "f2.wav", named)
    command = Path(sys.executable).with_name("genre-tagger")
    result = subprocess.run([command, "tag", trained[0], named], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "odd [live].wav" in result.stdout
    assert "drums" in result.stdout and "loud" in result.stdout
