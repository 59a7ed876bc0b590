"""Starts TensorFlow Serving on a directory of exported models, or says how Docker does."""

import csv
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import yaml
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from genre_tagger.errors import UserError
from genre_tagger.export.serving_config import HEADER, PROMETHEUS_PATH, configuration, server_flags
from genre_tagger.files import replacing, storage_errors

PROGRAM = "tensorflow_model_server"
SOCKET_NAME = "grpc.sock"
SOCKET_PATH_BYTES = 107  # Linux' limit

IMAGE = "tensorflow/serving"
OLDEST_RELEASE = (2, 19, 1)  # of the image: reads the models of all releases before it
CONTAINER_ROOT = "/models"
CONTAINER_GRPC_PORT, CONTAINER_REST_PORT = 8500, 8501
COMPOSE_NAME = "compose.yaml"


@dataclass(frozen=True)
class Listening:
    """Where a server listens.

    Attributes:
        host: an address of this machine, or the unspecified one for all.
        grpc_port, rest_port: the ports.
    """

    host: IPv4Address | IPv6Address
    grpc_port: int
    rest_port: int

    @classmethod
    def at(cls, host: str, grpc_port: int, rest_port: int) -> "Listening":
        """Checks what a user asks for; raises UserError."""
        if grpc_port == rest_port:
            raise UserError(f"--rest-port: found {rest_port}, that of gRPC too; expected another one")
        return cls(address_of(host), grpc_port, rest_port)


def address_of(host: str) -> IPv4Address | IPv6Address:
    """What `--host` means; raises UserError."""
    try:
        return ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise UserError(
            f"--host: found {host!r}, expected an address of this machine (127.0.0.1, or 0.0.0.0 for all)"
        ) from None


@dataclass(frozen=True)
class Launch:
    """How a server is started, and what a user has to know of it.

    Attributes:
        command: program and arguments.
        installed: whether that program is here; else the command is for the user to run.
        files: what the server reads, by name.
        servers: addresses for `genre-tagger tag --server`.
        models: names of the models.
        note: what else to know.
    """

    command: list[str]
    installed: bool
    files: dict[str, str]
    servers: list[str]
    models: list[str]
    note: str


def prepare_server(directory: Path, listening: Listening, cores: int) -> Launch:
    """Writes the configuration files into a directory of models, and says how a server is started on them.

    Args:
        directory: holds NAME/VERSION/saved_model.pb, as `genre-tagger export` writes it.
        listening: where the server shall listen; at loopback or everywhere, if it is one installed here.
        cores: that the server has.

    Raises:
        UserError: no model there, an unwritable directory, an address that the server cannot listen on alone.
    """
    releases = {path.name: _release(versions_of(path)[-1]) for path in find_models(directory)}
    directory = directory.resolve()
    program = shutil.which(PROGRAM)
    if program:
        launch = _installed(program, directory, list(releases), listening, cores)
    else:
        launch = _container(directory, releases, listening, cores)
    with storage_errors(directory):
        for name, text in launch.files.items():
            with replacing(directory / name) as unfinished:
                unfinished.write_text(text, encoding="utf-8")
    return launch


def start_server(launch: Launch) -> None:
    """Becomes the server, so that signals and the exit code are its own; does not return.

    Raises:
        UserError: the program cannot be run.
    """
    try:
        os.execv(launch.command[0], launch.command)
    except OSError as error:
        raise UserError(f"{launch.command[0]}: cannot be run ({error.strerror})") from None


def find_models(directory: Path) -> list[Path]:
    """Folders of the models in a directory, by name.

    Raises:
        UserError: there is none.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory, expected one made by `genre-tagger export RUN DIR`")
    if versions_of(directory):
        raise UserError(f"{directory}: holds the versions of one model, expected the directory above it")
    models = sorted(path for path in directory.iterdir() if path.is_dir() and versions_of(path))
    if not models:
        raise UserError(
            f"{directory}: no exported model in it; expected NAME/VERSION/saved_model.pb, as `genre-tagger export` "
            "writes it"
        )
    return models


def versions_of(model: Path) -> list[Path]:
    """Folders of a model's versions, the newest last."""
    versions = [path.parent for path in model.glob("*/saved_model.pb") if path.parent.name.isdecimal()]
    return sorted(versions, key=lambda path: int(path.name))


