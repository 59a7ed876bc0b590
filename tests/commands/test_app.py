"""The program: help, version, global options, errors and notes."""

import logging
import re
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest
from command_line import run_command
from facts import check_facts
from typer.main import get_group
from typer.testing import CliRunner, Result

from genre_tagger import __version__
from genre_tagger.commands.app import app, main
from genre_tagger.errors import FieldError, UserError
from genre_tagger.progress import progress

SOURCE = {"SOURCE", "--root", "--table", "--split", "--group", "--mirror", "--songs", "--data-seed"}
DATA = SOURCE | {"--data", "--workers"}
STREAM = {"--stream", "--no-stream"}
CONFIGURATION = {"--preset", "--config", "--set"}
START = {"--init", "--freeze"}
# The options and arguments of version 0.1.0, and the newer options `--init` and `--freeze` of `tune`.
OPTIONS = {
    "prepare": DATA | {"--sample-rate"},
    "train": DATA | STREAM | CONFIGURATION | START
    | {"--run", "--epochs", "--seed", "--precision", "--jit", "--no-jit"},
    "tune": DATA | STREAM | CONFIGURATION | START
    | {"--run", "--space", "--algorithm", "--objective", "--max-trials", "--minutes", "--max-parameters", "--max-flops"}
    | {"--executions-per-trial", "--train-best", "--no-train-best", "--chief", "--worker", "--give-up-seconds"},
    "compare": DATA | STREAM | {"--presets", "--set", "--run", "--seeds", "--epochs", "--minutes", "--reach"},
    "import": {"MODEL", "--wheel", "--run"},
    "evaluate": DATA | {"RUN", "--predictions", "--families", "--robustness", "--json"},
    "report": {"RUN", "--output"},
    "probe": DATA | {"RUN", "--families", "--json"},
    "tag": {"[MODEL] FILE_OR_FOLDER...", "--server", "--model", "--timeout", "--top", "--threshold", "--json"}
    | {"--csv", "--parquet", "--embeddings", "--taggram", "--runner", "--catalogue"},
    "demo": {"MODEL", "--host", "--port", "--max-megabytes", "--max-minutes"},
    "export": {"RUN", "DIR", "--name", "--objective", "--licence", "--against", "--limit", "--format", "--workers"},
    "serve": {"DIR", "--host", "--port", "--rest-port"},
}  # fmt: skip
FLAG = re.compile(r"(?<!\w)--[a-z][a-z-]*")


def names_of(command) -> set[str]:
    """Return the options and the names of the arguments of a command."""
    options = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    names = {argument.metavar or argument.name.upper() for argument in arguments}
    return {option for option in options if option.startswith("-")} | names


def test_every_command_has_its_options():
    assert {name: names_of(command) for name, command in get_group(app).commands.items()} == OPTIONS
    assert names_of(get_group(app)) == {"--version", "--debug"}


@pytest.mark.parametrize("name", OPTIONS)
def test_help_names_only_options_and_commands_that_exist(name):
    command = get_group(app).commands[name]
    texts = [command.help, *(parameter.help for parameter in command.params)]
    assert all(texts)
    assert {flag for text in texts for flag in FLAG.findall(text)} <= names_of(command)
    quoted = {words.removeprefix("genre-tagger ").split()[0] for text in texts for words in re.findall("`(.+?)`", text)}
    assert quoted <= set(OPTIONS)


