"""Scripts that measure speed and memory and print a table.

They are not installed. Run them from the top of the repository.
"""

import os

# This must be set before TensorFlow is imported. It keeps TensorFlow's start-up messages out of the output.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
