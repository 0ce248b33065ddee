#!/usr/bin/env bash
# Pillow 12.0.0 keeps 16-bit gray pictures and cuts 16-bit colour and 16-bit gray with alpha to 8 bits, silently.
#
# Guessed: the depth of a PNG or TIFF is kept, or its loss is told.
# Happens: the low byte is dropped (not rounded), in PNG and TIFF, and imageio, which asks Pillow for PNG, returns uint8,
#          while it returns uint16 for the same pixels in TIFF. 16-bit gray with alpha arrives as 8-bit RGBA.
# With: Python 3.11 to 3.13, imageio 2.37.2, tifffile 2025.10.16, files written by pypng 0.20220715.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==12.0.0 numpy==2.3.5 tifffile==2025.10.16 pypng==0.20220715.0 imageio==2.37.2
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import imageio.v3 as iio
import numpy as np
import png
import tifffile
from PIL import Image

values = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
for name, depth, options in (
    ("gray", 1, {"greyscale": True}),
    ("gray-alpha", 2, {"greyscale": True, "alpha": True}),
    ("colour", 3, {"greyscale": False}),
):
    with open(f"{name}.png", "wb") as file:
        png.Writer(5, 4, bitdepth=16, **options).write(file, values[..., :depth].reshape(4, -1).tolist())
tifffile.imwrite("colour.tif", values, photometric="rgb")

seen = {}
for name in ("gray.png", "gray-alpha.png", "colour.png", "colour.tif"):
    picture = Image.open(name)
    seen[name] = (picture.mode, str(np.asarray(picture).dtype), str(iio.imread(name).dtype))
    print(name, "Pillow: mode, dtype", seen[name][:2], "imageio:", seen[name][2])
assert seen == {
    "gray.png": ("I;16", "uint16", "uint16"),
    "gray-alpha.png": ("RGBA", "uint8", "uint8"),
    "colour.png": ("RGB", "uint8", "uint8"),
    "colour.tif": ("RGB", "uint8", "uint16"),
}
assert np.array_equal(np.asarray(Image.open("colour.png")), values >> 8)
PY
