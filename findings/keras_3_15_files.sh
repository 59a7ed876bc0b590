#!/usr/bin/env bash
# Keras 3.15.1: Keras 3.12.4 cannot load a `.keras` file of a single Dense layer that Keras 3.15.1 saved. The file contains
# new arguments of the layer and its initializer although they are unset, and loading refuses unknown arguments. Expected:
# the file loads, because the model uses nothing new, and the guide to saving mentions no such limit:
# https://keras.io/guides/serialization_and_saving/
#
# Observed on 2026-11-28 on Python 3.11.7 with JAX 0.5.3: TypeError for `input_axes` of GlorotUniform and, reported last,
# `Unrecognized keyword arguments passed to Dense: {'quantization_config': None}`. The opposite direction works. Python
# 3.10 gets Keras 3.12, so it cannot open a run of genre_tagger that was trained on Python 3.11. `load_tagger` in
# genre_tagger/models/tagger.py therefore names both versions.
#
# The script needs Python 3.11 or later as `python3` or in $PYTHON. It takes about a minute.
set -euo pipefail
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KERAS_BACKEND=jax

cat >"$work/save.py" <<'PYTHON'
import sys

import keras

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
model.save(sys.argv[1])
print(f"saved by Keras {keras.__version__}")
PYTHON

cat >"$work/load.py" <<'PYTHON'
import sys

import keras

try:
    keras.models.load_model(sys.argv[1])
except TypeError as error:
    print(f"not loaded by Keras {keras.__version__}: {str(error).splitlines()[-1]}")
    sys.exit("quantization_config" not in str(error))
print(f"loaded by Keras {keras.__version__}")
sys.exit(3)
PYTHON

for version in 3.12.4 3.15.1; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/python" -m pip install -q --disable-pip-version-check "keras==$version" "numpy==1.26.4" "h5py==3.14.0" "scipy==1.15.3" "jax==0.5.3"
  "$work/$version/bin/python" "$work/save.py" "$work/$version.keras"
done

"$work/3.12.4/bin/python" "$work/load.py" "$work/3.15.1.keras"
code=0
"$work/3.15.1/bin/python" "$work/load.py" "$work/3.12.4.keras" || code=$?
[ "$code" = 3 ] || { echo "Keras 3.15.1 no longer loads files of 3.12.4" >&2; exit 1; }
echo "the behaviour is as described"
