"""Read tags and labels from a table that has one 0/1 column per tag or one column of tag names."""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from genre_tagger.errors import UserError, suggest
from genre_tagger.sources.clips import UNKNOWN
from genre_tagger.sources.text_table import TextTable, is_one_line

LIST_COLUMN = "tags"
LIST_SEPARATOR = "|"
CLIP_COLUMNS = ("path", "split", "group")

_VALUES = {"1": 1, "0": 0, "": UNKNOWN}


def read_labels(table: TextTable) -> tuple[tuple[str, ...], np.ndarray]:
    """Read the tags of a table and the labels of each row.

    Args:
        table: the table.

    Returns:
        The tag names, and the labels as int8 [rows, tags]: 1 present, 0 absent, -1 unknown. Tags are in the order of
        their columns, or sorted if the table has a column `tags`.

    Raises:
        UserError: there are no tags, a table with a column `tags` has an unknown column, a tag contains a line break,
            or a label is not 0, 1 or blank.
    """
    names = tuple(name for name in table.columns if name not in CLIP_COLUMNS)
    if not names:
        raise UserError(f"{table.path}, line 1: found no tags, expected one column per tag or a column 'tags'")
    if LIST_COLUMN in names:
        _refuse_others(table, names)
        return _from_lists(table)
    return names, read_tag_columns(table, names)


def _refuse_others(table: TextTable, names: tuple[str, ...]) -> None:
    for name in names:
        if name != LIST_COLUMN:
            known = (*CLIP_COLUMNS, LIST_COLUMN)
            raise UserError(
                f"{table.path}, line 1: found unknown column {name!r}, expected only {', '.join(known)} in a table "
                f"with a column {LIST_COLUMN!r}{suggest(name, known)}"
            )


def _from_lists(table: TextTable) -> tuple[tuple[str, ...], np.ndarray]:
    present = [{tag.strip() for tag in cell.split(LIST_SEPARATOR) if tag.strip()} for cell in table.column(LIST_COLUMN)]
    check_tags(table, present)
    tags = tuple(sorted(set(chain.from_iterable(present))))
    if not tags:
        raise UserError(f"{table.path}, column 'tags': found no tag in any line, expected names separated by '|'")
    position = {tag: number for number, tag in enumerate(tags)}
    labels = np.zeros((len(present), len(tags)), np.int8)
    for row, names in enumerate(present):
        labels[row, [position[name] for name in names]] = 1
    return tags, labels


def check_tags(table: TextTable, present: Sequence[Iterable[str]]) -> None:
    """Check that no tag contains a line break.

    Args:
        table: the table, for error messages.
        present: the tags of each row.

    Raises:
        UserError: a tag contains a line break.
    """
    for row, tags in enumerate(present):
        for tag in tags:
            if not is_one_line(tag):
                raise table.error(row, LIST_COLUMN, f"the tag {tag!r}", "a name without line breaks")


def read_tag_columns(table: TextTable, tags: tuple[str, ...]) -> np.ndarray:
    """Read labels from one 0/1 column per tag.

    Args:
        table: the table.
        tags: names of the columns.

    Returns:
        int8 [rows, tags]: 1 present, 0 absent, -1 blank.

    Raises:
        UserError: a cell is not 0, 1 or blank.
    """
    cells = table.cells[:, [table.columns.index(tag) for tag in tags]]
    labels = np.zeros(cells.shape, np.int8)
    known = np.zeros(cells.shape, bool)
    for text, value in _VALUES.items():
        found = cells == text
        labels[found] = value
        known |= found
    if not known.all():
        row, column = np.argwhere(~known)[0]
        name = tags[column]
        raise table.error(row, name, f"{cells[row, column]!r}", f"0, 1 or blank{suggest(name, CLIP_COLUMNS)}")
    return labels
