#!/usr/bin/env bash
# xarray 2025.12.0 reads the black pixels of a zarr v2 picture as missing, and the whole picture as float32.
#
# Guessed: the same uint8 array gives the same pixels from zarr v2 and v3, as it does with zarr itself.
# Happens: a v2 fill value is taken for a mask, so every 0 becomes NaN and the dtype float32 (float64 for uint32); a v3
#          fill value is not. open_zarr(..., use_zarr_fill_value_as_mask=False) or mask_and_scale=False gives the pixels.
# With: Python 3.11 to 3.13, zarr 3.1.6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xarray==2025.12.0 zarr==3.1.6 numpy==2.3.5 pandas==2.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import xarray as xr
import zarr

pixels = np.arange(16, dtype="uint8").reshape(4, 4)
read = {}
for version in (2, 3):
    store = zarr.open_group(f"v{version}.zarr", mode="w", zarr_format=version)
    names = {"dimension_names": ("y", "x")} if version == 3 else {"attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}}
    face = store.create_array("face", shape=(4, 4), chunks=(2, 2), dtype="uint8", fill_value=0, **names)
    face[:] = pixels
    assert np.array_equal(face[:], pixels)
    opened = xr.open_zarr(f"v{version}.zarr", consolidated=False, chunks=None)["face"]
    read[version] = (str(opened.dtype), int(opened.isnull().sum()))
    plain = xr.open_zarr(f"v{version}.zarr", consolidated=False, chunks=None, mask_and_scale=False)["face"]
    assert plain.dtype == "uint8"
    print("zarr format", version, "xarray", xr.__version__, "dtype, missing pixels:", read[version])
assert read == {2: ("float32", 1), 3: ("uint8", 0)}
PY
