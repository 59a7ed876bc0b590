"""Answers to uploads: numbers, messages, what is left of an upload."""

import html
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_tagger import RATE, noise, write

from genre_tagger.page.listening import Listener
from genre_tagger.tagging.tagger import Tagger


@pytest.fixture
def listener(loudness, config, tags, tmp_path):
    """Of the stand-in; takes songs of up to six seconds."""
    return Listener(Tagger(loudness, config, tags, "0123456789abcdef"), tmp_path / "uploads", max_minutes=0.1)


def left(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_answer_has_every_window_and_every_tag(listener, upload, tmp_path):
    waveform = noise(1.3)
    path = upload(write(tmp_path / "a.wav", waveform))
    answer = listener.answer(path, "My song.wav")
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


def test_tags_stand_in_order_with_their_probabilities(listener, upload, tmp_path):
    answer = listener.answer(upload(write(tmp_path / "a.wav", noise(1, level=0.1))), "a.wav")["html"]
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
    answer = Listener(tagger, tmp_path / "uploads", 1).answer(upload(write(tmp_path / "a.wav", noise(1))), "a.wav")
    assert re.findall(r'class="tag".*?>(.+?)</span>', answer["html"]) == [f"tag {n}" for n in range(29, 17, -1)]
    assert len(answer["json"]["tags"]) == 30


def test_foreign_names_are_text(listener, upload, tmp_path):
    name = "<img src=x onerror=alert(1)>\"'&.wav"
    answer = listener.answer(upload(write(tmp_path / "a.wav", noise(1))), name)["html"]
    assert "<img" not in answer
    assert html.unescape(re.search(r"<h2>(.*?)</h2>", answer)[1]) == name
    refusal = listener.answer(upload(write(tmp_path / "a.wav", np.zeros(8000))), name)["html"]
    assert "<img" not in refusal
    assert name in html.unescape(refusal)


@pytest.mark.parametrize(
    ("name", "waveform", "message"),
    [
        ("silent.wav", np.zeros(8000), "not judged: silent"),
        ("short.wav", noise(0.09), "not judged: too short"),
        ("empty.wav", np.zeros(0), "no samples in it"),
        ("long.wav", noise(6.2), "longer than 0.1 minutes, which is the limit here"),
        ("nan.wav", np.full(8000, np.nan), "NaN or infinity among its samples"),
    ],
)
def test_what_cannot_be_judged_gets_a_message_and_is_removed(
    listener, loudness, upload, tmp_path, name, waveform, message
):
    answer = listener.answer(upload(write(tmp_path / name, waveform)), name)
    assert re.fullmatch(rf'<p class="message" role="alert"><b>{name}</b>: {message}</p>', answer["html"])
    assert answer["json"] is None
    assert left(tmp_path) == []
    if name == "long.wav":
        assert loudness.windows == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"this is no audio", "cannot be decoded"), (b"", "the file is empty"), (b"RIFF\x00\x00", "cannot be decoded")],
)
def test_a_broken_file_gets_a_message_and_is_removed(listener, upload, tmp_path, content, message):
    file = tmp_path / "text.mp3"
    file.write_bytes(content)
    answer = listener.answer(upload(file), "text.mp3")
    assert f"<b>text.mp3</b>: {message}" in answer["html"]
    assert "Traceback" not in answer["html"]
    assert left(tmp_path) == []


def test_a_song_that_ends_early_is_tagged_as_far_as_it_goes(listener, upload, tmp_path):
    whole = write(tmp_path / "a.wav", noise(2))
    whole.write_bytes(whole.read_bytes()[: -4 * RATE])  # samples of 4 bytes
    assert listener.answer(upload(whole), "a.wav")["json"]["seconds"] == 1


def test_an_upload_is_removed_and_remembered_for_who_sent_the_same(listener, loudness, upload, tmp_path):
    file = write(tmp_path / "a.wav", noise(1))
    shutil.copy(file, tmp_path / "b.wav")
    first, second = upload(file), upload(tmp_path / "b.wav")
    answers = [listener.answer(first, "a.wav"), listener.answer(second, "b.wav")]
    assert left(tmp_path) == []
    assert [answer["json"].pop("path") for answer in answers] == ["a.wav", "b.wav"]
    assert answers[0]["json"] == answers[1]["json"]
    assert loudness.windows == 4


def test_what_nobody_asks_about_is_forgotten(listener, upload, tmp_path):
    old, new = (upload(write(tmp_path / f"{seed}.wav", noise(1, seed))) for seed in (1, 2))
    broken_off = tmp_path / "uploads/tmp1"
    broken_off.write_bytes(b"half a song")
    for place in (Path(old).parent, broken_off):
        os.utime(place, (0, time.time() - 700))
    listener.forget(600)
    assert left(tmp_path) == [Path(new)]
    answer = listener.answer(old, "a.wav")
    assert "<b>a.wav</b>: waited too long and was removed; send it again" in answer["html"]
    assert listener.answer(upload(write(tmp_path / "1.wav", noise(1, 1))), "a.wav")["json"]  # which is heard


def test_what_is_being_heard_is_not_forgotten(listener, upload, tmp_path, monkeypatch):
    path = upload(write(tmp_path / "a.wav", noise(1)))
    os.utime(Path(path).parent, (0, 0))
    taggram = Tagger.taggram

    def interrupted(self, file):
        listener.forget(600)
        return taggram(self, file)

    monkeypatch.setattr(Tagger, "taggram", interrupted)
    assert listener.answer(path, "a.wav")["json"]


def test_a_failure_of_the_model_leaves_no_upload(listener, upload, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Tagger, "taggram", fail)
    with pytest.raises(RuntimeError):
        listener.answer(upload(write(tmp_path / "a.wav", noise(1))), "a.wav")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "path", ["{0}/secret/a.wav", "{0}/uploads/../secret/a.wav", "a.wav", "/", "", "{0}/uploads/.."]
)
def test_no_other_file_is_read_or_removed(listener, loudness, tmp_path, path):
    (tmp_path / "uploads").mkdir()
    (tmp_path / "secret").mkdir()
    secret = write(tmp_path / "secret/a.wav", noise(1))
    with pytest.raises(ValueError, match="not the path of an upload"):
        listener.answer(path.format(tmp_path), "a.wav")
    assert loudness.windows == 0
    assert secret.is_file()
