"""Packaging. `tuning/` and `export/` are at the top of the repository and are installed inside the package."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"', (HERE / "genre_tagger/__init__.py").read_text(), re.MULTILINE).group(1)

REQUIREMENTS = [
    # The last tensorflow-io has no wheel for Python 3.13 and cannot be loaded with TensorFlow 2.18 or later.
    "tensorflow>=2.17,<2.18; python_version < '3.13'",
    "tensorflow-io==0.37.1; python_version < '3.13'",
    "tensorflow>=2.21; python_version >= '3.13'",
    "keras>=3.12",
    "keras-tuner>=1.4.8,<1.5",  # tuning/ uses parts below its public interface to survive interruptions
    # The mel filter bank, pitch shifting and time stretching. 1.0 gives other samples for the last two
    # (findings/librosa_1_effects.sh), so both stacks stay below it.
    "librosa>=0.10.2,<1",
    "numpy>=1.26,<2; python_version < '3.13'",  # the limit of TensorFlow 2.17, stated here so that pip need not search
    "numpy>=1.26; python_version >= '3.13'",
    "scikit-learn>=1.4",  # exact metrics, the logistic-regression baseline, group splits
    "iterative-stratification>=0.1.9",  # assigns groups to splits with similar shares of every tag
    "tenacity>=8.2",  # retries requests and downloads, including the body, which urllib3's Retry does not
    "filelock>=4.1",  # keeps two commands from writing one directory
    "scipy>=1.11",  # the export's resampling filters, rank correlation of two versions
    "soundfile>=0.13",  # decodes MP3, FLAC, Ogg and WAV 5 times faster than tensorflow-io
    "soxr>=0.5",  # resamples 30 times faster than tensorflow-io
    "midirenderer==0.1.3",  # renders the demo's music; pinned, since its output is the demo
    "pretty_midi>=0.2.10",  # writes MIDI and contains the sound bank TimGM6mb.sf2
    "pydantic>=2.7",  # typed configuration that refuses unknown keys
    "packaging>=23",  # compares versions; Keras requires it too
    "pyyaml>=6",
    "typer>=0.29",  # the command line
    "rich>=13",  # tables and progress bars
    "pandas>=2.1,<3.1",
    "pyarrow>=15,<26; python_version < '3.13'",  # 26 needs NumPy 2, which TensorFlow 2.17 refuses
    "pyarrow>=15; python_version >= '3.13'",  # parquet
    "matplotlib>=3.8",
    "jinja2>=3.1",  # the HTML report and the browser page; escapes names of tags and files
    "tensorflow-serving-api>=2.17,<2.18; python_version < '3.13'",
    "tensorflow-serving-api>=2.21; python_version >= '3.13'",  # protos and gRPC stubs of the model server
    "requests>=2.31",  # downloads and the REST client; TensorFlow and KerasTuner require it too
    "tensorboard>=2.17,<2.18; python_version < '3.13'",
    "tensorboard>=2.17; python_version >= '3.13'",
]

PAGE = ["gradio>=6.31,<7"]  # `demo`; 6.31 is the oldest version that was tested
# `tag --runner ray`. Alone it would install NumPy 2, which the limits of NumPy, pandas and pyarrow above prevent.
RAY = ["ray[data]>=2.50"]

# The documentation site: MkDocs with the Material theme, and an API reference from the docstrings.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.30,<2"]

setup(
    name="genre-tagger",
    version=VERSION,
    description="Music tagging with a cascade WaveNet in parallel with a CNN: train, evaluate and tag from raw audio",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    # 3.14 follows when its TensorFlow is final.
    python_requires=">=3.10,<3.14",
    classifiers=[  # the versions that the tests run on
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.13",
    ],
    packages=[*find_packages(include=["genre_tagger", "genre_tagger.*"]), "genre_tagger.export", "genre_tagger.tuning"],
    package_dir={"genre_tagger.tuning": "tuning", "genre_tagger.export": "export"},
    package_data={
        "genre_tagger": ["py.typed"],
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
        "docs": DOCS,
        # xdist: runs the suite on two cores; playwright: tests in a browser, if chromium is installed
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "ruff==0.17.6",
            "jax==0.5.3; python_version < '3.13'",
            "playwright>=1.50",
            "import-linter>=2.5",
            "mypy>=1.18",
            "threadpoolctl>=3",
            "types-protobuf",
            "types-PyYAML",
            "types-requests",
            "pandas-stubs",
            *DOCS,
            *PAGE,
            *RAY,
        ],
    },
    entry_points={"console_scripts": ["genre-tagger=genre_tagger.commands.app:main"]},
)
