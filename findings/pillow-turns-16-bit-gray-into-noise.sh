#!/usr/bin/env bash
# Pillow 12.0.0 rotates a 16-bit gray picture with bilinear or bicubic sampling into other numbers; 13.0.0 does, too.
#
# Guessed: rotating a picture of one gray level leaves that level, as for 8 bits, 32 bits and floats.
# Happens: mode "I;16" is sampled by its bytes: 40000 (0x9c40) becomes 64 (0x40). Nearest neighbour and resize are right, and so are
#          the modes "I" and "F". No warning.
# With: Python 3.11 to 3.13, NumPy 2.3.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.0.0 numpy==2.3.5
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import PIL
from PIL import Image

gray = np.full((9, 9), 40000)


def centre(dtype, change):
    return int(np.asarray(change(Image.fromarray(gray.astype(dtype))))[4, 4])


def rotated(sampling):
    return lambda picture: picture.rotate(10, getattr(Image.Resampling, sampling))


for sampling in ("NEAREST", "BILINEAR", "BICUBIC"):
    values = {dtype: centre(dtype, rotated(sampling)) for dtype in ("uint16", "int32", "float32")}
    print("Pillow", PIL.__version__, sampling, values)
    expected = 40000 if sampling == "NEAREST" else 64
    assert values == {"uint16": expected, "int32": 40000, "float32": 40000}
resized = centre("uint16", lambda picture: picture.resize((7, 7), Image.Resampling.BICUBIC))
print("resized with BICUBIC:", resized)
assert resized == 40000
PY
