import numpy as np
import pytest

from genre_tagger.errors import UserError
from genre_tagger.evaluation.families import family_metrics, read_families
from genre_tagger.evaluation.metrics import compute_metrics

STANDARD = """guitar, classical, slow, techno, strings, drums, electronic, rock, fast, piano, ambient, beat, violin,
vocal, synth, female, indian, opera, male, singing, vocals, no vocals, harpsichord, loud, quiet, flute, woman,
male vocal, no vocal, pop, soft, sitar, solo, man, classic, choir, voice, new age, dance, male voice, female vocal,
beats, harp, cello, no voice, weird, country, female voice, metal, choral"""
SEED = """guitar, classical, slow, vocal, techno, string, electronic, drum, no singer, rock, fast, male, beat, female,
piano, ambient, violin, synth, india, opera, harpsichord, loud, quiet, flute, pop, soft, sitar, choir, solo, new age,
dance, strange, harp, cello, jazz, country, metal, eastern, modern, no piano, bass, chant, baroque, orchestra, foreign,
trance, folk, funk, spanish, heavy"""
DEMO = """piano, harpsichord, guitar, electric guitar, bass, strings, violin, cello, flute, choir, organ, synth, sitar,
harp, trumpet, brass, saxophone, drums, no drums, slow, fast, loud, quiet, classical, rock, jazz, techno, ambient, folk,
indian, latin"""


@pytest.mark.parametrize(("names", "count"), [(STANDARD, 50), (SEED, 50), (DEMO, 31)])
def test_the_tags_of_the_protocols_and_the_demo_have_a_family(names, count):
    tags = {" ".join(name.split()) for name in names.split(",")}
    families = read_families()
    assert len(tags) == count
    assert {families[tag] for tag in tags} == {"genre", "instrument", "voice", "mood"}


def test_some_families():
    families = read_families()
    expected = {"jazz": "genre", "no drums": "instrument", "no vocals": "voice", "slow": "mood", "quiet": "mood"}
    assert {tag: families[tag] for tag in expected} == expected


def test_averages_by_family_with_other_at_the_end():
    tags = ("whale song", "jazz", "piano", "sitar")
    labels = np.int8([[1, 1, 1, 1], [0, 0, 0, 1], [1, 0, 1, 1]])
    scores = np.float32([[0.1, 0.2, 0.9, 0.1], [0.5, 0.1, 0.8, 0.1], [0.9, 0.3, 0.7, 0.1]])
    by_family = family_metrics(compute_metrics(labels, scores, tags), {"piano": "x", "sitar": "x", "jazz": "zz"})
    assert list(by_family) == ["x", "zz", "other"]
    assert list(by_family["x"].tags) == ["piano", "sitar"]
    assert by_family["x"].left_out == ("sitar",)  # no negatives: the family's average is the piano's
    assert [members.roc_auc for members in by_family.values()] == [0.5, 0.5, 0.5]
    assert by_family["zz"].pr_auc == pytest.approx(1 / 2)


def test_an_edited_table_is_read(tmp_path):
    (tmp_path / "f.tsv").write_text("tag\tfamily\nwhale song\tvoice\n pop \tgenre\n", encoding="utf-8")
    assert read_families(tmp_path / "f.tsv") == {"whale song": "voice", "pop": "genre"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: found '', expected the header"),
        ("name,kind\n", "line 1: found 'name,kind', expected the header"),
        ("tag\tfamily\npop\tgenre\nrock\n", "line 3: found 'rock', expected a tag, one tab and its family"),
        ("tag\tfamily\npop\t\n", "line 2: .* expected a tag, one tab and its family"),
        ("tag\tfamily\npop\ta\tb\n", "line 2: .* expected a tag, one tab and its family"),
        ("tag\tfamily\npop\tgenre\nrock\tgenre\npop\tmood\n", "line 4: the tag 'pop' is listed twice"),
    ],
)
def test_bad_lines_are_named(tmp_path, text, message):
    (tmp_path / "f.tsv").write_text(text)
    with pytest.raises(UserError, match=rf"f\.tsv, {message}"):
        read_families(tmp_path / "f.tsv")


def test_no_file_and_no_text_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"none\.tsv: cannot be read"):
        read_families(tmp_path / "none.tsv")
    (tmp_path / "f.tsv").write_bytes(b"tag\tfamily\n\xff\xfe\tgenre\n")
    with pytest.raises(UserError, match=r"f\.tsv: cannot be read"):
        read_families(tmp_path / "f.tsv")
