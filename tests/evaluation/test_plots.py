from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from facts import check_facts
from matplotlib.image import imread

from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.plots import plot_curves, plot_history, plot_tags
from genre_tagger.evaluation.predictions import Predictions


def metrics_of(predictions: Predictions):
    return compute_metrics(predictions.labels, predictions.scores, predictions.tags)


def assert_is_picture(path: Path, width: int, height: int) -> None:
    pixels = imread(path)
    assert pixels.shape[:2] == (height, width)
    assert (pixels[..., :3].min(axis=2) < 0.8).mean() > 0.01  # not blank
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_bars_start_at_chance_and_the_best_tag_is_on_top(tmp_path, predictions, drawn):
    metrics = metrics_of(predictions)
    plot_tags(tmp_path / "tags.png", metrics)
    assert_is_picture(tmp_path / "tags.png", 1200, 800)
    roc, precision_recall = drawn[0].axes
    best_last = sorted(metrics.tags, key=lambda tag: metrics.tags[tag].roc_auc)
    assert [label.get_text() for label in roc.get_yticklabels()] == best_last
    scores = [metrics.tags[tag] for tag in best_last]
    assert [bar.get_x() for bar in roc.patches] == [0.5] * 4
    assert [bar.get_x() + bar.get_width() for bar in roc.patches] == pytest.approx([s.roc_auc for s in scores])
    shares = [s.positives / (s.positives + s.negatives) for s in scores]
    assert [bar.get_x() for bar in precision_recall.patches] == pytest.approx(shares)


def test_tags_with_dollar_signs_are_drawn_literally(tmp_path, predictions, drawn):
    tags = ("$x^{2$", "a$b_c$", *predictions.tags[2:])  # the first is not valid mathtext
    plot_tags(tmp_path / "tags.png", metrics_of(replace(predictions, tags=tags)))
    labels = drawn[0].axes[0].get_yticklabels()
    assert {label.get_text() for label in labels} == set(tags)
    assert not any(label.get_parse_math() for label in labels)


def test_the_baseline_is_marked_and_inside_the_axes(tmp_path, predictions, drawn):
    baseline = metrics_of(replace(predictions, scores=1 - predictions.scores))  # worse than chance
    plot_tags(tmp_path / "tags.png", metrics_of(predictions), baseline)
    roc = drawn[0].axes[0]
    markers = next(line for line in roc.lines if "baseline" in line.get_label()).get_xdata()
    assert sorted(markers) == pytest.approx(sorted(scores.roc_auc for scores in baseline.tags.values()))
    assert roc.get_xlim()[0] < min(markers)


def test_names_of_fifty_tags_do_not_overlap(tmp_path, predictions_of, drawn):
    small = predictions_of(clips=60)
    tags = tuple(f"tag {number}" for number in range(50))
    many = replace(small, tags=tags, labels=np.tile(small.labels, 13)[:, :50], scores=np.tile(small.scores, 13)[:, :50])
    plot_tags(tmp_path / "tags.png", metrics_of(many))
    assert_is_picture(tmp_path / "tags.png", 1200, 1450)
    boxes = [label.get_window_extent() for label in drawn[0].axes[0].get_yticklabels()]
    assert len(boxes) == 50
    assert not any(below.overlaps(above) for below, above in pairwise(boxes))


def test_undefined_tags_are_left_out_and_counted(tmp_path, predictions, drawn):
    labels = predictions.labels.copy()
    labels[:, 1] = 0
    with_undefined = replace(predictions, labels=labels)
    plot_tags(tmp_path / "tags.png", metrics_of(with_undefined))
    plot_curves(tmp_path / "curves.png", with_undefined)
    assert len(drawn[0].axes[0].patches) == 3
    for figure in drawn:
        check_facts(figure.get_suptitle(), "3 tags", "1 left out")


def test_plots_without_defined_tags_are_drawn(tmp_path, predictions, drawn):
    nothing = replace(predictions, labels=np.zeros_like(predictions.labels))
    plot_tags(tmp_path / "tags.png", metrics_of(nothing))
    plot_curves(tmp_path / "curves.png", nothing)
    assert len(drawn) == 2
    for figure in drawn:
        check_facts(figure.get_suptitle(), " 0 tags", "4 left out")


def test_the_area_under_the_drawn_averages_is_the_score(tmp_path, predictions, drawn):
    plot_curves(tmp_path / "curves.png", predictions)
    assert_is_picture(tmp_path / "curves.png", 1200, 640)
    metrics = metrics_of(predictions)
    for axes, area in zip(drawn[0].axes, (metrics.roc_auc, metrics.pr_auc), strict=True):
        average = next(line for line in axes.lines if line.get_linewidth() > 2)
        check_facts(axes.get_title(), f"{area:.4f}")
        assert average.get_ydata().mean() == pytest.approx(area, abs=0.005)
        assert len([line for line in axes.lines if line.get_linewidth() < 1]) == 4


@pytest.mark.parametrize(("labels", "at_first", "at_second"), [([1, 0, 0, 1], 1, 1 / 2), ([0, 1, 1, 0], 1 / 2, 2 / 3)])
def test_precision_is_a_step_function_of_the_positives(tmp_path, drawn, labels, at_first, at_second):
    names = np.array(["a", "b", "c", "d"])
    scores = np.float32([[0.9], [0.8], [0.6], [0.5]])
    ranked = Predictions(names.tolist(), names, np.full(4, "test"), ("piano",), np.int8(labels)[:, None], scores)
    plot_curves(tmp_path / "curves.png", ranked)
    recall, precision = drawn[0].axes[1].lines[0].get_data()
    np.testing.assert_allclose(precision, np.where(recall <= 0.5, at_first, at_second))


def test_recorded_columns_of_the_history_are_drawn(tmp_path, drawn):
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [0.5, 0.4, 0.3], "val_loss": [0.6, np.nan, 0.5]})
    history["val_roc_auc"], history["learning_rate"] = [0.7, 0.8, 0.9], [1e-3, 1e-3, 2e-4]
    plot_history(tmp_path / "history.png", history)
    assert_is_picture(tmp_path / "history.png", 1200, 800)
    loss, roc_auc, pr_auc, rate = drawn[0].axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), history["loss"])
    assert [line.get_label() for line in roc_auc.lines] == ["validation"]
    assert len(pr_auc.lines) == 0 and len(pr_auc.texts) == 1  # a note instead
    assert rate.get_yscale() == "log"
    assert [axes.get_xlabel() for axes in drawn[0].axes] == ["epoch"] * 4


def test_epochs_are_whole_numbers_even_after_one_epoch(tmp_path, drawn):
    plot_history(tmp_path / "history.png", pd.DataFrame({"epoch": [1], "loss": [0.5]}))
    assert {tick % 1 for tick in drawn[0].axes[0].get_xticks()} == {0}
