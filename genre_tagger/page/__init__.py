"""The browser page of `genre-tagger demo`: drop a song and see its tags over time while it plays. Built with Gradio."""

import os
from importlib.util import find_spec

from genre_tagger.errors import UserError

# gradio and huggingface_hub read these when they are imported, so they are set before that.
os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1")


def check_gradio() -> None:
    """Check that Gradio is installed.

    Raises:
        UserError: Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise UserError("demo: gradio is not installed; install it with `pip install 'genre-tagger[page]'`")
