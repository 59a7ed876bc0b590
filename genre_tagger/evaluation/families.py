"""Families of tags (genre, instrument, voice, mood), which show what kinds of tags a model is good at."""

from collections.abc import Mapping
from pathlib import Path

from genre_tagger.errors import UserError
from genre_tagger.evaluation.metrics import Metrics

FAMILIES_TSV = Path(__file__).with_name("families.tsv")
HEADER = ["tag", "family"]
OTHER = "other"


def read_families(path: Path | None = None) -> dict[str, str]:
    """Read a tab-separated table with the columns `tag` and `family`, by default the one in the package.

    Raises:
        UserError: the file does not exist or is not text, its header is wrong, a line does not have exactly two names,
            or a tag is listed twice.
    """
    path = path or FAMILIES_TSV
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}), expected a tab-separated table") from error
    header = lines[0] if lines else ""
    if header.split("\t") != HEADER:
        raise UserError(f"{path}, line 1: found {header!r}, expected the header tag<TAB>family")
    families: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        tag, family = _parse(f"{path}, line {number}", line)
        if tag in families:
            raise UserError(f"{path}, line {number}: found the tag {tag!r} a second time, expected it once")
        families[tag] = family
    return families


def family_metrics(metrics: Metrics, families: Mapping[str, str]) -> dict[str, Metrics]:
    """Return the metrics of each family, sorted by name. Tags without a family are in `other`, which is last.

    Args:
        metrics: metrics of all tags.
        families: family of each tag.
    """
    members: dict[str, list[str]] = {}
    for tag in metrics.tags:
        members.setdefault(families.get(tag, OTHER), []).append(tag)
    names = sorted(members, key=lambda family: (family == OTHER, family))
    return {family: Metrics({tag: metrics.tags[tag] for tag in members[family]}) for family in names}


def _parse(place: str, line: str) -> tuple[str, str]:
    fields = [field.strip() for field in line.split("\t")]
    if len(fields) != len(HEADER) or not all(fields):
        raise UserError(f"{place}: found {line!r}, expected a tag, one tab and its family")
    return fields[0], fields[1]
