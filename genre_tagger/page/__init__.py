"""One page in a browser: a song dropped on it plays under its tags over time. Built with Gradio."""

import os
from importlib.util import find_spec

from genre_tagger.errors import UserError

# Read by gradio and huggingface_hub when they are imported, so said before anything here imports them.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1")


def check_gradio() -> None:
    """Raises UserError where the package of the extra is not installed."""
    if find_spec("gradio") is None:
        raise UserError("demo: gradio is not installed; pip install 'genre-tagger[page]'")
