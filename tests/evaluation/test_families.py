import numpy as np
import pytest
from facts import expect_error

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


def test_families_of_some_tags():
    families = read_families()
    expected = {"jazz": "genre", "no drums": "instrument", "no vocals": "voice", "slow": "mood", "quiet": "mood"}
    assert {tag: families[tag] for tag in expected} == expected


def test_averages_per_family_with_other_last():
    tags = ("whale song", "jazz", "piano", "sitar")
    labels = np.int8([[1, 1, 1, 1], [0, 0, 0, 1], [1, 0, 1, 1]])
    scores = np.float32([[0.1, 0.2, 0.9, 0.1], [0.5, 0.1, 0.8, 0.1], [0.9, 0.3, 0.7, 0.1]])
    by_family = family_metrics(compute_metrics(labels, scores, tags), {"piano": "x", "sitar": "x", "jazz": "zz"})
    assert list(by_family) == ["x", "zz", "other"]
    assert list(by_family["x"].tags) == ["piano", "sitar"]
    assert by_family["x"].left_out == ("sitar",)  # no negatives, so the average of the family is that of the piano
    assert [members.roc_auc for members in by_family.values()] == [0.5, 0.5, 0.5]
    assert by_family["zz"].pr_auc == pytest.approx(1 / 2)


def test_an_edited_table_is_read(tmp_path):
    (tmp_path / "f.tsv").write_text("tag\tfamily\nwhale song\tvoice\n pop \tgenre\n", encoding="utf-8")
    assert read_families(tmp_path / "f.tsv") == {"whale song": "voice", "pop": "genre"}


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("", ("line 1", "''", "tag<TAB>family")),
        ("name,kind\n", ("line 1", "'name,kind'", "tag<TAB>family")),
        ("tag\tfamily\npop\tgenre\nrock\n", ("line 3", "'rock'")),
        ("tag\tfamily\npop\t\n", ("line 2", repr("pop\t"))),
        ("tag\tfamily\npop\ta\tb\n", ("line 2", repr("pop\ta\tb"))),
        ("tag\tfamily\npop\tgenre\nrock\tgenre\npop\tmood\n", ("line 4", "'pop'")),
    ],
)
def test_errors_name_the_line(tmp_path, text, facts):
    (tmp_path / "f.tsv").write_text(text)
    with expect_error("f.tsv", *facts):
        read_families(tmp_path / "f.tsv")


def test_a_missing_file_and_a_binary_file_raise_errors(tmp_path):
    with expect_error("none.tsv", "No such file"):
        read_families(tmp_path / "none.tsv")
    (tmp_path / "f.tsv").write_bytes(b"tag\tfamily\n\xff\xfe\tgenre\n")
    with expect_error("f.tsv", "0xff"):
        read_families(tmp_path / "f.tsv")
