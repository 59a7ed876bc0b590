"""The table and the plots of a comparison with simulated histories, and the published figures."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from facts import check_facts
from matplotlib.image import imread

from genre_tagger.comparison.plots import plot_comparison
from genre_tagger.comparison.table import (
    PresetRuns,
    comparison_table,
    read_published,
    seconds_to_reach,
    tables_in_markdown,
)
from genre_tagger.evaluation.paired import pair_table, replicate

SEED_SYSTEMS = Path(__file__).parents[3] / "shared/SEED_SYSTEMS.md"
RESULTS = Path(__file__).parents[2] / "docs/results.md"
COST = {"parameters": 1000, "windows": 3.0, "window_flops": 5000, "window_ms": 0.5}


def history(*epochs):
    """Return the history of epochs (validation ROC-AUC, seconds); training ROC-AUC is 0.1 higher."""
    rows = [{"val_roc_auc": auc, "roc_auc": auc + 0.1, "seconds": seconds} for auc, seconds in epochs]
    return pd.DataFrame(rows).assign(epoch=range(1, len(rows) + 1))


@pytest.fixture
def presets(predictions_of):
    model, weaker = (
        replicate({seed: predictions_of(skill=skill) for seed in (0, 1)}, replicates=5) for skill in (2.0, 0.5)
    )
    one = {0: history((0.6, 10.0), (0.8, 20.0), (0.7, 30.0)), 1: history((0.7, 12.0), (0.6, 24.0))}
    baseline = {0: history((0.5, 40.0), (0.7, 80.0)), 1: history((0.5, 40.0), (0.75, 80.0))}
    return {
        "one": PresetRuns(one, model, {}, COST),
        "crnn_baseline": PresetRuns(baseline, weaker, {}, COST),
        "failing": PresetRuns({}, None, {0: "the loss is nan", 1: "the loss is nan"}, COST),
    }


def test_times_are_averaged_if_every_seed_reaches_the_score(presets, predictions):
    baseline = replicate({0: predictions}, replicates=5)
    table = comparison_table(presets, baseline, reach=0.7).set_index("preset")
    assert table.loc["one", ["reached", "reach_seconds"]].tolist() == [2, (20 + 12) / 2]
    assert table["reach_ratio"]["one"] == pytest.approx(16 / 80)
    assert table.loc["one", ["val_roc_auc", "train_roc_auc", "epochs", "seconds"]].tolist() == pytest.approx(
        [0.75, 0.85, 2.5, 27]
    )
    assert table["clip_ms"]["one"] == 1.5 and table["clip_flops"]["one"] == 15_000
    higher = comparison_table(presets, baseline, reach=0.75).set_index("preset")
    assert higher["reached"][["one", "crnn_baseline"]].tolist() == [1, 1]
    assert higher[["reach_seconds", "reach_ratio"]].isna().all(axis=None)
    without = comparison_table({"one": presets["one"]}, baseline, reach=None, protocol="full")
    assert "reach_seconds" not in without and without["protocol"].tolist() == ["full"] * 2


def test_the_first_epoch_that_reaches_the_score_counts():
    assert seconds_to_reach(history((0.6, 10.0), (0.8, 20.0), (0.9, 30.0)), 0.8) == 20
    assert seconds_to_reach(history((0.6, 10.0)), 0.8) is None


@pytest.fixture
def tables(presets, predictions):
    """The table of the presets and the table of their pairs."""
    table = comparison_table(presets, replicate({0: predictions}, replicates=5), reach=0.7)
    return table, pair_table({name: runs.areas for name, runs in presets.items() if runs.areas})


def test_both_tables_in_markdown(tables):
    table, pairs = tables
    text = tables_in_markdown("200 test clips, protocol full", table, pairs)
    headline, first, second = (block.splitlines() for block in text.split("\n\n"))
    assert headline == ["200 test clips, protocol full"]
    assert len({line.count("|") for line in first}) == len({line.count("|") for line in second}) == 1
    assert (len(first), len(second)) == (2 + 4, 2 + 2)
    assert first[2].startswith("| logistic-regression baseline | - | ") and "| 1,000 |" in first[3]


def test_the_plots_show_the_tables_and_the_histories(presets, tables, tmp_path, drawn, rows_of):
    table, pairs = tables
    plot_comparison(tmp_path, presets, table, pairs, 0.7, "200 test clips, protocol full")
    scores, differences, learning, gap = drawn
    by_preset, by_area = table.set_index("preset"), pairs.set_index("area")
    for shown, differing, area in zip(scores.axes, differences.axes, ("roc_auc", "pr_auc"), strict=True):
        columns = [area, f"{area}_low", f"{area}_high"]
        rows = {name: values for name, (values, _) in rows_of(shown).items()}
        assert rows == {name: tuple(by_preset.loc[name, columns]) for name in ("crnn_baseline", "one")}
        baselines = [line.get_xdata()[0] for line in shown.lines if line.get_linestyle() == "--"]
        assert baselines == [by_preset.loc["logistic-regression baseline", area]]
        assert by_area.loc[area, "low"] > 0  # so the verdict is confirmed
        expected = tuple(by_area.loc[area, ["difference", "low", "high"]])
        assert rows_of(differing) == {"one - crnn_baseline": (expected, "tab:green")}
    for figure in (scores, differences):
        check_facts(figure.get_suptitle(), "200 test clips, protocol full")

    *curves, reach = learning.axes[0].lines
    seconds = [[10, 20, 30], [12, 24], [40, 80], [40, 80]]
    validation = [[0.6, 0.8, 0.7], [0.7, 0.6], [0.5, 0.7], [0.5, 0.75]]
    assert [line.get_xdata().tolist() for line in curves] == seconds
    assert [line.get_ydata().tolist() for line in curves] == validation
    assert set(reach.get_ydata()) == {0.7}
    means = [[0.65, 0.7, 0.7], [0.75, 0.8, 0.8], [0.5, 0.725], [0.6, 0.825]]  # validation and training of each preset
    assert [line.get_ydata().tolist() for line in gap.axes[0].lines] == [pytest.approx(mean) for mean in means]
    for name in ("scores", "pairs", "learning", "train_and_validation"):
        pixels = imread(tmp_path / f"{name}.png")
        assert (pixels[..., :3].min(axis=2) < 0.8).mean() > 0.005, name


def test_published_figures_equal_the_table_of_systems():
    if not SEED_SYSTEMS.exists():
        pytest.skip(f"the table of published systems is not here: {SEED_SYSTEMS}")
    published = read_published()
    rows = [line.strip("|").split("|") for line in SEED_SYSTEMS.read_text().splitlines() if "| `" in line]
    systems = {row[1].strip(" `"): (row[-2], row[-1]) for row in rows}
    assert len(systems) == 14
    for name, (score, time) in systems.items():
        percent, seconds = re.search(r"\d\d\.\d+", score), re.search(r"(\d+),(\d{3}) s", time)
        expected = 20 * 3600 if "20 h" in time else int("".join(seconds.groups())) if seconds else np.nan
        assert published[name]["published_seconds"] == pytest.approx(expected, nan_ok=True), name
        expected = float(percent[0]) if percent else np.nan
        assert published[name]["published_roc_auc_percent"] == pytest.approx(expected, nan_ok=True), name


def test_published_figures_on_the_same_protocol_are_preferred():
    for protocol, percent in (("standard", 87.22), ("seed_random", 89.4), ("full", 89.4), (None, 89.4)):
        assert read_published(protocol)["crnn_baseline"]["published_roc_auc_percent"] == percent
    assert read_published("standard")["musicnn"]["published_pr_auc_percent"] == 44.93


@pytest.mark.parametrize("protocol", ["seed_random", "standard", "full"])
def test_published_figures_are_in_the_results_page(protocol):
    lines = [line for line in RESULTS.read_text().splitlines() if line.startswith("| `")]
    for name, figures in read_published(protocol).items():
        percent, where = figures["published_roc_auc_percent"], figures["published_protocol"]
        begin = f"| `{name}` | {where} | {'-' if np.isnan(percent) else f'{percent:g}'} |"
        assert any(line.startswith(begin) for line in lines), begin
