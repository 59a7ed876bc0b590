"""Draw random splits of whole groups: 70 % train, 10 % valid, 20 % test."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from sklearn.model_selection import GroupShuffleSplit

from genre_tagger.errors import FieldError, UserError
from genre_tagger.sources.clips import SPLITS

TEST_SHARE, VALID_SHARE = 0.2, 0.1


def drawn_splits(table: Path, labels: np.ndarray, groups: Sequence[str], way: str, seed: int) -> list[str]:
    """Draw a split for each clip, with error messages that name the table.

    Args:
        table: path of the table, for error messages.
        labels: int8 [clips, tags], 1 present, 0 absent, -1 unknown.
        groups: group of each clip.
        way: `stratified` for `stratified_splits`, otherwise `group_splits` is used.
        seed: seed of the random split.

    Returns:
        `train`, `valid` or `test` for each clip.

    Raises:
        UserError: there are fewer groups than splits, or a split is left empty.
    """
    try:
        splits = stratified_splits(labels, groups, seed) if way == "stratified" else group_splits(groups, seed)
    except UserError as error:
        raise UserError(f"{table}: {error}") from error
    if empty := [split for split in SPLITS if split not in splits]:
        raise FieldError(
            "split",
            f"{table}: found no clip in split {empty[0]!r} after splitting {len(set(groups))} groups, expected some; "
            "add groups, or try another seed or split='group'",
        )
    return splits


def group_splits(groups: Sequence[str], seed: int) -> list[str]:
    """Draw a split for each clip. The shares are shares of the number of groups.

    Args:
        groups: group of each clip.
        seed: seed of the random split.

    Returns:
        `train`, `valid` or `test` for each clip.

    Raises:
        UserError: there are fewer groups than splits.
    """
    _check_count(groups)
    group_of_clip = np.array(groups, dtype=object)
    splits = np.full(len(groups), "train", dtype=object)
    rest, test = _draw(np.arange(len(groups)), group_of_clip, TEST_SHARE, seed)
    _, valid = _draw(rest, group_of_clip, VALID_SHARE / (1 - TEST_SHARE), seed)
    splits[test], splits[valid] = "test", "valid"
    return [*splits]


def stratified_splits(labels: np.ndarray, groups: Sequence[str], seed: int) -> list[str]:
    """Draw a split for each clip so that every tag has similar shares in all splits (Sechidis et al., ECML 2011).

    Iterative stratification assigns whole groups. A group has a tag if one of its clips has it.

    Args:
        labels: int8 [clips, tags], 1 present, 0 absent, -1 unknown.
        groups: group of each clip.
        seed: seed of the random split.

    Returns:
        `train`, `valid` or `test` for each clip.

    Raises:
        UserError: there are fewer groups than splits.
    """
    _check_count(groups)
    names, group_of_clip = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    present = np.zeros((len(names), labels.shape[1]), np.int8)
    np.maximum.at(present, group_of_clip, (labels == 1).astype(np.int8))
    if present.shape[1] == 1:  # the stratifier rejects a single column as a binary problem
        present = np.hstack([present, 1 - present])
    splits = np.full(len(names), "train", dtype=object)
    rest, test = _deal(np.arange(len(names)), present, TEST_SHARE, seed)
    _, valid = _deal(rest, present, VALID_SHARE / (1 - TEST_SHARE), seed)
    splits[test], splits[valid] = "test", "valid"
    return [*splits[group_of_clip]]


def _check_count(groups: Sequence[str]) -> None:
    if (count := len(set(groups))) < len(SPLITS):
        raise UserError(f"found {count} group(s), expected at least one per split ({', '.join(SPLITS)})")


def _draw(rows: np.ndarray, groups: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide rows into two parts, the second with about the given share of the groups."""
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    kept, drawn = next(splitter.split(rows, groups=groups[rows]))
    return rows[kept], rows[drawn]


def _deal(rows: np.ndarray, present: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide groups into two parts, the second with about the given share of each tag."""
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    kept, drawn = next(splitter.split(rows, present[rows]))
    return rows[kept], rows[drawn]
