#!/usr/bin/env bash
# An attribute that is a list of one element comes back from netCDF as the element, and from zarr as the list.
#
# Guessed: xarray's attributes survive to_netcdf and open_dataset, as they survive to_zarr and open_zarr.
# Happens: netCDF's attributes are vectors, and a vector of one is read as a scalar: [0.4] -> 0.4, ["smile"] -> "smile";
#          [1, 2] comes back as an array. So code that loops over attrs["alphas"] works until there is one alpha, and a
#          loop over ["smile"] goes through letters.
# With: Python 3.11 to 3.13, xarray 2025.12.0, netCDF4 1.7.3, zarr 3.1.6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet xarray==2025.12.0 netCDF4==1.7.3 zarr==3.1.6 numpy==2.3.5 pandas==2.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import xarray as xr

attributes = {"alphas": [0.4], "labels": ["smile"], "fields": [3, 5]}
faces = xr.Dataset({"face": ("x", [1.0, 2.0])}, attrs=attributes)
faces.to_netcdf("faces.nc", engine="netcdf4")
faces.to_zarr("faces.zarr", consolidated=False)
netcdf = xr.open_dataset("faces.nc").attrs
print("netCDF:", netcdf)
print("zarr:  ", zarr := xr.open_zarr("faces.zarr", consolidated=False, chunks=None).attrs)
assert zarr == attributes
assert float(netcdf["alphas"]) == 0.4
assert netcdf["labels"] == "smile"
assert netcdf["fields"].tolist() == [3, 5]
PY
