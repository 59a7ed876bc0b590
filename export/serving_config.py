"""TensorFlow Serving's configuration files, as text-format protobuf: models, batching, monitoring."""

from collections.abc import Sequence
from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from genre_tagger.errors import UserError
from genre_tagger.export.contract import ALLOWED_BATCH_SIZES

HEADER = "# Written by `genre-tagger serve`, and again each time.\n"
MODELS_NAME, BATCHING_NAME, MONITORING_NAME = "models.config", "batching.config", "monitoring.config"

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"
CONFIG_POLL_SECONDS = 10
REST_TIMEOUT_SECONDS = 60  # the client's own
BATCH_WAIT_SECONDS = 0.002  # little beside the tens of milliseconds that a clip takes
QUEUED_BATCHES_PER_THREAD = 2  # what has to wait for more than two full batches had better be refused at once
MAX_THREADS = 1024


def server_flags(root: str, cores: int) -> list[str]:
    """The flags that make a server read the files in a folder of its own, and let enough requests in for its queues."""
    # A request holds a thread while it waits. By default there are four a core: batches would never fill, and REST
    # would park what is too much, without a bound, where nothing finds the queue full and is refused.
    batches = cores * (1 + QUEUED_BATCHES_PER_THREAD + 1)  # at work, queued, and still to be told that it is full
    threads = min(batches * ALLOWED_BATCH_SIZES[-1], MAX_THREADS)
    return [
        f"--model_config_file={root}/{MODELS_NAME}",
        f"--model_config_file_poll_wait_seconds={CONFIG_POLL_SECONDS}",
        "--allow_version_labels_for_unavailable_models=true",  # else no start with labels: nothing is loaded yet
        "--enable_batching=true",
        f"--batching_parameters_file={root}/{BATCHING_NAME}",
        f"--monitoring_config_file={root}/{MONITORING_NAME}",
        f"--rest_api_timeout_in_ms={REST_TIMEOUT_SECONDS * 1000}",
        f"--grpc_max_threads={threads}",
        f"--rest_api_num_threads={threads}",
    ]


def configuration(directory: Path, models: Sequence[str], root: str, cores: int) -> dict[str, str]:
    """The files, by name.

    Args:
        directory: where they lie; a model that is in its `models.config` keeps its version policy and labels.
        models: names of the models.
        root: the directory as the server sees it.
        cores: that the server has.

    Raises:
        UserError: there is a `models.config` that cannot be read.
    """
    return {
        MODELS_NAME: _models(directory / MODELS_NAME, models, root),
        BATCHING_NAME: HEADER + _batching(cores),
        MONITORING_NAME: HEADER + _monitoring(),
    }


def _models(path: Path, models: Sequence[str], root: str) -> str:
    there = {config.name: config for config in _read_models(path).model_config_list.config}
    result = ModelServerConfig()
    for name in models:
        config = result.model_config_list.config.add()
        if name in there:
            config.CopyFrom(there[name])
        config.name, config.base_path, config.model_platform = name, f"{root}/{name}", "tensorflow"
    note = "# A model's version policy and labels are yours to edit: they are kept.\n"
    return HEADER + note + text_format.MessageToString(result, as_utf8=True)


def _read_models(path: Path) -> ModelServerConfig:
    config = ModelServerConfig()
    if not path.exists():
        return config
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UserError(f"{path}: cannot be read ({error}); mend or remove it") from None


def _batching(cores: int) -> str:
    """BatchingParameters, a proto that tensorflow-serving-api leaves out."""
    sizes = "".join(f"allowed_batch_sizes: {size}\n" for size in ALLOWED_BATCH_SIZES)
    return (
        f"max_batch_size {{ value: {ALLOWED_BATCH_SIZES[-1]} }}\n"
        f"batch_timeout_micros {{ value: {round(BATCH_WAIT_SECONDS * 1e6)} }}\n"
        f"max_enqueued_batches {{ value: {QUEUED_BATCHES_PER_THREAD * cores} }}\n"
        f"num_batch_threads {{ value: {cores} }}\n"
        f"{sizes}"
    )


def _monitoring() -> str:
    """MonitoringConfig, a proto that tensorflow-serving-api leaves out."""
    return f'prometheus_config {{ enable: true path: "{PROMETHEUS_PATH}" }}\n'
