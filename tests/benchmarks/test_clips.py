"""Import every script, and prepare clips of the source that repeats files."""

from importlib import import_module
from pathlib import Path

import pytest

import benchmarks
from benchmarks._clips import RepeatedFiles, write_clips
from genre_tagger.dataset.manifest import read_manifest
from genre_tagger.dataset.prepare import prepare

# jax_step sets the backend of Keras when it is imported.
SCRIPTS = sorted(path.stem for path in Path(benchmarks.__file__).parent.glob("[a-z]*.py") if path.stem != "jax_step")


@pytest.mark.parametrize("name", SCRIPTS)
def test_imports(name):
    assert import_module(f"benchmarks.{name}").__doc__


def test_repeated_clips_can_be_prepared(tmp_path):
    source = RepeatedFiles.of(write_clips(tmp_path, clip_seconds=0.6), num_clips=10)
    prepare(source, 12_000, tmp_path / "prepared", workers=1)
    manifest = read_manifest(tmp_path / "prepared")
    assert {name: split.clips for name, split in manifest.splits.items()} == {"train": 10, "valid": 1, "test": 1}
