"""Draws splits of whole groups: 70 % train, 10 % validate, 20 % test, by a seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from sklearn.model_selection import GroupShuffleSplit

from genre_tagger.data.clips import SPLITS
from genre_tagger.errors import UserError

TEST_SHARE, VALID_SHARE = 0.2, 0.1


def drawn_splits(table: Path, labels: np.ndarray, groups: Sequence[str], way: str, seed: int) -> list[str]:
    """`group_splits` or, for the way `stratified`, `stratified_splits`; errors name the table."""
    try:
        splits = stratified_splits(labels, groups, seed) if way == "stratified" else group_splits(groups, seed)
    except UserError as error:
        raise UserError(f"{table}: {error}") from None
    if empty := [split for split in SPLITS if split not in splits]:
        raise UserError(
            f"{table}: the draw of {len(set(groups))} groups left {empty[0]} empty; expected more groups, another "
            "--data-seed or --split group"
        )
    return splits


def group_splits(groups: Sequence[str], seed: int) -> list[str]:
    """A split for each clip; shares are of the number of groups.

    Raises:
        UserError: fewer groups than splits.
    """
    _check_count(groups)
    groups = np.array(groups, dtype=object)
    splits = np.full(len(groups), "train", dtype=object)
    rest, test = _draw(np.arange(len(groups)), groups, TEST_SHARE, seed)
    _, valid = _draw(rest, groups, VALID_SHARE / (1 - TEST_SHARE), seed)
    splits[test], splits[valid] = "test", "valid"
    return splits.tolist()


def stratified_splits(labels: np.ndarray, groups: Sequence[str], seed: int) -> list[str]:
    """A split for each clip, such that the splits have alike shares of every tag (Sechidis et al., ECML 2011).

    Groups are dealt out whole, by iterative stratification; a group has a tag when one of its clips has it.

    Args:
        labels: int8 [clips, tags], 1, 0 or -1 for unknown.
        groups: of each clip.
        seed: of the draw.

    Raises:
        UserError: fewer groups than splits.
    """
    _check_count(groups)
    names, group_of_clip = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    present = np.zeros((len(names), labels.shape[1]), np.int8)
    np.maximum.at(present, group_of_clip, (labels == 1).astype(np.int8))
    if present.shape[1] == 1:  # the stratifier takes a single column for another kind of problem
        present = np.hstack([present, 1 - present])
    splits = np.full(len(names), "train", dtype=object)
    rest, test = _deal(np.arange(len(names)), present, TEST_SHARE, seed)
    _, valid = _deal(rest, present, VALID_SHARE / (1 - TEST_SHARE), seed)
    splits[test], splits[valid] = "test", "valid"
    return splits[group_of_clip].tolist()


def _check_count(groups: Sequence[str]) -> None:
    if (count := len(set(groups))) < len(SPLITS):
        raise UserError(f"found {count} group(s), expected at least one for each of {', '.join(SPLITS)}")


def _draw(rows: np.ndarray, groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Parts rows in two such that the second holds about that share of the groups."""
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    kept, drawn = next(splitter.split(rows, groups=groups[rows]))
    return rows[kept], rows[drawn]


def _deal(rows: np.ndarray, present: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Parts groups in two such that the second holds about that share of each tag."""
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    kept, drawn = next(splitter.split(rows, present[rows]))
    return rows[kept], rows[drawn]
