"""Tables and plot of the differences between simulated predictions."""

from dataclasses import replace

import numpy as np
import pytest
from facts import check_facts
from sklearn.metrics import average_precision_score, roc_auc_score

from genre_tagger.evaluation.robustness.plot import plot_robustness
from genre_tagger.evaluation.robustness.table import robustness_table, tag_table

REPLICATES = 200


@pytest.fixture
def conditions(predictions):
    """Predictions with changed scores: random for all tags, inverted for `rock`, and scaled, which changes no rank."""
    rng = np.random.default_rng(1)
    flooded = rng.random(predictions.scores.shape).astype(np.float32)
    rock = predictions.scores.copy()
    rock[:, 1] = 1 - rock[:, 1]
    return {
        "flood": replace(predictions, scores=flooded),
        "rock inverted": replace(predictions, scores=rock),
        "nothing": replace(predictions, scores=predictions.scores / 2),
    }


@pytest.fixture
def table(predictions, conditions):
    tags = tag_table(predictions, conditions)
    return robustness_table(predictions, conditions, tags, replicates=REPLICATES, seed=2).set_index("condition")


def known_areas(predictions, tag):
    known = predictions.labels[:, tag] >= 0
    pair = predictions.labels[known, tag], predictions.scores[known, tag]
    return roc_auc_score(*pair), average_precision_score(*pair)


def test_one_row_per_condition_with_areas_and_differences_from_clean(table, predictions, conditions):
    assert list(table.index) == ["clean", "flood", "rock inverted", "nothing"]
    tags = range(len(predictions.tags))
    clean = np.mean([known_areas(predictions, tag) for tag in tags], axis=0)
    assert table.loc["clean", ["roc_auc", "pr_auc"]].tolist() == pytest.approx(clean.tolist())
    assert table.loc["clean"].filter(like="difference").isna().all()
    for name, changed in conditions.items():
        areas = np.mean([known_areas(changed, tag) for tag in tags], axis=0)
        row = table.loc[name]
        assert row[["roc_auc", "pr_auc"]].tolist() == pytest.approx(areas.tolist())
        assert row[["roc_auc_difference", "pr_auc_difference"]].tolist() == pytest.approx((areas - clean).tolist())


def test_intervals_are_below_0_if_the_score_drops_and_at_0_if_it_does_not_change(table):
    for area in ("roc_auc", "pr_auc"):
        low, high = (table[f"{area}_difference_{end}"] for end in ("low", "high"))
        assert low["flood"] < table.loc["flood", f"{area}_difference"] < high["flood"] < 0
        assert (low["nothing"], high["nothing"]) == pytest.approx((0, 0), abs=1e-12)
        # In a paired interval the difficulty of the groups cancels out: one changed tag varies less than all four.
        whole = table.loc["rock inverted", f"{area}_high"] - table.loc["rock inverted", f"{area}_low"]
        assert high["rock inverted"] - low["rock inverted"] < whole


def test_worst_tags_have_the_largest_drop(table, predictions, conditions):
    falls = {
        tag: known_areas(conditions["flood"], number)[0] - known_areas(predictions, number)[0]
        for number, tag in enumerate(predictions.tags)
    }
    first, second, third, _ = sorted(falls, key=falls.get)
    expected = f"{first} {falls[first]:.3f}, {second} {falls[second]:.3f}, {third} {falls[third]:.3f}"
    assert table.loc["flood", "worst_tags"] == expected
    assert table.loc["rock inverted", "worst_tags"].startswith("rock -0.")
    assert "," not in table.loc["rock inverted", "worst_tags"]
    assert table.loc["nothing", "worst_tags"] == ""


def test_tags_whose_drop_rounds_to_zero_are_not_worst_tags(predictions, conditions):
    tags = tag_table(predictions, {"nothing": conditions["nothing"]})
    tags["roc_auc_difference"] = [-0.0004, -0.0006, 0.1, -0.0]
    table = robustness_table(predictions, {"nothing": conditions["nothing"]}, tags, replicates=1)
    assert table["worst_tags"][1] == "rock -0.001"


def test_one_row_per_condition_and_tag(predictions, conditions):
    tags = tag_table(predictions, conditions).set_index(["condition", "tag"])
    assert len(tags) == 12
    for number, tag in enumerate(predictions.tags):
        areas = known_areas(conditions["flood"], number)
        clean = known_areas(predictions, number)
        assert tags.loc["flood", "roc_auc"][tag] == pytest.approx(areas[0])
        assert tags.loc["flood", "pr_auc_difference"][tag] == pytest.approx(areas[1] - clean[1])


def test_a_tag_without_positives_is_left_out(predictions, conditions):
    labels = predictions.labels.copy()
    labels[:, 0] = 0
    clean, flood = (replace(one, labels=labels) for one in (predictions, conditions["flood"]))
    tags = tag_table(clean, {"flood": flood})
    assert tags.set_index("tag")["roc_auc_difference"].isna().to_dict()["piano"]
    table = robustness_table(clean, {"flood": flood}, tags, replicates=REPLICATES)
    assert "piano" not in table["worst_tags"][1]
    assert np.isfinite(table.loc[1, "roc_auc_difference_high"])


def test_the_plot_shows_differences_with_intervals_and_drops_in_red(table, tmp_path, drawn, rows_of):
    plot_robustness(tmp_path / "robustness.png", table.reset_index(), "standard")
    (file,) = tmp_path.iterdir()
    assert file.read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    check_facts(figure.get_suptitle(), "standard")
    for axes, area, name in zip(figure.axes, ("roc_auc", "pr_auc"), ("ROC-AUC", "PR-AUC"), strict=True):
        rows = rows_of(axes)
        assert list(rows) == ["nothing", "rock inverted", "flood"]  # the first condition is on top
        for condition, (values, colour) in rows.items():
            difference, low, high = table.loc[condition].filter(like=f"{area}_difference")
            assert values == (difference, low, high)
            assert colour == ("tab:red" if high < 0 else "tab:blue")
        assert (rows["flood"][1], rows["nothing"][1]) == ("tab:red", "tab:blue")
        check_facts(axes.get_title(), name, f"{table.loc['clean', area]:.4f}")
