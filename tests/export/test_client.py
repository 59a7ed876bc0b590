"""The client with real servers on loopback: files become pieces and requests, answers become tags; and the command."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from facts import check_facts, expect_error
from model_server import TAGS, TOO_LOUD, GrpcServer, RestServer, probabilities, tone, top_five
from typer.testing import CliRunner

from genre_tagger.audio.decode import Silent, Undecodable
from genre_tagger.commands.app import app
from genre_tagger.export import request_audio
from genre_tagger.export.client import Client
from genre_tagger.tagging.tagger import Tagger

STEP = 1 / 32768


def test_tags_and_their_order_are_those_of_the_server(server, tmp_path):
    tags = Client(server.address).tag(tone(tmp_path / "a.wav", 0.5))
    assert list(tags) == list(top_five(0.5))
    assert tags == pytest.approx(top_five(0.5), abs=2 * STEP)
    ((model, label, signature, _),) = server.requests
    assert (model, label, signature) == ("tagger", "", "wav")


def test_server_gets_mono_16_bit_wav_with_the_samples_of_the_file(server, tmp_path):
    stereo = np.random.default_rng(0).integers(-9000, 9000, (4410, 2)) * 2
    soundfile.write(tmp_path / "a.flac", stereo.astype(np.int16), 44_100)
    Client(server.address).tag(tmp_path / "a.flac")
    with wave.open(io.BytesIO(server.requests[0][3][0])) as sent:
        assert sent.getparams()[:4] == (1, 2, 44_100, 4410)
        np.testing.assert_array_equal(np.frombuffer(sent.readframes(4410), "<i2"), stereo.sum(axis=1) / 2)


@pytest.mark.parametrize(("native", "sent"), [(8000, 12_000), (22_050, 22_050), (16_001, 22_050), (96_000, 48_000)])
def test_other_rates_are_resampled_to_the_next_supported_one(server, tmp_path, native, sent):
    Client(server.address).tag(tone(tmp_path / "a.wav", 0.5, rate=native))
    with wave.open(io.BytesIO(server.requests[0][3][0])) as file:
        assert file.getframerate() == sent
        assert file.getnframes() == pytest.approx(0.2 * sent, abs=1)


def test_model_and_label_are_sent_by_name(server, tmp_path):
    Client(server.address, "my tags", label="stable").tag(tone(tmp_path / "a.wav", 0.5))
    model, label, *_ = server.requests[0]
    assert (model.replace("%20", " "), label.removeprefix("labels/")) == ("my tags", "stable")


def test_pcm16_windows(server):
    windows = [np.full(100, level, "<i2").tobytes() for level in (16384, 8192)]
    first, second = Client(server.address).predict("pcm16", windows)
    assert server.requests[0][2:] == ("pcm16", windows)
    np.testing.assert_allclose(first.probabilities, probabilities(0.5), rtol=1e-6)
    np.testing.assert_allclose(second.probabilities, probabilities(0.25), rtol=1e-6)
    assert (first.error, list(first.top)) == ("", list(top_five(0.5)))


def test_no_request_is_sent_without_items(server):
    assert Client(server.address).predict("pcm16", []) == []
    assert list(Client(server.address).tag_files([])) == []
    assert not server.requests


def test_many_files_are_sent_32_at_a_time_and_returned_in_order(server, tmp_path):
    levels = [0.01 * number for number in range(1, 41)]
    files = [tone(tmp_path / f"{number}.wav", level) for number, level in enumerate(levels)]
    files.append(files[0])
    outcomes = list(Client(server.address).tag_files(files))
    assert [len(items) for *_, items in server.requests] == [32, 9]
    assert [file for file, _ in outcomes] == files
    for (_, tags), level in zip(outcomes, [*levels, 0.01], strict=True):
        assert tags["loud" if level > 0.05 else "quiet"] == pytest.approx(
            level if level > 0.05 else 1 - level, abs=2 * STEP
        )


def test_requests_do_not_exceed_their_limit_of_bytes(server, tmp_path, monkeypatch):
    files = [tone(tmp_path / f"{number}.wav", 0.5) for number in range(5)]
    monkeypatch.setattr(request_audio, "MAX_REQUEST_BYTES", 2 * files[0].stat().st_size)
    assert len(list(Client(server.address).tag_files(files))) == 5
    assert [len(items) for *_, items in server.requests] == [2, 2, 1]


def test_long_file_is_split_and_averaged(server, tmp_path):
    levels = (0.2, 0.4, 0.8)
    samples = np.repeat(np.array(levels) * 32768, 401 * 12_000).astype(np.int16)  # 20 minutes and 3 seconds
    soundfile.write(tmp_path / "long.wav", samples, 12_000)
    tags = Client(server.address).tag(tmp_path / "long.wav")
    items = [item for *_, request in server.requests for item in request]
    assert all(len(item) <= 600 * 12_000 * 2 + 100 for item in items)
    assert len(items) == 3
    means = dict(zip(TAGS, np.mean([probabilities(level) for level in levels], axis=0), strict=True))
    assert list(tags) == sorted(means, key=lambda tag: -means[tag])[:5]
    assert tags == pytest.approx({tag: means[tag] for tag in tags}, abs=2 * STEP)


def test_long_file_is_never_in_memory_as_a_whole(tmp_path):
    path, frames = tmp_path / "long.wav", 80 * 60 * 12_000
    soundfile.write(path, np.zeros(1), 12_000, subtype="PCM_U8")
    with path.open("r+b") as file:  # a sparse file of zeros, which are full scale in this format
        for place, size in ((4, frames + 36), (40, frames)):
            file.seek(place)
            file.write(size.to_bytes(4, "little"))
        file.truncate(44 + frames)
    tracemalloc.start()
    try:
        samples = [piece.samples for piece in request_audio.pieces_of(0, path)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert samples == [600 * 12_000] * 8
    assert peak < 180e6  # the waveform alone is 230 MB


def test_silent_pieces_of_a_long_file_are_left_out(server, tmp_path):
    samples = np.repeat(np.array((0.2, 0, 0.4)) * 32768, 401 * 12_000).astype(np.int16)
    soundfile.write(tmp_path / "long.wav", samples, 12_000)
    tags = Client(server.address).tag(tmp_path / "long.wav")
    means = dict(zip(TAGS, np.mean([probabilities(level) for level in (0.2, 0.4)], axis=0), strict=True))
    assert tags == pytest.approx({tag: means[tag] for tag in tags}, abs=2 * STEP)
    assert len(tags) == 5


def test_long_file_is_rejected_if_the_server_rejects_all_pieces(server, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.full(601 * 12_000, 32_000, np.int16), 12_000)
    with expect_error(TOO_LOUD, kind=Undecodable):
        Client(server.address).tag(tmp_path / "long.wav")


def test_only_silent_pieces_of_a_long_file_are_left_out(server, tmp_path, monkeypatch):
    monkeypatch.setattr(request_audio, "WAV_MAX_SECONDS", 1)
    samples = np.repeat(np.array((0.2, 0.99, 0.4)) * 32768, 10_000).astype(np.int16)  # the server rejects the second
    soundfile.write(tmp_path / "long.wav", samples, 12_000)
    with expect_error(TOO_LOUD, kind=Undecodable):
        Client(server.address).tag(tmp_path / "long.wav")
    assert len(server.requests[0][3]) == 3


def test_item_that_the_server_reports_as_silent_is_silent(server, tmp_path):
    nothing = {"probabilities": [[0.0] * 6], "top_tags": [[""] * 5], "top_scores": [[0.0] * 5]}
    server.script.append(lambda _: nothing | {"error": ["digital silence"]})
    with expect_error("digital silence", kind=Silent):
        Client(server.address).tag(tone(tmp_path / "a.wav", 0.5))


def test_item_with_an_error_has_no_top_tags(server, tmp_path):
    (answer,) = Client(server.address).predict("wav", [tone(tmp_path / "bad.wav", 0.99).read_bytes()])
    assert (answer.error, answer.top) == (TOO_LOUD, {})


def test_files_without_usable_audio_do_not_stop_the_others(server, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    files = [tmp_path / "text.wav", tone(tmp_path / "a.wav", 0.5), tone(tmp_path / "b.wav", 0.96), tmp_path / "none"]
    text, good, loud, missing = (outcome for _, outcome in Client(server.address).tag_files(files))
    assert good == pytest.approx(top_five(0.5), abs=2 * STEP)
    assert isinstance(text, Undecodable) and "decoded" in str(text)
    assert isinstance(loud, Undecodable) and str(loud) == TOO_LOUD
    assert isinstance(missing, Undecodable) and str(missing) == "no such file or directory"
    with expect_error(TOO_LOUD, kind=Undecodable):
        Client(server.address).tag(tmp_path / "b.wav")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 86_401])
def test_timeouts_out_of_range_are_refused(seconds):
    with expect_error("timeout_seconds:", seconds):
        Client("localhost:8500", timeout_seconds=seconds)


class ExportedModel(GrpcServer):
    """A server that answers with the signatures of an exported version, as TensorFlow Serving does."""

    def __init__(self, signatures):
        super().__init__()
        self._signatures = signatures

    def answer(self, model, label, signature, items):
        outputs = self._signatures[signature](audio=tf.constant(items))
        return {name: _plain(value.numpy()) for name, value in outputs.items()}


def _plain(array):
    return np.char.decode(array.astype(bytes), "utf-8").tolist() if array.dtype == object else array.tolist()


def test_exported_model_gives_the_tags_of_its_run(signatures, run, tmp_path):
    rng = np.random.default_rng(3)
    files = [tmp_path / f"{number}.wav" for number in range(3)]
    for file, seconds in zip(files, (0.3, 1.0, 2.3), strict=True):
        soundfile.write(file, rng.normal(0, 0.1, round(seconds * 12_000)), 12_000, subtype="PCM_16")
    server = ExportedModel(signatures)
    served, tagger = dict(Client(server.address).tag_files(files)), Tagger.load(run.path)
    for file in files:
        local = dict(zip(tagger.tags, tagger.taggram(file).scores.tolist(), strict=True))
        assert served[file] == pytest.approx(dict(sorted(local.items(), key=lambda tag: -tag[1])[:5]), abs=1e-4)
    garbage, good = Client(server.address).predict("wav", [b"not WAV", files[1].read_bytes()])
    assert "WAV" in garbage.error and not garbage.probabilities.any()
    assert good.top == pytest.approx(served[files[1]], abs=1e-6)
    server.stop()


def test_command_prints_tags_as_a_table_or_json(server, tmp_path):
    file = tone(tmp_path / "a.wav", 0.5)
    arguments = ["tag", "--server", server.address, str(file)]
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    line = json.loads(result.stdout)
    assert line["path"] == str(file)
    assert line["tags"] == pytest.approx(top_five(0.5), abs=2 * STEP)
    table = CliRunner().invoke(app, [*arguments, "--top", "2", "--model", "other"], catch_exceptions=False).stdout
    assert "0.500" in table and "loud" in table and "rock" not in table
    assert server.requests[-1][0] == "other"


def test_command_lists_broken_files_at_the_end(server, tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    files = [tmp_path / "text.wav", tone(tmp_path / "bad.wav", 0.99), tone(tmp_path / "good.wav", 0.5)]
    result = CliRunner().invoke(app, ["tag", "--json", "--server", server.address, *map(str, files)])
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["path"] for line in lines] == list(map(str, files))
    first, second = result.stderr.strip().splitlines()
    check_facts(first, f"{files[0]}: ", "decoded")
    assert second == f"{files[1]}: {TOO_LOUD}"
    assert [f"{line['path']}: {line['reason']}" for line in lines[:2]] == [first, second]


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["--server", "nonsense", "a.wav"], ("--server:", "'nonsense'", "HOST:PORT")),
        (["--server", "localhost:1", "--top", "6", "a.wav"], ("--top:", "found 6", " 5")),
        (["--server", "localhost:1", "none.wav"], ("none.wav:", "no such file")),
        (["--model", "x", "run", "a.wav"], ("--model:", "--server")),
        (["--timeout", "5", "run", "a.wav"], ("--timeout:", "--server")),
        (["--server", "", "a.wav"], ("--server:", "''", "HOST:PORT")),
        (["run"], ("tag:", " run,", "audio files")),
    ],
)
def test_mistakes_are_reported_in_one_line(tmp_path, monkeypatch, failure, arguments, facts):
    monkeypatch.chdir(tmp_path)
    tone(tmp_path / "a.wav", 0.5)
    line = failure("tag", *arguments)
    check_facts(line, *facts)
    assert line.startswith(facts[0])


def test_output_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    server = RestServer()
    command = [Path(sys.executable).with_name("genre-tagger"), "tag", "--server", server.address]
    command.append(tone(tmp_path / "é.wav", 0.5))
    environment = {**os.environ, "NO_PROXY": "*", "PYTHONIOENCODING": "ascii"}
    with Path("/dev/full").open("w") as full:
        processes = [
            subprocess.Popen([*command, *options], stdout=output, stderr=subprocess.PIPE, text=True, env=environment)
            for output, options in ((subprocess.PIPE, []), (full, ["--json"]))
        ]
        errors = [process.communicate(timeout=60)[1] for process in processes]
    server.stop()
    assert [process.returncode for process in processes] == [2, 2]
    assert [error.count("\n") for error in errors] == [1, 1]
    check_facts(
        errors[0], "genre-tagger: standard output:", r"'\xe9'", "ascii", "PYTHONIOENCODING=utf-8:surrogateescape"
    )
    check_facts(errors[1], "genre-tagger: standard output:", "No space left on device")
