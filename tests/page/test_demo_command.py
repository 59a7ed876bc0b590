"""The command `demo`: a mistake is reported in one line, and messages of libraries are hidden."""

import importlib.util
import os
import signal
import socket
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from facts import check_facts

from genre_tagger import page
from genre_tagger.commands.demo import demo
from genre_tagger.page import server


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_without_a_model_the_import_is_named(failure):
    check_facts(failure("demo"), "demo: ", "MODEL", "runs/musicnn", "`genre-tagger import musicnn`")


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ([".", "--host", "music.example"], ["--host: ", "'music.example'"]),
        ([".", "--host", "192.0.2.1"], ["--port: ", "192.0.2.1:7860", "cannot assign requested address"]),
        ([".", "--port", "0"], ["'--port'"]),
        ([".", "--max-megabytes", "0"], ["'--max-megabytes'"]),
        ([".", "--max-minutes", "0"], ["'--max-minutes'"]),
    ],
)
def test_mistakes_are_one_line(failure, arguments, facts):
    check_facts(failure("demo", *arguments), *facts)


@pytest.mark.parametrize("model", ["nowhere", "."])
def test_no_model_is_one_line(failure, free_port, model):
    line = failure("demo", model, "--port", free_port)
    assert line.startswith(f"{model}: ")
    check_facts(line, "no model", "config.yaml")


def test_a_port_that_is_taken_is_named(failure):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = failure("demo", ".", "--port", port)
    check_facts(line, "--port: ", f"127.0.0.1:{port}", "address already in use")


def test_notes_of_c_libraries_are_hidden(monkeypatch, capfd):
    class Page:
        address, tags = "http://127.0.0.1:7860", ("rock",)

        def run(self):
            os.write(2, b"a note of libmpg123 on a file")
            print("a note of the server", file=sys.stderr)

    monkeypatch.setattr(server, "open_page", lambda *_: nullcontext(Page()))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    demo(Path("model"))
    printed = capfd.readouterr()
    check_facts(printed.out, "http://127.0.0.1:7860", "model", "1 tag")
    assert printed.err == "a note of the server\n"


def test_without_gradio_the_extra_is_named(failure, monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: importlib.util.find_spec(name) if name != "gradio" else None)
    check_facts(failure("demo", "."), "demo: ", "pip install 'genre-tagger[page]'")
