"""Random splits: groups stay whole, splits have the right sizes and every tag has similar shares."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from facts import expect_error

from genre_tagger.errors import FieldError
from genre_tagger.sources.folder import FolderSource
from genre_tagger.sources.splitting import drawn_splits, group_splits, stratified_splits

TARGET = {"train": 0.7, "valid": 0.1, "test": 0.2}


def rare_tags(num_groups: int, clips_each: int) -> tuple[np.ndarray, list[str]]:
    """Return labels and groups. Four tags hold for 5 to 50 % of the groups, and a few labels of clips are unknown."""
    rng = np.random.default_rng(1)
    by_group = (rng.random((num_groups, 4)) < [0.05, 0.1, 0.2, 0.5]).astype(np.int8)
    labels = np.repeat(by_group, clips_each, axis=0)
    labels[rng.random(labels.shape) < 0.05] = -1
    return labels, [f"song{number // clips_each}" for number in range(len(labels))]


def worst_share(labels: np.ndarray, splits: list[str]) -> float:
    """Return the largest relative difference between a tag's share of positives in a split and the target share."""
    counts = pd.DataFrame(labels == 1).groupby(np.array(splits)).sum()
    shares = counts / counts.sum()
    return max(abs(shares.loc[split] / share - 1).max() for split, share in TARGET.items())


def test_stratified_groups_stay_whole_and_tags_have_similar_shares():
    labels, groups = rare_tags(600, 3)
    splits = stratified_splits(labels, groups, seed=0)
    assert (pd.Series(splits).groupby(groups).nunique() == 1).all()
    counts = Counter(splits)
    assert {split: counts[split] / len(splits) for split in TARGET} == pytest.approx(TARGET, abs=0.02)
    drawn = [worst_share(labels, group_splits(groups, seed)) for seed in range(20)]
    assert worst_share(labels, splits) < 0.3 < np.median(drawn)
    assert splits == stratified_splits(labels, groups, seed=0) != stratified_splits(labels, groups, seed=1)


@pytest.mark.parametrize("draw", [group_splits, lambda groups, seed: stratified_splits(np.ones((2, 1)), groups, seed)])
def test_fewer_groups_than_splits_are_refused(draw):
    with expect_error("2 group", "train, valid, test"):
        draw(["a", "b"], 0)


def write_table(root: Path, splits: bool) -> None:
    labels, groups = rare_tags(60, 2)
    table = pd.DataFrame(np.maximum(labels, 0), columns=list("abcd")).assign(group=groups)
    table.insert(0, "path", [f"{number}.wav" for number in range(len(table))])
    if splits:
        table["split"] = [("train", "valid", "test")[int(group[4:]) % 3] for group in groups]
    table.to_csv(root / "tags.csv", index=False)


def test_a_folder_is_split_by_column_group_or_tags(tmp_path: Path):
    write_table(tmp_path, splits=True)
    sources = {way: FolderSource(tmp_path, split=way) for way in (None, "column", "group", "stratified")}
    splits = {way: [clip.split for clip in source.clips] for way, source in sources.items()}
    assert splits[None] == splits["column"] == [("train", "valid", "test")[n // 2 % 3] for n in range(120)]
    for way in ("group", "stratified"):
        assert splits[way] != splits["column"]
        assert (pd.Series(splits[way]).groupby([clip.group for clip in sources[way].clips]).nunique() == 1).all()
    assert splits["group"] != splits["stratified"]
    assert sources["stratified"].tags == ("a", "b", "c", "d")  # the column `split` is not a tag
    assert [source.protocol for source in sources.values()] == [None, "column", "group", "stratified"]


def test_a_missing_split_column_is_reported(tmp_path: Path):
    write_table(tmp_path, splits=False)
    with expect_error(tmp_path / "tags.csv", "line 1", "no column 'split'", "split='column'"):
        FolderSource(tmp_path, split="column")


def test_a_single_tag_is_stratified():
    groups = [f"g{number}" for number in range(100)]
    labels = (np.arange(100)[:, None] % 4 == 0).astype(np.int8)
    splits = np.array(stratified_splits(labels, groups, 0))
    for split, share in (("train", 0.7), ("valid", 0.1), ("test", 0.2)):
        assert labels[splits == split].mean() == pytest.approx(0.25, abs=0.06), split
        assert (splits == split).mean() == pytest.approx(share, abs=0.03), split


def test_a_draw_that_leaves_a_split_empty_is_refused():
    labels = np.eye(3, dtype=np.int8)
    with expect_error("tags.csv", "3 groups", "'valid'", "split='group'", kind=FieldError) as caught:
        drawn_splits(Path("tags.csv"), labels, ["a", "b", "c"], "stratified", 0)
    assert caught.value.field == "split"
