"""Packaging of genre_tagger; `tuning/` and `export/` lie at the top and install inside the package."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "genre_tagger/__init__.py").read_text(), re.MULTILINE).group(1)

REQUIREMENTS = [
    # The last tensorflow-io has no wheel for Python 3.13 and does not load beside TensorFlow 2.18 or later.
    "tensorflow>=2.17,<2.18; python_version < '3.13'",
    "tensorflow-io==0.37.1; python_version < '3.13'",
    "tensorflow>=2.21; python_version >= '3.13'",
    "keras>=3.12",
    "keras-tuner>=1.4.8,<1.5",  # tuning/ reaches below its public surface for what survives a kill
    "librosa>=0.10.2",  # the mel filter bank
    "numpy>=1.26,<2; python_version < '3.13'",  # TensorFlow 2.17's own limit, said here so that pip need not search
    "numpy>=1.26; python_version >= '3.13'",
    "scikit-learn>=1.4",  # exact metrics, the logistic-regression floor, group splits
    "iterative-stratification>=0.1.9",  # deals groups to splits with alike shares of every tag
    "tenacity>=8.2",  # tries a download again, its body too, which urllib3's own Retry leaves out
    "scipy>=1.11",  # the export's resampling filters, rank correlation of two versions
    "soundfile>=0.13",  # decodes MP3, FLAC, Ogg and WAV 5 times faster than tensorflow-io
    "soxr>=0.5",  # resamples 30 times faster than tensorflow-io
    "midirenderer==0.1.3",  # renders the demo's music; pinned, since its bytes are the demo's
    "pretty_midi>=0.2.10",  # writes MIDI and ships the sound bank TimGM6mb.sf2
    "pydantic>=2.7",  # typed configuration that refuses unknown keys
    "pyyaml>=6",
    "typer>=0.29",  # the command line
    "rich>=13",  # tables and progress bars
    "pandas>=2.1,<3.1",
    "pyarrow>=15,<26; python_version < '3.13'",  # 26 needs NumPy 2, which TensorFlow 2.17 refuses
    "pyarrow>=15; python_version >= '3.13'",  # parquet
    "matplotlib>=3.8",
    "jinja2>=3.1",  # the page of `report`; escapes whatever tags and files are called
    "tensorflow-serving-api>=2.17,<2.18; python_version < '3.13'",
    "tensorflow-serving-api>=2.21; python_version >= '3.13'",  # protos and gRPC stubs of the model server
    "requests>=2.31",  # downloads, the client's REST; TensorFlow and KerasTuner bring it anyway
    "tensorboard>=2.17,<2.18; python_version < '3.13'",
    "tensorboard>=2.17; python_version >= '3.13'",
]

PAGE = ["gradio>=6.31,<7"]  # `demo`; 6.31 is the oldest that was tried
# `tag --runner ray`. Alone it would install NumPy 2; the limits of NumPy, pandas and pyarrow above keep that out.
RAY = ["ray[data]>=2.50"]

setup(
    name="genre-tagger",
    version=VERSION,
    description="Music tagging with a cascade WaveNet in parallel with a CNN: train, evaluate and tag from raw audio",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[
        "genre_tagger",
        "genre_tagger.cli",
        "genre_tagger.console",
        "genre_tagger.data",
        "genre_tagger.data.demo",
        "genre_tagger.data.magnatagatune",
        "genre_tagger.evaluation",
        "genre_tagger.evaluation.robustness",
        "genre_tagger.export",
        "genre_tagger.models",
        "genre_tagger.page",
        "genre_tagger.presets",
        "genre_tagger.reporting",
        "genre_tagger.tagging",
        "genre_tagger.training",
        "genre_tagger.tuning",
    ],
    package_dir={"genre_tagger.tuning": "tuning", "genre_tagger.export": "export"},
    package_data={
        "genre_tagger.presets": ["*.yaml", "*.tsv"],
        "genre_tagger.evaluation": ["*.tsv"],
        "genre_tagger.page": ["*.css", "*.js", "*.jinja"],
        "genre_tagger.reporting": ["*.css", "*.js", "*.jinja"],
        "genre_tagger.tuning": ["spaces/*.yaml"],
    },
    install_requires=REQUIREMENTS,
    extras_require={
        "gpu": ["tensorflow[and-cuda]"],
        "onnx": ["tf2onnx>=1.17", "onnx==1.18.0", "onnxruntime>=1.20"],  # tf2onnx 1.17 fails with a later onnx
        "page": PAGE,
        "ray": RAY,
        # xdist: the suite on two cores at once; playwright: pages in a browser, where chromium is installed
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff==0.17.6",
            "jax==0.5.3; python_version < '3.13'",
            "playwright>=1.50",
            *PAGE,
            *RAY,
        ],
    },
    entry_points={"console_scripts": ["genre-tagger=genre_tagger.cli:main"]},
)
