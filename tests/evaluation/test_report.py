import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from genre_tagger.errors import UserError
from genre_tagger.evaluation.bootstrap import interval
from genre_tagger.evaluation.metrics import compute_metrics
from genre_tagger.evaluation.predictions import Predictions
from genre_tagger.evaluation.report import evaluate_predictions, write_report

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
    report = evaluate_predictions(both, split="test", replicates=REPLICATES, seed=3)
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    bounds = interval(predictions, replicates=REPLICATES, seed=3)
    assert (report["split"], report["clips"], report["groups"]) == ("test", 200, np.unique(predictions.groups).size)
    for area in ("roc_auc", "pr_auc"):
        expected = {"value": getattr(metrics, area), "low": bounds[area].low, "high": bounds[area].high}
        assert report[area] == expected
    assert report["floor"] is None
    assert report["tags"] == metrics.to_dict()["tags"]
    assert evaluate_predictions(both, split="valid", replicates=REPLICATES)["clips"] == 50


def test_families_and_floor_are_reported(predictions, predictions_of):
    floor = predictions_of(skill=0.5)
    report = evaluate_predictions(predictions, floor=floor, families={"rock": "loud ones"}, replicates=REPLICATES)
    metrics = compute_metrics(predictions.labels, predictions.scores, predictions.tags)
    rock = metrics.tags["rock"]
    assert report["families"]["loud ones"] == {"roc_auc": rock.roc_auc, "pr_auc": rock.pr_auc, "tags": ["rock"]}
    assert report["families"]["other"]["tags"] == ["piano", "slow", "choir"]
    assert report["floor"]["roc_auc"]["high"] < report["roc_auc"]["low"]
    assert report["floor"]["roc_auc"]["value"] == compute_metrics(floor.labels, floor.scores, floor.tags).roc_auc
    assert list(evaluate_predictions(predictions, replicates=2)["families"]) == ["genre", "instrument", "mood", "voice"]


def test_undefined_numbers_are_null_in_json(predictions):
    labels = predictions.labels.copy()
    labels[:, 1] = 1
    report = evaluate_predictions(replace(predictions, labels=labels), replicates=REPLICATES)
    read = json.loads(json.dumps(report, allow_nan=False))
    assert read == report  # plain numbers only
    assert read["left_out"] == ["rock"]
    assert (read["tags"]["rock"]["roc_auc"], read["families"]["genre"]["pr_auc"]) == (None, None)
    nothing = replace(predictions, labels=np.zeros_like(labels))
    report = evaluate_predictions(nothing, floor=nothing, replicates=REPLICATES)
    json.dumps(report, allow_nan=False)
    assert report["floor"]["pr_auc"] == report["roc_auc"] == {"value": None, "low": None, "high": None}


def test_an_empty_split_is_refused_with_those_found(predictions):
    with pytest.raises(UserError, match="expected predictions for clips of 'valid', found those of: test"):
        evaluate_predictions(predictions, split="valid")


def test_a_floor_of_other_clips_or_tags_is_refused(predictions):
    reversed_clips = replace(predictions, clip_ids=predictions.clip_ids[::-1])
    with pytest.raises(UserError, match="floor: found clips other than the 200 of 'test'"):
        evaluate_predictions(predictions, floor=reversed_clips)
    with pytest.raises(UserError, match="floor: found tags other than the 4 of the predictions"):
        evaluate_predictions(predictions, floor=replace(predictions, tags=("a", "b", "c", "d")))


def test_the_report_folder_holds_the_table_and_the_plots(tmp_path, predictions, predictions_of):
    floor = predictions_of(skill=0.5)
    report = evaluate_predictions(predictions, floor=floor, replicates=REPLICATES)
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.4]})
    write_report(tmp_path / "run/report", report, predictions, history, floor)
    names = {file.name for file in (tmp_path / "run/report").iterdir()}
    assert names == {"tags.csv", "tags.png", "curves.png", "history.png"}
    table = pd.read_csv(tmp_path / "run/report/tags.csv", index_col="tag")
    assert list(table.index) == list(predictions.tags)
    assert table["family"].to_dict() == {"piano": "instrument", "rock": "genre", "slow": "mood", "choir": "voice"}
    assert table["pr_auc"].to_dict() == pytest.approx({tag: report["tags"][tag]["pr_auc"] for tag in table.index})
    floor_tags = compute_metrics(floor.labels, floor.scores, floor.tags).tags
    assert table["floor_roc_auc"].tolist() == pytest.approx([floor_tags[tag].roc_auc for tag in table.index])


def test_without_history_and_floor_there_is_less_and_undefined_is_blank(tmp_path, predictions):
    labels = predictions.labels.copy()
    labels[:, 1] = 0
    with_undefined = replace(predictions, labels=labels)
    report = evaluate_predictions(with_undefined, replicates=REPLICATES)
    write_report(tmp_path, report, with_undefined)
    assert not (tmp_path / "history.png").exists()
    lines = (tmp_path / "tags.csv").read_text().splitlines()
    assert lines[0] == "tag,family,roc_auc,pr_auc,positives,negatives"
    assert lines[2] == "rock,genre,,,0,200"
