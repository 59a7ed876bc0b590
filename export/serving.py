"""Start TensorFlow Serving on a directory of exported models, or prepare the Docker command that starts it."""

import csv
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import yaml

from genre_tagger.errors import FieldError, UserError
from genre_tagger.export.exported_version import ExportedVersion
from genre_tagger.export.serving_config import HEADER, PROMETHEUS_PATH, configuration, server_flags
from genre_tagger.files import storage_errors, write_text

PROGRAM = "tensorflow_model_server"
SOCKET_NAME = "grpc.sock"
SOCKET_PATH_BYTES = 107  # limit of Linux

IMAGE = "tensorflow/serving"
OLDEST_RELEASE = (2, 19, 1)  # oldest release of the image that is used; it reads the models of all earlier releases
CONTAINER_ROOT = "/models"
CONTAINER_GRPC_PORT, CONTAINER_REST_PORT = 8500, 8501
COMPOSE_NAME = "compose.yaml"


@dataclass(frozen=True)
class Listening:
    """The address and ports on which a server listens.

    Attributes:
        host: an address of this machine, or the unspecified address for all of them.
        grpc_port: TCP port of gRPC.
        rest_port: TCP port of REST and metrics.
    """

    host: IPv4Address | IPv6Address
    grpc_port: int
    rest_port: int

    @classmethod
    def at(cls, host: str, grpc_port: int, rest_port: int) -> "Listening":
        """Check the values that a user gave, and return the address and ports.

        Args:
            host: an IP address or `localhost`.
            grpc_port: TCP port of gRPC.
            rest_port: TCP port of REST and metrics.

        Raises:
            FieldError: the host is not an IP address, or both ports are the same.
        """
        if grpc_port == rest_port:
            raise FieldError("rest_port", f"found {rest_port}, which is also the port of gRPC; expected another port")
        return cls(address_of(host), grpc_port, rest_port)


def address_of(host: str) -> IPv4Address | IPv6Address:
    """Return the IP address of a host, which is an IP address or `localhost`; raise FieldError for any other text."""
    try:
        return ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise FieldError(
            "host", f"found {host!r}, expected an address of this machine (127.0.0.1, or 0.0.0.0 for all)"
        ) from error


@dataclass(frozen=True)
class Launch:
    """How a server is started, and what is printed about it.

    Attributes:
        command: program and arguments.
        installed: whether the program is installed. If not, the user has to run the command.
        files: text of each configuration file, by file name.
        servers: addresses for `genre-tagger tag --server`.
        models: names of the models.
        note: further information for the user.
    """

    command: list[str]
    installed: bool
    files: dict[str, str]
    servers: list[str]
    models: list[str]
    note: str


def prepare_server(directory: Path, listening: Listening, cores: int) -> Launch:
    """Write the configuration files into a directory of models, and return how to start a server on them.

    Args:
        directory: directory with NAME/VERSION/saved_model.pb, as `genre-tagger export` writes it.
        listening: address and ports of the server. An installed server can only listen on loopback or on all addresses.
        cores: number of cores of the server.

    Raises:
        UserError: the directory has no models or cannot be written, its `models.config` or a SavedModel cannot be read,
            the path of the socket is too long, or the server cannot listen on that address alone.
    """
    releases = {path.name: ExportedVersion.all_in(path)[-1].release for path in find_models(directory)}
    directory = directory.resolve()
    program = shutil.which(PROGRAM)
    if program:
        launch = _installed(program, directory, list(releases), listening, cores)
    else:
        launch = _container(directory, releases, listening, cores)
    with storage_errors(directory):
        for name, text in launch.files.items():
            write_text(directory / name, text)
    return launch


def start_server(launch: Launch) -> None:
    """Replace this process with the server, so that signals reach the server and the exit code is the server's.

    Args:
        launch: the command to run; its program must be installed.

    Raises:
        UserError: the program cannot be run.
    """
    try:
        os.execv(launch.command[0], launch.command)
    except OSError as error:
        raise UserError(f"{launch.command[0]}: cannot be run ({error.strerror})") from error


def find_models(directory: Path) -> list[Path]:
    """Return the folders of the models in a directory, sorted by name.

    Args:
        directory: directory with NAME/VERSION/saved_model.pb.

    Raises:
        UserError: the directory does not exist, has no model or is the folder of a single model.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory, expected one made by `genre-tagger export RUN DIR`")
    if ExportedVersion.all_in(directory):
        raise UserError(f"{directory}: found the versions of one model, expected the directory above it")
    models = sorted(path for path in directory.iterdir() if path.is_dir() and ExportedVersion.all_in(path))
    if not models:
        raise UserError(
            f"{directory}: found no exported model, expected NAME/VERSION/saved_model.pb, as `genre-tagger export` "
            "writes it"
        )
    return models


def _installed(program: str, directory: Path, models: Sequence[str], listening: Listening, cores: int) -> Launch:
    """Return how to start the installed program.

    The program has no flag for an address. It opens its TCP ports on all addresses, or a Unix socket and no port.
    """
    if listening.host.is_unspecified:
        servers = _servers("localhost", listening)
        flags = [f"--port={listening.grpc_port}", f"--rest_api_port={listening.rest_port}"]
        note = f"every machine on the network can send it requests; metrics: {servers[1]}{PROMETHEUS_PATH}"
    elif listening.host.is_loopback:
        servers = [f"unix:{_socket(directory)}"]
        flags = ["--port=0", f"--grpc_socket_path={_socket(directory)}", "--rest_api_port=0"]
        note = (
            f"{PROGRAM} can open TCP ports only on all addresses of this machine, so REST and metrics need "
            "--host 0.0.0.0 or Docker"
        )
    else:
        raise FieldError(
            "host",
            f"found {listening.host}, expected 127.0.0.1 or 0.0.0.0: {PROGRAM} cannot listen on a single address",
        )
    files = configuration(directory, models, str(directory), cores)
    return Launch([program, *flags, *server_flags(str(directory), cores)], True, files, servers, list(models), note)


def _socket(directory: Path) -> str:
    path = str(directory / SOCKET_NAME)
    if (size := len(os.fsencode(path))) > SOCKET_PATH_BYTES:
        raise UserError(
            f"{path}: found {size} bytes, expected at most {SOCKET_PATH_BYTES} for the path of a socket; shorten DIR"
        )
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
    """Return the value of `--mount`. Docker reads it as CSV, so a path that contains a comma is quoted."""
    text = io.StringIO()
    fields = ("type=bind", f"source={directory}", f"target={CONTAINER_ROOT}", "readonly")
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


def _servers(host: str, listening: Listening) -> list[str]:
    return [f"{host}:{listening.grpc_port}", f"http://{host}:{listening.rest_port}"]


def _compose(image: str, ports: list[str], flags: list[str]) -> str:
    """Return a Compose file for the same container. It is written into the directory that it mounts."""
    service = {
        "image": image,
        "command": flags,
        "ports": ports,
        "volumes": [{"type": "bind", "source": ".", "target": CONTAINER_ROOT, "read_only": True}],
        "restart": "unless-stopped",
    }
    return yaml.safe_dump({"services": {"tagger": service}}, sort_keys=False)
