"""Speed and memory, measured: scripts that print a table. Not installed, and run from the top of the repository."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: its greetings are no result
