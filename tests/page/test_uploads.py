"""Answers to uploads: numbers, messages, and the removal of uploads."""

import html
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from facts import expect_error
from tiny_tagger import RATE, noise, write

from genre_tagger.page.uploads import UploadTagger
from genre_tagger.tagging.tagger import Tagger


@pytest.fixture
def uploads(loudness, config, tags, tmp_path):
    """Tags uploads with the fake model, up to six seconds."""
    return UploadTagger(Tagger(loudness, config, tags, "0123456789abcdef"), tmp_path / "uploads", max_minutes=0.1)


def message_of(answer, name):
    """Return the message of an answer without tags."""
    return re.fullmatch(rf'<p class="message" role="alert"><b>{name}</b>: (.+)</p>', answer["html"])[1]


def files_below(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_answer_has_every_window_and_every_tag(uploads, upload, tmp_path):
    waveform = noise(1.3)
    path = upload(write(tmp_path / "a.wav", waveform))
    answer = uploads.answer(path, "My song.wav")
    assert answer["path"] == path
    document = answer["json"]
    starts = [0, 1600, 3200, 4800, 6400]
    loudest = np.array([np.abs(waveform[start : start + 4000]).max() for start in starts])
    assert list(document["tags"]) == ["no drums", "café", "<b>jazz</b>", "rock", "${1 + 1} {{value}}"]
    assert document["tags"]["rock"] == pytest.approx(loudest.mean(), abs=1e-6)
    np.testing.assert_allclose(document["probabilities"]["rock"], loudest, atol=1e-6)
    assert document["probabilities"]["no drums"] == [0.75] * 5
    np.testing.assert_allclose(document["times"], np.array(starts) / RATE, atol=1e-6)
    facts = (document["path"], document["seconds"], document["window_seconds"], document["model"])
    assert facts == ("My song.wav", 1.3, 0.5, "0123456789abcdef")


def test_tags_are_in_order_with_their_probabilities(uploads, upload, tmp_path):
    answer = uploads.answer(upload(write(tmp_path / "a.wav", noise(1, level=0.1))), "a.wav")["html"]
    assert re.findall(r'class="tag".*?>([^<]+)</span>', answer) == [
        "no drums",
        "café",
        "&lt;b&gt;jazz&lt;/b&gt;",
        "rock",
        "${1 + 1} {{value}}",
    ]
    assert re.findall(r'class="figure".*?>([^<]+)<', answer)[:3] == ["0.750", "0.500", "0.250"]


def test_only_the_best_dozen_is_drawn(config, upload, tmp_path):
    names = tuple(f"tag {number}" for number in range(30))
    scores = np.linspace(0, 0.9, 30, dtype=np.float32)
    tagger = Tagger(lambda windows, _: (np.tile(scores, (len(windows), 1)), None), config, names, "")
    answer = UploadTagger(tagger, tmp_path / "uploads", 1).answer(upload(write(tmp_path / "a.wav", noise(1))), "a.wav")
    assert re.findall(r'class="tag".*?>(.+?)</span>', answer["html"]) == [f"tag {n}" for n in range(29, 17, -1)]
    assert len(answer["json"]["tags"]) == 30


def test_foreign_names_are_text(uploads, upload, tmp_path):
    name = "<img src=x onerror=alert(1)>\"'&.wav"
    answer = uploads.answer(upload(write(tmp_path / "a.wav", noise(1))), name)["html"]
    assert "<img" not in answer
    assert html.unescape(re.search(r"<h2>(.*?)</h2>", answer)[1]) == name
    refusal = uploads.answer(upload(write(tmp_path / "a.wav", np.zeros(8000))), name)["html"]
    assert "<img" not in refusal
    assert name in html.unescape(refusal)


@pytest.mark.parametrize(
    ("name", "waveform", "fact"),
    [
        ("silent.wav", np.zeros(8000), "silent"),
        ("short.wav", noise(0.09), "too short"),
        ("empty.wav", np.zeros(0), "no samples"),
        ("long.wav", noise(6.2), "0.1 minutes"),
        ("nan.wav", np.full(8000, np.nan), "NaN"),
    ],
)
def test_a_song_that_cannot_be_tagged_gets_a_message_and_is_removed(
    uploads, loudness, upload, tmp_path, name, waveform, fact
):
    answer = uploads.answer(upload(write(tmp_path / name, waveform)), name)
    assert fact in message_of(answer, name)
    assert answer["json"] is None
    assert files_below(tmp_path) == []
    if name == "long.wav":
        assert loudness.windows == 0


@pytest.mark.parametrize(
    ("content", "fact"), [(b"this is no audio", "no audio"), (b"", "0 bytes"), (b"RIFF\x00\x00", "decoded")]
)
def test_a_broken_file_gets_a_message_and_is_removed(uploads, upload, tmp_path, content, fact):
    file = tmp_path / "text.mp3"
    file.write_bytes(content)
    answer = uploads.answer(upload(file), "text.mp3")
    assert fact in message_of(answer, "text.mp3")
    assert "Traceback" not in answer["html"]
    assert files_below(tmp_path) == []


def test_a_song_that_ends_early_is_tagged_up_to_its_end(uploads, upload, tmp_path):
    whole = write(tmp_path / "a.wav", noise(2))
    whole.write_bytes(whole.read_bytes()[: -4 * RATE])  # samples of 4 bytes
    assert uploads.answer(upload(whole), "a.wav")["json"]["seconds"] == 1


def test_an_upload_is_removed_but_its_result_serves_others_who_sent_the_same(uploads, loudness, upload, tmp_path):
    file = write(tmp_path / "a.wav", noise(1))
    shutil.copy(file, tmp_path / "b.wav")
    first, second = upload(file), upload(tmp_path / "b.wav")
    answers = [uploads.answer(first, "a.wav"), uploads.answer(second, "b.wav")]
    assert files_below(tmp_path) == []
    assert [answer["json"].pop("path") for answer in answers] == ["a.wav", "b.wav"]
    assert answers[0]["json"] == answers[1]["json"]
    assert loudness.windows == 4


def test_abandoned_uploads_are_removed(uploads, upload, tmp_path):
    old, new = (upload(write(tmp_path / f"{seed}.wav", noise(1, seed))) for seed in (1, 2))
    broken_off = tmp_path / "uploads/tmp1"
    broken_off.write_bytes(b"half a song")
    for place in (Path(old).parent, broken_off):
        os.utime(place, (0, time.time() - 700))
    uploads.remove_older(600)
    assert files_below(tmp_path) == [Path(new)]
    answer = uploads.answer(old, "a.wav")
    assert "removed" in message_of(answer, "a.wav")
    assert uploads.answer(upload(write(tmp_path / "1.wav", noise(1, 1))), "a.wav")["json"]  # sent again


def test_an_upload_is_not_removed_while_it_is_tagged(uploads, upload, tmp_path, monkeypatch):
    path = upload(write(tmp_path / "a.wav", noise(1)))
    os.utime(Path(path).parent, (0, 0))
    taggram = Tagger.taggram

    def interrupted(self, file):
        uploads.remove_older(600)
        return taggram(self, file)

    monkeypatch.setattr(Tagger, "taggram", interrupted)
    assert uploads.answer(path, "a.wav")["json"]


def test_a_failure_of_the_model_leaves_no_upload(uploads, upload, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Tagger, "taggram", fail)
    with pytest.raises(RuntimeError):
        uploads.answer(upload(write(tmp_path / "a.wav", noise(1))), "a.wav")
    assert files_below(tmp_path) == []


@pytest.mark.parametrize(
    "path", ["{0}/secret/a.wav", "{0}/uploads/../secret/a.wav", "a.wav", "/", "", "{0}/uploads/.."]
)
def test_no_other_file_is_read_or_removed(uploads, loudness, tmp_path, path):
    (tmp_path / "uploads").mkdir()
    (tmp_path / "secret").mkdir()
    secret = write(tmp_path / "secret/a.wav", noise(1))
    with expect_error(repr(path.format(tmp_path)), kind=ValueError):
        uploads.answer(path.format(tmp_path), "a.wav")
    assert loudness.windows == 0
    assert secret.is_file()
