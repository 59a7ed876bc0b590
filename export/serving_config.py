"""TensorFlow Serving's configuration files for models, batching and monitoring, in the protobuf text format."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from genre_tagger.errors import UserError
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES

HEADER = "# Written by `genre-tagger serve`, which overwrites it on every start.\n"
MODELS_NAME, BATCHING_NAME, MONITORING_NAME = "models.config", "batching.config", "monitoring.config"

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"
CONFIG_POLL_SECONDS = 10
REST_TIMEOUT_SECONDS = 60  # equal to the timeout of the client
BATCH_WAIT_SECONDS = 0.002  # short compared with the time to score a clip, which is tens of milliseconds
QUEUED_BATCHES_PER_THREAD = 2  # it is better to reject a request than to let it wait for more than two full batches
MAX_THREADS = 1024


def server_flags(root: str, cores: int) -> list[str]:
    """Return the flags with which a server reads the configuration files and accepts enough requests for its queues.

    Args:
        root: directory of the configuration files, as the server sees it.
        cores: number of cores of the server.
    """
    # A request occupies a thread while it waits. With the default of four threads per core, batches would never fill,
    # and REST would hold the excess requests in an unbounded queue instead of rejecting them.
    batches = cores * (1 + QUEUED_BATCHES_PER_THREAD + 1)  # running, queued, and about to be rejected
    threads = min(batches * ALLOWED_BATCH_SIZES[-1], MAX_THREADS)
    return [
        f"--model_config_file={root}/{MODELS_NAME}",
        f"--model_config_file_poll_wait_seconds={CONFIG_POLL_SECONDS}",
        # Without this flag the server does not start with labels, because no version is loaded yet.
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={root}/{BATCHING_NAME}",
        f"--monitoring_config_file={root}/{MONITORING_NAME}",
        f"--rest_api_timeout_in_ms={REST_TIMEOUT_SECONDS * 1000}",
        f"--grpc_max_threads={threads}",
        f"--rest_api_num_threads={threads}",
    ]


def configuration(directory: Path, models: Sequence[str], root: str, cores: int) -> dict[str, str]:
    """Return the text of each configuration file, by file name.

    Args:
        directory: directory of the models. A model that its `models.config` already lists keeps its version policy and
            labels.
        models: names of the models.
        root: the same directory, as the server sees it.
        cores: number of cores of the server.

    Raises:
        UserError: an existing `models.config` cannot be read.
    """
    return {
        MODELS_NAME: _models(directory / MODELS_NAME, models, root),
        BATCHING_NAME: HEADER + _batching(cores),
        MONITORING_NAME: HEADER + _monitoring(),
    }


def _models(path: Path, models: Sequence[str], root: str) -> str:
    existing = {config.name: config for config in _read_models(path).model_config_list.config}
    result = ModelServerConfig()
    for name in models:
        config = result.model_config_list.config.add()
        if name in existing:
            config.CopyFrom(existing[name])
        config.name, config.base_path, config.model_platform = name, f"{root}/{name}", "tensorflow"
    note = "# You can edit the version policy and labels of a model; they are kept.\n"
    return HEADER + note + text_format.MessageToString(result, as_utf8=True)


def _read_models(path: Path) -> ModelServerConfig:
    config = ModelServerConfig()
    if not path.exists():
        return config
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fix or remove it") from error


def _batching(cores: int) -> str:
    """Return a BatchingParameters proto as text; tensorflow-serving-api does not include its class."""
    sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in ALLOWED_BATCH_SIZES)
    return (
        f"max_batch_size {{ value: {ALLOWED_BATCH_SIZES[-1]} }}\n"
        f"batch_timeout_micros {{ value: {round(BATCH_WAIT_SECONDS * 1e6)} }}\n"
        f"max_enqueued_batches {{ value: {QUEUED_BATCHES_PER_THREAD * cores} }}\n"
        f"num_batch_threads {{ value: {cores} }}\n"
        f"{sizes}"
    )


def _monitoring() -> str:
    """Return a MonitoringConfig proto as text; tensorflow-serving-api does not include its class."""
    return f'prometheus_config {{ enable: true path: "{PROMETHEUS_PATH}" }}\n'
