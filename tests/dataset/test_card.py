"""The dataset card, compared with counts made by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facts import check_facts

from genre_tagger.dataset import card_plot
from genre_tagger.dataset.prepare import prepare
from genre_tagger.sources.clips import SPLITS
from genre_tagger.sources.folder import FolderSource


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, shared_music_folder) -> Path:
    import shutil

    root = Path(shutil.copytree(shared_music_folder, tmp_path_factory.mktemp("card") / "music"))
    for number in (1, 2):
        soundfile.write(root / f"short{number}.wav", np.full(100 * number, 0.5), 12_000)
    (root / "text.mp3").write_text("no music")
    (root / "bare.raw").write_bytes(bytes(1000))
    with (root / "tags.csv").open("a") as table:
        table.writelines(f"{name},1,0,train,{name}\n" for name in ("short1.wav", "short2.wav", "text.mp3", "bare.raw"))
    return prepare(FolderSource(root, split="column"), 12_000, root.parent / "out", workers=1).directory


def test_the_numbers(prepared: Path):
    card = json.loads((prepared / "dataset.json").read_text())
    # tests/conftest.py, FILES: drums 1 0 1 0 1 0 | 1 0 1 | 1 0 0, loud 0 1 ? 0 1 0 | 1 0 ? | 1 1 1
    assert card["tags"]["drums"] == {
        "train": {"positives": 3, "negatives": 3, "share": 0.5},
        "valid": {"positives": 2, "negatives": 1, "share": pytest.approx(2 / 3)},
        "test": {"positives": 1, "negatives": 2, "share": pytest.approx(1 / 3)},
    }
    assert card["tags"]["loud"]["train"] == {"positives": 2, "negatives": 3, "share": 0.4}
    assert card["co_occurrence"] == [[6, 3], [3, 6]]
    assert {name: split["clips"] for name, split in card["splits"].items()} == {"train": 6, "valid": 3, "test": 3}
    assert card["splits"]["train"]["groups"] == 3
    assert card["seconds"]["0%"] == pytest.approx(0.5, abs=0.05)
    assert card["seconds"]["100%"] == pytest.approx(1.5, abs=0.05)
    assert card["files"]["looked_at"] == 16
    kinds = card["files"]["kinds"]
    assert kinds["WAV, 12000 Hz, 1 channel"] == 3
    assert (kinds["MP3, 48000 Hz, 2 channels"], kinds["unreadable"]) == (1, 2)
    assert sorted(card["rejected"].values()) == [1, 1, 2]
    for fact, count in {"N s": 2, "no audio": 1, "raw": 1}.items():  # N stands for any number
        assert [number for reason, number in card["rejected"].items() if fact in reason] == [count]
    assert card["protocol"] == "column"


def test_the_plot_is_a_png_of_fixed_size(prepared: Path):
    from matplotlib.image import imread

    height, width, _ = imread(prepared / "dataset.png").shape
    assert (width, height) == (1800, 900)


def test_the_plot_shows_the_numbers(prepared: Path, tmp_path: Path, drawn):
    card = json.loads((prepared / "dataset.json").read_text())
    card_plot.plot_card(tmp_path / "card.png", card, np.array([0.5, 1.5, 1.5]))
    counts, balance, together, lengths, kinds, rejected = drawn[0].axes
    # The labels of the test above: 3, 2 and 1 clips of the splits have drums, and 2, 1 and 3 are loud.
    assert [label.get_text() for label in counts.get_yticklabels()] == ["drums", "loud"]
    assert [bar.get_width() for bar in counts.patches] == [3, 2, 2, 1, 1, 3]
    assert [bar.get_x() for bar in counts.patches] == [0, 0, 3, 2, 5, 3]
    shares = [[50, 40], [200 / 3, 50], [100 / 3, 100]]
    np.testing.assert_allclose([line.get_xdata() for line in balance.lines], shares)
    np.testing.assert_array_equal(together.images[0].get_array(), [[1, 0.5], [0.5, 1]])
    assert [bar.get_height() for bar in lengths.patches if bar.get_height()] == [1, 2]
    for axes, files in ((kinds, 16), (rejected, 4)):
        assert sum(bar.get_width() for bar in axes.patches) == files and f"{files}" in axes.get_title()


def card_of(names: list[str], counts: list[int]) -> dict:
    """Return a card whose tags never occur together."""
    share = {"positives": 1, "negatives": 1, "share": 0.5}
    return {
        "source": "folder",
        "protocol": None,
        "splits": {split: {"clips": 2} for split in SPLITS},
        "tags": {name: dict.fromkeys(SPLITS, share) for name in names},
        "co_occurrence": np.diag(counts).tolist(),
        "files": {"looked_at": 6, "kinds": {"WAV": 6}},
        "rejected": {"damaged in its archive: '$a$_.mp3'": 1},
    }


def test_many_or_long_tags_leave_a_readable_plot(tmp_path: Path, drawn, monkeypatch):
    monkeypatch.setattr(card_plot, "SHOWN_TAGS", 2)
    card_plot.plot_card(tmp_path / "card.png", card_of(["rare", "x" * 400, "often"], [1, 3, 2]), np.ones(6))
    check_facts(drawn[0].get_suptitle(), "2 most frequent", "3 tags")
    counts, _, together, *_ = drawn[0].axes
    assert [label.get_text() for label in counts.get_yticklabels()] == ["x" * 56 + " ...", "often"]
    np.testing.assert_array_equal(together.images[0].get_array(), np.eye(2))
    assert counts.get_window_extent().width > 50  # pixels


def test_names_are_drawn_literally(tmp_path: Path, drawn):
    names = ["$x^{2$", "100 %", r"a\$b", "$$", "a$b_c$"]  # the first is invalid as a formula
    card_plot.plot_card(tmp_path / "card.png", card_of(names, [1] * 5), np.ones(6))
    counts, _, together, _, _, rejected = drawn[0].axes
    for axis in (counts.yaxis, together.xaxis, together.yaxis):
        assert [label.get_text() for label in axis.get_ticklabels()] == names
        assert not any(label.get_parse_math() for label in axis.get_ticklabels())
    assert [bar.get_y() + bar.get_height() / 2 for bar in counts.patches[:5]] == pytest.approx(range(5))
    assert rejected.get_yticklabels()[0].get_text() == "damaged in its archive: '$a$_.mp3'"
    assert rejected.get_ylim() == (0.5, -0.5)  # one bar does not fill the plot


def test_no_rejected_files_are_reported(tmp_path: Path, drawn):
    card_plot.plot_card(tmp_path / "card.png", card_of(["drums"], [1]) | {"rejected": {}}, np.ones(6))
    rejected = drawn[0].axes[-1]
    assert (rejected.get_title(), [text.get_text() for text in rejected.texts]) == ("rejected: 0", ["none"])
    assert len(rejected.get_xticks()) == len(rejected.get_yticks()) == 0


def test_a_card_that_a_killed_run_did_not_write_is_written_by_the_next(prepared: Path):
    card = (prepared / "dataset.json").read_text()
    (prepared / "dataset.json").unlink()
    prepare(FolderSource(prepared.parent / "music", split="column"), 12_000, prepared, workers=1)
    assert (prepared / "dataset.json").read_text() == card