@pytest.mark.parametrize("command", [[], *([command] for command in OPTIONS)])
def test_help_answers_without_anything_heavy(command):
    code = (
        "import sys; from genre_tagger.commands.app import app\n"
        f"try: app({[*command, '--help']!r})\n"
        "except SystemExit as ending: code = ending.code\n"
        "heavy = {'tensorflow', 'keras', 'librosa', 'sklearn', 'pandas', 'numpy', 'soundfile'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == 0, result.stderr
    assert "--help" in result.stdout
    # Processor time, because elapsed time also depends on what else the machine does.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_version_is_the_installed_one():
    assert run_command("--version").strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["train", "--preset", "smal"], ["--preset: ", "'smal'", "'small'"]),
        (["train", "--set", "model.wavnet.blocks=2"], ["'model.wavnet'", "wavenet"]),
        (["train", "--set", "training.alpha=loud"], ["'training.alpha'", "'loud'"]),
        (["train", "--set", "training.init=run"], ["'training.init'", "--init"]),
        (["train", "--set", "epochs"], ["--set: ", "'epochs'", "KEY=VALUE"]),
        (["train", "--preset", "small", "--config", "c.yaml"], ["--preset: ", "both"]),
        (["train", "--config", "none.yaml"], ["none.yaml: ", "No such file"]),
        (["train", "dmeo"], ["SOURCE: ", "'dmeo'", "demo, folder"]),
        (["train", "folder"], ["--root: ", "'folder'"]),
        (["train", "demo", "--root", "."], ["--root: ", "'demo'"]),
        (["train", "folder", "--root", ".", "--mirror", "http://x"], ["--mirror: ", "'folder'", "root, table, split"]),
        (["train", "folder", "--root", ".", "--split", "album"], ["--split: ", "'album'", "stratified"]),
        (["train", "folder", "--root", "nowhere"], ["nowhere: "]),
        (["train", "--workers", "0"], ["'--workers'", "--help"]),
        (["train", "--set", "frontend.fmax_hz=9000"], ["'frontend'", "6000 Hz"]),
        (["train", "--set", "frontend.n_fft=511"], ["'frontend.n_fft'", "511"]),
        (["train", "--set", "window.hop_seconds=1e-9"], ["'window'", "hop_seconds", "1e-9"]),
        (["train", "--set", "model.cnn=3"], ["'model.cnn'", "3", "section"]),
        (["train", "--set", "seed=99999999999"], ["'seed'", "99999999999"]),
        (["train", "--set", "model.cnn.pools=[[2,2]]"], ["'model.cnn'", "4 kernels", "1 pools"]),
        (["train", "--init", "nowhere"], ["nowhere: ", "config.yaml"]),
        (["train", "--init", "nowhere", "--preset", "small"], ["nowhere: ", "config.yaml"]),
        (["train", "--freeze", "cnn"], ["--freeze: ", "'cnn'", "init"]),
        (["compare", "--presets", " ,", "--epochs", "1"], ["--presets: ", "' ,'"]),
        (["tune", "--freeze", "cnn"], ["--freeze: ", "'cnn'", "init"]),
        (["probe", "nowhere", "demo"], ["nowhere: ", "config.yaml"]),
        (["evaluate", "run", "--split", "test"], ["--split: ", "--predictions"]),
        (["evaluate", "run", "--root", "music"], ["--root: ", "SOURCE"]),
        (["evaluate"], ["evaluate: ", "--predictions"]),
        (["evaluate", "nowhere"], ["nowhere: ", "config.yaml"]),
        (["evaluate", "--predictions", "none.parquet"], ["none.parquet"]),
        (["import", "vggish"], ["MODEL: ", "'vggish'", "musicnn"]),
        (["tag", "nowhere", "none.wav"], ["none.wav: "]),
        (["tag", "model", "a.wav", "--runner", "ray", "--json"], ["--json: ", "--runner ray"]),
        (["export", "run", "models", "--format", "tflite"], ["--format: ", "'tflite'", "onnx"]),
    ],
)
def test_errors_are_one_line(in_folder, failure, arguments, facts):
    check_facts(failure(*arguments), *facts)


@pytest.fixture
def end_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the program and returns its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["genre-tagger", *arguments])
        with pytest.raises(SystemExit) as ending:
            main()
        output = capsys.readouterr()
        return int(ending.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def prepare_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable], None]:
    """Return a function that replaces the function that the command `prepare` calls."""

    def install(function: Callable) -> None:
        monkeypatch.setattr("genre_tagger.dataset.prepare.prepare_source", function)

    return install


def raising(error: BaseException) -> Callable:
    def run(*_):
        raise error

    return run


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["--debug", "train", "--config", "none.yaml"], ""),
        (["train", "--config", "none.yaml"], "1"),
        (["train", "--config", "none.yaml"], "yes"),
    ],
)
def test_debugging_prints_the_traceback_with_its_cause(in_folder, end_of, monkeypatch, arguments, variable):
    monkeypatch.setenv("GENRE_TAGGER_DEBUG", variable)
    code, _, stderr = end_of(*arguments)
    cause, traceback = stderr.split("direct cause")
    assert code == 2
    check_facts(cause, "Traceback", "FileNotFoundError", "none.yaml")
    check_facts(traceback, "Traceback", "genre_tagger.errors.UserError", "load_config")
    assert stderr.splitlines()[-1].startswith("genre-tagger: none.yaml: ")


