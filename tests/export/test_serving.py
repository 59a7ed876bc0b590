"""The configuration files of a server, parsed with its protos, and its start: by a fake program or by Docker."""

import csv
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from facts import check_facts, expect_error
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from genre_tagger.commands.app import main
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES
from genre_tagger.export.serving import Listening, prepare_server, start_server

CORES = 3
INT64, BOOL, STRING, MESSAGE = 3, 8, 9, 11  # FieldDescriptorProto.Type
WRAPPED = ".google.protobuf.Int64Value"


def message_class(name: str, fields: list[tuple]):
    """Return a message class as TensorFlow Serving's .proto files define it, if its Python package does not have it."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="upstream", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for message, its_fields in fields:
        described = file.message_type.add(name=message)
        for number, (field, kind, repeated, type_name) in enumerate(its_fields, 1):
            label = 3 if repeated else 1
            described.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"upstream.{name}"))


# session_bundle_config.proto and monitoring_config.proto of tensorflow/serving
BatchingParameters = message_class(
    "BatchingParameters",
    [
        (
            "BatchingParameters",
            [
                ("max_batch_size", MESSAGE, False, WRAPPED),
                ("batch_timeout_micros", MESSAGE, False, WRAPPED),
                ("max_enqueued_batches", MESSAGE, False, WRAPPED),
                ("num_batch_threads", MESSAGE, False, WRAPPED),
                ("thread_pool_name", MESSAGE, False, ".google.protobuf.StringValue"),
                ("allowed_batch_sizes", INT64, True, None),
                ("pad_variable_length_inputs", BOOL, False, None),
            ],
        )
    ],
)
MonitoringConfig = message_class(
    "MonitoringConfig",
    [
        ("PrometheusConfig", [("enable", BOOL, False, None), ("path", STRING, False, None)]),
        ("MonitoringConfig", [("prometheus_config", MESSAGE, False, ".upstream.PrometheusConfig")]),
    ],
)


def write_model(path: Path, tensorflow: str = "2.17.1") -> None:
    saved = SavedModel(saved_model_schema_version=1)
    saved.meta_graphs.add().meta_info_def.tensorflow_version = tensorflow
    path.mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(saved.SerializeToString())


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """A directory of two models, one with three versions, and of other folders. No server is on the PATH."""
    for version in ("2", "9", "10"):
        write_model(tmp_path / "models/rock" / version)
    write_model(tmp_path / "models/jazz, soul/1")
    write_model(tmp_path / "models/unfinished/.11.tmp")
    (tmp_path / "models/notes").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "models"


@pytest.fixture
def program(tmp_path) -> Path:
    """A tensorflow_model_server that writes its process id, log level and arguments to a file and awaits a signal."""
    path = tmp_path / "bin/tensorflow_model_server"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
        f"with open({str(tmp_path / 'started.tmp')!r}, 'w') as file:\n"
        "    json.dump([os.getpid(), os.environ.get('TF_CPP_MIN_LOG_LEVEL'), *sys.argv[1:]], file)\n"
        f"os.rename({str(tmp_path / 'started.tmp')!r}, {str(tmp_path / 'started')!r})\n"
        "signal.pause()\n"
    )
    path.chmod(0o755)
    return path


def prepared(directory: Path, host: str = "127.0.0.1", cores: int = CORES):
    return prepare_server(directory, Listening.at(host, 8500, 8501), cores)


def parsed(path: Path, message):
    return text_format.Parse(path.read_text(), message)


def test_models_config_lists_every_model_and_nothing_else(models):
    prepared(models)
    configs = parsed(models / "models.config", ModelServerConfig()).model_config_list.config
    assert [(config.name, config.base_path, config.model_platform) for config in configs] == [
        ("jazz, soul", "/models/jazz, soul", "tensorflow"),
        ("rock", "/models/rock", "tensorflow"),
    ]


def test_batching_allows_the_sizes_that_are_warmed_up_and_bounds_the_queue(models):
    prepared(models)
    batching = parsed(models / "batching.config", BatchingParameters())
    assert tuple(batching.allowed_batch_sizes) == ALLOWED_BATCH_SIZES
    assert batching.max_batch_size.value == max(ALLOWED_BATCH_SIZES)  # otherwise the server refuses to start
    assert batching.num_batch_threads.value == CORES
    assert CORES <= batching.max_enqueued_batches.value <= 10 * CORES
    assert batching.batch_timeout_micros.value == 2000
    assert not batching.pad_variable_length_inputs


def test_monitoring_is_for_prometheus(models):
    prepared(models)
    monitoring = parsed(models / "monitoring.config", MonitoringConfig()).prometheus_config
    assert (monitoring.enable, monitoring.path) == (True, "/monitoring/prometheus/metrics")


def test_version_policies_and_labels_are_kept(models):
    prepared(models)
    text = (models / "models.config").read_text()
    mine = 'model_version_policy { specific { versions: 9 versions: 10 } }\nversion_labels { key: "stable" value: 9 }\n'
    (models / "models.config").write_text(text.replace('name: "rock"', f'name: "rock"\n{mine}'))
    write_model(models / "blues/1")
    prepared(models)
    blues, _, rock = parsed(models / "models.config", ModelServerConfig()).model_config_list.config
    assert blues.name == "blues"
    assert list(rock.model_version_policy.specific.versions) == [9, 10]
    assert dict(rock.version_labels) == {"stable": 9}


def test_docker_publishes_on_loopback_and_mounts_the_models_for_reading(models):
    launch = prepared(models)
    command = launch.command
    assert command[:3] == ["docker", "run", "--rm"]
    assert [value for flag, value in pairwise(command) if flag == "-p"] == [
        "127.0.0.1:8500:8500",
        "127.0.0.1:8501:8501",
    ]
    assert f"type=bind,source={models},target=/models,readonly" in command
    flags = dict(
        part.removeprefix("--").split("=", 1) for part in command[command.index("tensorflow/serving:2.19.1") + 1 :]
    )
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        assert (models / Path(flags[name]).relative_to("/models")).is_file()
    assert flags["enable_batching"] == flags["allow_version_labels_for_unavailable_models"] == "true"
    assert launch.servers == ["127.0.0.1:8500", "http://127.0.0.1:8501"]


@pytest.mark.parametrize("cores", [1, 4, 64])
def test_server_accepts_more_requests_than_queue_and_workers_of_a_signature_hold(models, cores):
    """Each request of one clip occupies a thread. With fewer threads, batches would stay small and no request would
    ever be rejected because the queue is full.
    """
    command = prepared(models, cores=cores).command
    batching = parsed(models / "batching.config", BatchingParameters())
    held = (batching.max_enqueued_batches.value + batching.num_batch_threads.value) * batching.max_batch_size.value
    (grpc,), (rest,) = (
        [int(flag.partition("=")[2]) for flag in command if flag.startswith(f"--{name}=")]
        for name in ("grpc_max_threads", "rest_api_num_threads")
    )
    assert grpc == rest == 1024 if cores == 64 else grpc == rest > held


def test_a_comma_in_the_path_is_quoted_for_docker(tmp_path, models):
    write_model(tmp_path / "rock, jazz/tagger/1")
    mount = prepared(tmp_path / "rock, jazz").command[8]
    assert next(csv.reader([mount])) == ["type=bind", f"source={tmp_path}/rock, jazz", "target=/models", "readonly"]


def test_compose_file_starts_the_same_container_as_the_command(models):
    command = prepared(models, "0.0.0.0").command
    (service,) = yaml.safe_load((models / "compose.yaml").read_text())["services"].values()
    image = command.index(service["image"])
    assert service["command"] == command[image + 1 :]
    assert service["ports"] == ["0.0.0.0:8500:8500", "0.0.0.0:8501:8501"]
    assert service["volumes"] == [{"type": "bind", "source": ".", "target": "/models", "read_only": True}]


@pytest.mark.parametrize(
    ("written_by", "image"),
    [("2.17.1", "2.19.1"), ("2.19.0", "2.19.1"), ("2.21.0", "2.21.0"), ("2.100.0-rc1", "2.100.0")],
)
def test_image_is_not_older_than_the_tensorflow_of_the_newest_model(models, written_by, image):
    write_model(models / "rock/11", written_by)
    assert f"tensorflow/serving:{image}" in prepared(models).command


def test_kubernetes_example_of_the_guide_starts_the_same_server(models):
    guide = (Path(__file__).parents[2] / "docs/serving.md").read_text(encoding="utf-8")
    deployment, service = yaml.safe_load_all(re.search(r"```yaml\n(.*?)```", guide, re.DOTALL)[1])
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command = prepared(models, cores=int(container["resources"]["limits"]["cpu"])).command
    image = command.index(container["image"])
    assert container["args"] == command[image + 1 :]
    assert [port["port"] for port in service["spec"]["ports"]] == [8500, 8501]


def test_ipv6_address(models):
    launch = prepared(models, "::1")
    assert "[::1]:8500:8500" in launch.command
    assert launch.servers[1] == "http://[::1]:8501"


def test_installed_program_listens_only_on_a_socket_of_this_machine(models, program):
    launch = prepared(models, "localhost")
    assert launch.command[0] == str(program)
    assert "--port=0" in launch.command and "--rest_api_port=0" in launch.command
    assert f"--grpc_socket_path={models}/grpc.sock" in launch.command
    assert launch.servers == [f"unix:{models}/grpc.sock"]
    assert f"--model_config_file={models}/models.config" in launch.command
    rock = parsed(models / "models.config", ModelServerConfig()).model_config_list.config[1]
    assert rock.base_path == f"{models}/rock"
    assert not (models / "compose.yaml").exists()


def test_installed_program_opens_ports_for_all_addresses(models, program):
    launch = prepared(models, "0.0.0.0")
    assert "--port=8500" in launch.command and "--rest_api_port=8501" in launch.command
    assert launch.servers == ["localhost:8500", "http://localhost:8501"]


def test_installed_program_cannot_listen_on_a_single_address(models, program):
    with expect_error("host:", "192.168.1.5", "127.0.0.1", "0.0.0.0"):
        prepared(models, "192.168.1.5")
    assert not (models / "models.config").exists()


def test_socket_path_that_is_too_long_is_refused(tmp_path, models, program):
    deep = tmp_path / ("d" * 100)
    write_model(deep / "rock/1")
    with expect_error(deep / "grpc.sock", len(str(deep / "grpc.sock")), 107):
        prepared(deep)


def test_command_becomes_the_program_and_signals_reach_it(tmp_path, models, program, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    command = [Path(sys.executable).with_name("genre-tagger"), "serve", models]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    pid, log_level, *arguments = json.loads((tmp_path / "started").read_text())
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert (pid, process.returncode) == (process.pid, 7)
    assert log_level is None  # TensorFlow is silent in the commands of this package, but the server logs
    assert shlex.join([str(program), *arguments]) in output
    assert f"genre-tagger tag --server unix:{models}/grpc.sock --model rock FILE..." in output


def test_command_prints_the_docker_command_without_the_program(models, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["genre-tagger", "serve", str(models), "--host", "0.0.0.0", "--port", "9000"])
    with pytest.raises(SystemExit) as ending:
        main()
    assert not ending.value.code
    output = capsys.readouterr().out
    (line,) = (line for line in output.splitlines() if line.startswith("  docker"))
    assert "0.0.0.0:9000:8500" in shlex.split(line)
    assert "genre-tagger tag --server localhost:9000 --model 'jazz, soul' FILE..." in output
    assert (models / "compose.yaml").exists()


def breaks_nothing(models: Path) -> None:
    pass


def damages_a_model(models: Path) -> None:
    (models / "rock/10/saved_model.pb").write_bytes(b"\xff" * 40)


def empties_a_model(models: Path) -> None:
    (models / "rock/10/saved_model.pb").write_bytes(b"")


def damages_the_configuration(models: Path) -> None:
    (models / "models.config").write_text("model_config_list {")


@pytest.mark.parametrize(
    ("harm", "arguments", "facts"),
    [
        (breaks_nothing, ["nowhere"], ("nowhere:", "genre-tagger export")),
        (breaks_nothing, ["models/notes"], ("models/notes:", "NAME/VERSION/saved_model.pb")),
        (breaks_nothing, ["models/rock"], ("models/rock:", "versions", "directory above")),
        (breaks_nothing, ["models", "--host", "example.org"], ("--host:", "'example.org'")),
        (breaks_nothing, ["models", "--port", "8501"], ("--rest-port:", "8501")),
        (damages_a_model, ["models"], ("models/rock/10/saved_model.pb:", "SavedModel")),
        (empties_a_model, ["models"], ("models/rock/10/saved_model.pb:", "SavedModel")),
        (damages_the_configuration, ["models"], ("models/models.config:",)),
    ],
)
def test_mistakes_are_reported_in_one_line_and_nothing_is_written(
    tmp_path, models, monkeypatch, failure, harm, arguments, facts
):
    harm(models)
    monkeypatch.chdir(tmp_path)
    check_facts(failure("serve", *arguments), *facts)
    assert not (models / "batching.config").exists()


def test_directory_that_cannot_be_written_is_reported(models, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "write_text", refuse)
    with expect_error(f"{models}:", "Permission denied"):
        prepared(models)


def test_program_that_cannot_be_run_is_reported(models, program):
    launch = prepared(models)
    program.write_bytes(b"")
    with expect_error(f"{program}:", "Exec format error"):
        start_server(launch)
