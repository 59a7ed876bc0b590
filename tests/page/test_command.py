"""The command `demo`: mistakes are one line, and libraries keep quiet."""

import importlib.util
import os
import signal
import socket
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from genre_tagger import page
from genre_tagger.cli.page import demo
from genre_tagger.page import server


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_without_a_model_the_import_is_named(failure):
    line = failure("demo")
    assert line == "demo: found no MODEL and no runs/musicnn; `genre-tagger import musicnn` makes that"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([".", "--host", "music.example"], "--host: found 'music.example', expected an address of this machine"),
        (
            [".", "--host", "192.0.2.1"],
            "--host 192.0.2.1 --port 7860: cannot listen there (cannot assign requested address)",
        ),
        ([".", "--port", "0"], "Invalid value for '--port'"),
        ([".", "--max-megabytes", "0"], "Invalid value for '--max-megabytes'"),
        ([".", "--max-minutes", "0"], "Invalid value for '--max-minutes'"),
    ],
)
def test_mistakes_are_one_line(failure, arguments, expected):
    assert expected in failure("demo", *arguments)


@pytest.mark.parametrize(("model", "expected"), [("nowhere", "nowhere: found"), (".", "found")])
def test_no_model_is_one_line(failure, free_port, model, expected):
    assert f"{expected} no model in it, expected a run directory" in failure("demo", model, "--port", free_port)


def test_a_port_that_is_taken_is_named(failure):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = failure("demo", ".", "--port", port)
    assert line == (
        f"--host 127.0.0.1 --port {port}: cannot listen there (address already in use), expected a free port of an "
        "address of this machine"
    )


def test_what_libraries_say_stays_off_the_console(monkeypatch, capfd):
    class Page:
        address, tags = "http://127.0.0.1:7860", ("rock",)

        def run(self):
            os.write(2, b"a note of libmpg123 on a file")
            print("what the server says", file=sys.stderr)

    monkeypatch.setattr(server, "open_page", lambda *_: nullcontext(Page()))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    demo(Path("model"))
    said = capfd.readouterr()
    assert "http://127.0.0.1:7860" in said.out
    assert said.err == "what the server says\n"


def test_without_gradio_the_extra_is_named(failure, monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: importlib.util.find_spec(name) if name != "gradio" else None)
    assert failure("demo", ".") == "demo: gradio is not installed; pip install 'genre-tagger[page]'"