@pytest.mark.parametrize("variable", ["", "0", "no"])
def test_without_debugging_there_is_no_traceback(in_folder, end_of, monkeypatch, variable):
    monkeypatch.setenv("GENRE_TAGGER_DEBUG", variable)
    code, _, stderr = end_of("train", "--config", "none.yaml")
    (line,) = stderr.splitlines()
    assert code == 2 and line.startswith("genre-tagger: none.yaml: ")


def test_debugging_is_of_one_call(in_folder, end_of):
    assert "Traceback" in end_of("--debug", "train", "--config", "none.yaml")[2]
    assert "Traceback" not in end_of("train", "--config", "none.yaml")[2]


def test_a_fault_of_the_program_is_not_hidden(in_folder, end_of, prepare_by):
    prepare_by(raising(ZeroDivisionError("a fault")))
    with pytest.raises(ZeroDivisionError):
        end_of("prepare")


def test_an_error_may_have_line_breaks(in_folder, end_of, prepare_by):
    prepare_by(raising(UserError("tags.csv: found\n  two lines")))
    assert end_of("prepare")[::2] == (2, "genre-tagger: tags.csv: found two lines\n")


@pytest.mark.parametrize(
    ("field", "name"), [("root", "--root"), ("data_seed", "--data-seed"), ("source", "SOURCE"), ("sorting", "sorting")]
)
def test_a_field_is_printed_as_the_flag_of_the_command(in_folder, end_of, prepare_by, field, name):
    prepare_by(raising(FieldError(field, "found 3, expected 4")))
    assert end_of("--debug", "prepare")[2].splitlines()[-1] == f"genre-tagger: {name}: found 3, expected 4"


def test_the_same_field_has_the_name_that_its_command_has(in_folder, end_of, monkeypatch):
    failing = raising(FieldError("run", "found 3"))
    monkeypatch.setattr("genre_tagger.evaluation.evaluate.evaluate", failing)
    monkeypatch.setattr("genre_tagger.training.train.train_run", failing)
    assert end_of("evaluate", "3")[2] == "genre-tagger: RUN: found 3\n"
    assert end_of("train", "--run", "3")[2] == "genre-tagger: --run: found 3\n"


def test_an_interruption_is_one_line(in_folder, end_of, prepare_by):
    prepare_by(raising(KeyboardInterrupt()))
    code, _, stderr = end_of("prepare")
    (line,) = stderr.splitlines()
    assert code == 130 and line.startswith("genre-tagger: ")


def test_no_command_prints_the_help(end_of):
    code, stdout, stderr = end_of()
    assert code == 2
    check_facts(stdout + stderr, *OPTIONS)
    assert "genre-tagger: " not in stderr


def report_three_levels(*_: object) -> dict:
    """Log like the library, and report progress."""
    logger = logging.getLogger("genre_tagger.dataset")
    logger.debug("a detail")
    logger.info("clips [of] 2 tags")
    logger.warning("a broken [file]")
    with progress("checking files") as update:
        update(1, 2)
    return {}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_notes_are_on_standard_output_and_warnings_on_standard_error(in_folder, monkeypatch):
    monkeypatch.setattr("genre_tagger.evaluation.evaluate.evaluate", report_three_levels)
    monkeypatch.setattr("genre_tagger.commands.evaluate.print_metrics", lambda _: None)
    for options, details in (((), ()), (("--debug",), ("a detail",))):
        result = invoke(*options, "evaluate", "run")
        assert result.stdout.splitlines() == [*details, "clips [of] 2 tags"]
        assert "a broken [file]" in result.stderr.splitlines()
        check_facts(result.stderr, "checking files", "1/2")


def test_with_json_all_notes_are_on_standard_error(in_folder, monkeypatch):
    monkeypatch.setattr("genre_tagger.evaluation.evaluate.evaluate", report_three_levels)
    result = invoke("evaluate", "run", "--json")
    assert result.stdout == "{}\n"
    check_facts(result.stderr, "clips [of] 2 tags", "a broken [file]", "checking files")


def test_nothing_is_shown_after_a_command(in_folder, monkeypatch, capsys):
    monkeypatch.setattr("genre_tagger.evaluation.evaluate.evaluate", report_three_levels)
    invoke("evaluate", "run", "--json")
    report_three_levels()
    output = capsys.readouterr()
    assert "clips [of]" not in output.out + output.err and "checking files" not in output.err
