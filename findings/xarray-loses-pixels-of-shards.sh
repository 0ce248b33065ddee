#!/usr/bin/env bash
# xarray 2025.12.0 copies a zarr array with shards and loses pixels without a word; 2026.2.0 refuses.
#
# Guessed: open_zarr(a).to_zarr(b) copies any zarr store that xarray can open.
# Happens: open_zarr takes the inner chunks for Dask's chunks and keeps the shards for the copy. Many tasks then read,
#          change and write the same shard at once, and the last one wins. 2026.2.0 raises "would overlap multiple Dask
#          chunks" instead. A copy with chunks={"y": 64, "x": 64}, one shard each, is whole.
# With: Python 3.11 to 3.13, zarr 3.1.6, Dask 2025.11.0. How many pixels are lost differs from run to run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/shards.py" <<'PY'
import sys
import warnings

import xarray as xr
import zarr

warnings.simplefilter("ignore")
folder, outcome = sys.argv[1:]
store = zarr.open_group(f"{folder}/faces.zarr", mode="w")
face = store.create_array(
    "face", shape=(64, 64), chunks=(8, 8), shards=(64, 64), dtype="uint8", dimension_names=("y", "x")
)
face[:] = 7


def copied(name, **options):
    xr.open_zarr(f"{folder}/faces.zarr", consolidated=False, **options).to_zarr(f"{folder}/{name}", consolidated=False)
    return int((zarr.open_group(f"{folder}/{name}", mode="r")["face"][:] != 7).sum())


print("lost when a Dask chunk is a shard:", whole := copied("whole.zarr", chunks={"y": 64, "x": 64}))
assert whole == 0
try:
    lost = [copied(f"copy-{n}.zarr") for n in range(5)]
    print("xarray", xr.__version__, "lost, of 4096 pixels:", lost)
    assert outcome == "loses" and max(lost) > 0
except ValueError as error:
    print("xarray", xr.__version__, "raises:", str(error)[:100])
    assert outcome == "raises" and "would overlap multiple Dask chunks" in str(error)
PY
for version in 2025.12.0:loses 2026.2.0:raises; do
    python3 -m venv --clear "$folder/venv"
    "$folder/venv/bin/pip" install --quiet "xarray==${version%:*}" zarr==3.1.6 'dask[array]==2025.11.0' numpy==2.3.5 pandas==2.3.3
    "$folder/venv/bin/python" "$folder/shards.py" "$(mktemp -d -p "$folder")" "${version#*:}"
done
