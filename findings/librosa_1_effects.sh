#!/usr/bin/env bash
# librosa 1.0.0: `effects.time_stretch` and `effects.pitch_shift` return different samples from 0.11.0 for the same
# arguments, and warn about parameters that the caller did not pass. Expected: equal results up to rounding, because the
# documentation of 1.0 mentions no change of the result:
# https://librosa.org/doc/latest/generated/librosa.effects.time_stretch.html
#
# Observed on 2026-11-28 on Python 3.13.0 with NumPy 2.3.5, for a sine of amplitude 0.5: the largest difference is 0.036
# after stretching and 0.282 after shifting by a semitone. 1.0.0 gives four warnings, 0.11.0 none. Measurements that
# perturb audio with these functions differ between the versions, so genre_tagger requires librosa below 1.0.
#
# The script needs Python 3.13 as `python3.13` or in $PYTHON. It takes about two minutes.
set -euo pipefail
python=${PYTHON:-python3.13}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/stretch.py" <<'PYTHON'
import sys
import warnings

import librosa
import numpy as np

sine = 0.5 * np.sin(2 * np.pi * 440 * np.arange(12_000) / 12_000).astype(np.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    stretched = librosa.effects.time_stretch(sine, rate=1.1)
    shifted = librosa.effects.pitch_shift(sine, sr=12_000, n_steps=1)
about_parameters = [one for one in caught if "deprecated" in str(one.message)]
print(f"librosa {librosa.__version__}: {len(about_parameters)} warnings about deprecated parameters")
np.savez(sys.argv[1], stretched=stretched, shifted=shifted, warnings=len(about_parameters))
PYTHON

for version in 0.11.0 1.0.0; do
  "$python" -m venv "$work/$version"
  "$work/$version/bin/python" -m pip install -q --disable-pip-version-check "librosa==$version" "numpy==2.3.5" "numba==0.63.1"
  "$work/$version/bin/python" "$work/stretch.py" "$work/$version.npz"
done

"$work/1.0.0/bin/python" - "$work" <<'PYTHON'
import sys

import numpy as np

older, newer = (np.load(f"{sys.argv[1]}/{version}.npz") for version in ("0.11.0", "1.0.0"))
for name in ("stretched", "shifted"):
    length = min(len(older[name]), len(newer[name]))
    difference = float(np.abs(older[name][:length] - newer[name][:length]).max())
    print(f"{name}: largest difference {difference:.3f}")
    assert difference > 0.02, "the two versions now return equal samples"
assert older["warnings"] == 0 and newer["warnings"] > 0, "the warnings of the two versions have changed"
PYTHON
echo "the behaviour is as described"
