import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from facts import expect_error

from genre_tagger.evaluation.bootstrap import interval
from genre_tagger.evaluation.evaluate_predictions import evaluate_predictions, write_plots_and_tables
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.predictions import Predictions

REPLICATES = 30


def joined(first: Predictions, second: Predictions) -> Predictions:
    return Predictions(
        clip_ids=first.clip_ids + second.clip_ids,
        groups=np.concatenate([first.groups, second.groups]),
        splits=np.concatenate([first.splits, second.splits]),
        tags=first.tags,
        labels=np.concatenate([first.labels, second.labels]),
        scores=np.concatenate([first.scores, second.scores]),
    )


def test_only_the_split_is_evaluated(predictions, predictions_of):
    both = joined(predictions_of(clips=50, skill=0, split="valid"), predictions)
    metrics = evaluate_predictions(both, split="test", replicates=REPLICATES, seed=3)
    computed = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    bounds = interval(predictions, replicates=REPLICATES, seed=3)
    assert (metrics["split"], metrics["clips"], metrics["groups"]) == ("test", 200, np.unique(predictions.groups).size)
    for area in ("roc_auc", "pr_auc"):
        expected = {"value": getattr(computed, area), "low": bounds[area].low, "high": bounds[area].high}
        assert metrics[area] == expected
    assert metrics["baseline"] is None
    assert metrics["tags"] == computed.to_dict()["tags"]
    assert evaluate_predictions(both, split="valid", replicates=REPLICATES)["clips"] == 50


def test_metrics_include_families_and_baseline(predictions, predictions_of):
    baseline = predictions_of(skill=0.5)
    metrics = evaluate_predictions(
        predictions, baseline=baseline, families={"rock": "loud music"}, replicates=REPLICATES
    )
    rock = compute_metrics(predictions.labels, predictions.scores, predictions.tags).tags["rock"]
    assert metrics["families"]["loud music"] == {"roc_auc": rock.roc_auc, "pr_auc": rock.pr_auc, "tags": ["rock"]}
    assert metrics["families"]["other"]["tags"] == ["piano", "slow", "choir"]
    assert metrics["baseline"]["roc_auc"]["high"] < metrics["roc_auc"]["low"]
    assert (
        metrics["baseline"]["roc_auc"]["value"]
        == compute_metrics(baseline.labels, baseline.scores, baseline.tags).roc_auc
    )
    assert list(evaluate_predictions(predictions, replicates=2)["families"]) == ["genre", "instrument", "mood", "voice"]


def test_undefined_numbers_are_null_in_json(predictions):
    labels = predictions.labels.copy()
    labels[:, 1] = 1
    metrics = evaluate_predictions(replace(predictions, labels=labels), replicates=REPLICATES)
    read = json.loads(json.dumps(metrics, allow_nan=False))
    assert read == metrics  # plain numbers only
    assert read["left_out"] == ["rock"]
    assert (read["tags"]["rock"]["roc_auc"], read["families"]["genre"]["pr_auc"]) == (None, None)
    nothing = replace(predictions, labels=np.zeros_like(labels))
    metrics = evaluate_predictions(nothing, baseline=nothing, replicates=REPLICATES)
    json.dumps(metrics, allow_nan=False)
    assert metrics["baseline"]["pr_auc"] == metrics["roc_auc"] == {"value": None, "low": None, "high": None}


def test_an_empty_split_raises_an_error_with_the_splits_found(predictions):
    with expect_error("split", "'test'", "'valid'"):
        evaluate_predictions(predictions, split="valid")


def test_a_baseline_for_other_clips_or_tags_raises_an_error(predictions):
    reversed_clips = replace(predictions, clip_ids=predictions.clip_ids[::-1])
    with expect_error("baseline", "200 clips", "'test'"):
        evaluate_predictions(predictions, baseline=reversed_clips)
    with expect_error("baseline", "4 tags"):
        evaluate_predictions(predictions, baseline=replace(predictions, tags=("a", "b", "c", "d")))


def test_plots_and_tables_are_written(tmp_path, predictions, predictions_of):
    baseline = predictions_of(skill=0.5)
    metrics = evaluate_predictions(predictions, baseline=baseline, replicates=REPLICATES)
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.4]})
    write_plots_and_tables(tmp_path / "run/report", metrics, predictions, history, baseline)
    names = {file.name for file in (tmp_path / "run/report").iterdir()}
    assert names == {"tags.csv", "tags.png", "curves.png", "history.png"}
    table = pd.read_csv(tmp_path / "run/report/tags.csv", index_col="tag")
    assert list(table.index) == list(predictions.tags)
    assert table["family"].to_dict() == {"piano": "instrument", "rock": "genre", "slow": "mood", "choir": "voice"}
    assert table["pr_auc"].to_dict() == pytest.approx({tag: metrics["tags"][tag]["pr_auc"] for tag in table.index})
    baseline_tags = compute_metrics(baseline.labels, baseline.scores, baseline.tags).tags
    assert table["baseline_roc_auc"].tolist() == pytest.approx([baseline_tags[tag].roc_auc for tag in table.index])


def test_history_and_baseline_are_optional_and_undefined_scores_are_blank(tmp_path, predictions):
    labels = predictions.labels.copy()
    labels[:, 1] = 0
    with_undefined = replace(predictions, labels=labels)
    metrics = evaluate_predictions(with_undefined, replicates=REPLICATES)
    write_plots_and_tables(tmp_path, metrics, with_undefined)
    assert not (tmp_path / "history.png").exists()
    lines = (tmp_path / "tags.csv").read_text().splitlines()
    assert lines[0] == "tag,family,roc_auc,pr_auc,positives,negatives"
    assert lines[2] == "rock,genre,,,0,200"