def _release(version: Path) -> tuple[int, ...]:
    """The release of the TensorFlow that wrote a SavedModel."""
    path, saved = version / "saved_model.pb", SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
        release = saved.meta_graphs[0].meta_info_def.tensorflow_version
        return tuple(int(part) for part in release.split("-")[0].split("."))
    except (OSError, DecodeError, IndexError, ValueError):
        raise UserError(f"{path}: not a SavedModel; expected one made by `genre-tagger export`") from None


def _installed(program: str, directory: Path, models: Sequence[str], listening: Listening, cores: int) -> Launch:
    """The program has no flag for an address: it opens TCP ports on all of them, or a Unix socket and no port."""
    if listening.host.is_unspecified:
        servers = _servers("localhost", listening)
        flags = [f"--port={listening.grpc_port}", f"--rest_api_port={listening.rest_port}"]
        note = f"every machine that reaches this one can ask it; metrics: {servers[1]}{PROMETHEUS_PATH}"
    elif listening.host.is_loopback:
        servers = [f"unix:{_socket(directory)}"]
        flags = ["--port=0", f"--grpc_socket_path={_socket(directory)}", "--rest_api_port=0"]
        note = f"{PROGRAM} opens TCP ports to all machines or none: REST and metrics need --host 0.0.0.0, or Docker"
    else:
        raise UserError(
            f"--host: found {listening.host}, expected 127.0.0.1 or 0.0.0.0: {PROGRAM} cannot listen on one address of "
            "many"
        )
    files = configuration(directory, models, str(directory), cores)
    return Launch([program, *flags, *server_flags(str(directory), cores)], True, files, servers, list(models), note)


def _socket(directory: Path) -> str:
    path = str(directory / SOCKET_NAME)
    if (size := len(os.fsencode(path))) > SOCKET_PATH_BYTES:
        raise UserError(f"{path}: {size} bytes, expected {SOCKET_PATH_BYTES} at most for a socket: move DIR")
    return path


def _container(directory: Path, releases: dict[str, tuple[int, ...]], listening: Listening, cores: int) -> Launch:
    host = f"[{listening.host}]" if listening.host.version == 6 else str(listening.host)
    servers = _servers("localhost" if listening.host.is_unspecified else host, listening)
    image = f"{IMAGE}:{'.'.join(map(str, max(OLDEST_RELEASE, *releases.values())))}"
    ports = [
        f"{host}:{listening.grpc_port}:{CONTAINER_GRPC_PORT}",
        f"{host}:{listening.rest_port}:{CONTAINER_REST_PORT}",
    ]
    flags = server_flags(CONTAINER_ROOT, cores)
    command = ["docker", "run", "--rm", "-p", ports[0], "-p", ports[1], "--mount", _mount(directory), image, *flags]
    files = configuration(directory, list(releases), CONTAINER_ROOT, cores)
    files[COMPOSE_NAME] = HEADER + _compose(image, ports, flags)
    note = f"metrics: {servers[1]}{PROMETHEUS_PATH}"
    return Launch(command, False, files, servers, list(releases), note)


def _mount(directory: Path) -> str:
    """Docker reads this as CSV: a path with a comma in it is quoted."""
    text = io.StringIO()
    fields = ("type=bind", f"source={directory}", f"target={CONTAINER_ROOT}", "readonly")
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


def _servers(host: str, listening: Listening) -> list[str]:
    return [f"{host}:{listening.grpc_port}", f"http://{host}:{listening.rest_port}"]


def _compose(image: str, ports: list[str], flags: list[str]) -> str:
    """The same container for `docker compose up`, in the directory that it mounts."""
    service = {
        "image": image,
        "command": flags,
        "ports": ports,
        "volumes": [{"type": "bind", "source": ".", "target": CONTAINER_ROOT, "read_only": True}],
        "restart": "unless-stopped",
    }
    return yaml.safe_dump({"services": {"tagger": service}}, sort_keys=False)
