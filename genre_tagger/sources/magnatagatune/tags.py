"""The two lists of 50 tags that systems are evaluated on, and the synonyms that the second one merges."""

import numpy as np

from genre_tagger.errors import UserError, suggest


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


# The 50 most frequent tags as annotated, from most to least frequent, in the order of the public split list.
STANDARD_TAGS = _names(
    "guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano, ambient, beat, violin, vocal, "
    "synth, female, indian, opera, male, singing, vocals, no vocals, harpsichord, loud, quiet, flute, woman, "
    "male vocal, no vocal, pop, soft, sitar, solo, man, classic, choir, voice, new age, dance, male voice, "
    "female vocal, beats, harp, cello, no voice, weird, country, female voice, metal, choral"
)

# The 50 most frequent tags after merging, from most to least frequent.
MERGED_TAGS = _names(
    "guitar, classical, slow, vocal, techno, string, electronic, drum, no singer, rock, fast, male, beat, female, "
    "piano, ambient, violin, synth, india, opera, harpsichord, loud, quiet, flute, pop, soft, sitar, choir, solo, "
    "new age, dance, strange, harp, cello, jazz, country, metal, eastern, modern, no piano, bass, chant, baroque, "
    "orchestra, foreign, trance, folk, funk, spanish, heavy"
)

# Each key is the tag that the synonyms are merged into.
SYNONYMS = {
    "beat": _names("beats"),
    "chant": _names("chanting"),
    "choir": _names("choral, chorus"),
    "classical": _names("clasical, classic"),
    "drum": _names("drums"),
    "electronic": _names("electro, electronica, electric"),
    "fast": _names("fast beat, quick"),
    "female": _names(
        "female singer, female singing, female vocals, female vocal, female voice, woman, woman singing, women"
    ),
    "flute": _names("flutes"),
    "funk": _names("funky"),
    "guitar": _names("guitars, acoustic guitar, electric guitar, classical guitar"),
    "harpsichord": _names("harpsicord"),
    "horn": _names("horns"),
    "india": _names("indian"),
    "jazz": _names("jazzy"),
    "male": _names("male singer, male vocal, male vocals, male voice, man, man singing, men"),
    "metal": _names("heavy metal"),
    "no singer": _names("no singing, no vocal, no vocals, no voice, no voices, instrumental"),
    "opera": _names("operatic, female opera, male opera"),
    "orchestra": _names("orchestral"),
    "quiet": _names("silence"),
    "rock": _names("hard rock, soft rock"),
    "space": _names("spacey"),
    "string": _names("strings"),
    "synth": _names("synthesizer"),
    "violin": _names("violins"),
    "vocal": _names("vocals, voice, voices, singer, singing"),
    "strange": _names("weird"),
}


def standard_labels(tags: tuple[str, ...], labels: np.ndarray) -> np.ndarray:
    """Return the labels of STANDARD_TAGS.

    Args:
        tags: names of all tags.
        labels: int8 [clips, tags], labels of all tags.

    Returns:
        int8 [clips, 50].

    Raises:
        UserError: a tag is missing.
    """
    return labels[:, [_position(name, tags) for name in STANDARD_TAGS]]


def merged_labels(tags: tuple[str, ...], labels: np.ndarray) -> np.ndarray:
    """Return the labels of MERGED_TAGS. A clip has a tag if it has the tag itself or one of its synonyms.

    Args:
        tags: names of all tags.
        labels: int8 [clips, tags], labels of all tags.

    Returns:
        int8 [clips, 50].

    Raises:
        UserError: a tag or synonym is missing.
    """
    columns = [[_position(name, tags) for name in (tag, *SYNONYMS.get(tag, ()))] for tag in MERGED_TAGS]
    return np.stack([labels[:, members].max(axis=1) for members in columns], axis=1)


def _position(name: str, tags: tuple[str, ...]) -> int:
    if name not in tags:
        raise UserError(f"annotations_final.csv, line 1: found no column {name!r}, expected one{suggest(name, tags)}")
    return tags.index(name)
