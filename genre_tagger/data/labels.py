"""Tags and labels of a table: one 0/1 column a tag, or one column of tag names."""

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from genre_tagger.data.clips import UNKNOWN
from genre_tagger.data.table import Table, is_one_line, nearest
from genre_tagger.errors import UserError

LIST_COLUMN = "tags"
LIST_SEPARATOR = "|"
CLIP_COLUMNS = ("path", "split", "group")

_VALUES = {"1": 1, "0": 0, "": UNKNOWN}


def read_labels(table: Table) -> tuple[tuple[str, ...], np.ndarray]:
    """Reads the labels of each row.

    Returns:
        The tags (columns in their order, or the sorted names of the `tags` column) and int8 [rows, tags]: 1 present,
        0 absent, -1 unknown.

    Raises:
        UserError: no tags, an unknown column beside `tags`, or a label that is neither 0, 1 nor blank.
    """
    names = tuple(name for name in table.columns if name not in CLIP_COLUMNS)
    if not names:
        raise UserError(f"{table.path}, line 1: found no tags, expected a column for each tag or one called 'tags'")
    if LIST_COLUMN in names:
        _refuse_others(table, names)
        return _from_lists(table)
    return names, read_tag_columns(table, names)


def _refuse_others(table: Table, names: tuple[str, ...]) -> None:
    for name in names:
        if name != LIST_COLUMN:
            known = (*CLIP_COLUMNS, LIST_COLUMN)
            raise UserError(
                f"{table.path}, line 1: found unknown column {name!r}{nearest(name, known)}, expected only "
                f"{', '.join(known)} where there is a column 'tags'"
            )


def _from_lists(table: Table) -> tuple[tuple[str, ...], np.ndarray]:
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


def check_tags(table: Table, present: Sequence[Iterable[str]]) -> None:
    """Raises UserError where a tag of a row has a line break in it."""
    for row, tags in enumerate(present):
        for tag in tags:
            if not is_one_line(tag):
                raise table.error(row, LIST_COLUMN, f"the tag {tag!r}", "names of one line")


def read_tag_columns(table: Table, tags: tuple[str, ...]) -> np.ndarray:
    """Labels int8 [rows, tags] of one 0/1 column a tag, -1 where blank; UserError for anything else."""
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
        raise table.error(row, name, f"{cells[row, column]!r}", f"0, 1 or blank{nearest(name, CLIP_COLUMNS)}")
    return labels
