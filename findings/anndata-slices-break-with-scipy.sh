#!/usr/bin/env bash
# anndata 0.12.6 takes SciPy 1.17.0 (its metadata asks for 1.12 or newer) and cannot slice a sparse matrix on disk with it.
#
# Guessed: sparse_dataset(group)[rows] reads these rows of a CSR group in zarr, with any SciPy that pip puts beside it.
# Happens: AttributeError: no attribute '_validate_indices', a private method that SciPy 1.17 has renamed; with SciPy
#          1.16.3 it works. read_elem, which loads the whole matrix, works with both.
# With: Python 3.11 to 3.13, zarr 3.1.6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet anndata==0.12.6 scipy==1.17.0 numpy==2.3.5 zarr==3.1.6 pandas==2.3.3
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import subprocess
import sys
from pathlib import Path

Path("slices.py").write_text("""
import anndata, scipy, scipy.sparse, zarr

matrix = scipy.sparse.random(50, 60, density=0.1, format="csr", random_state=0)
group = zarr.open_group("cells.zarr", mode="w")
anndata.io.write_elem(group, "matrix", matrix)
assert (anndata.io.read_elem(group["matrix"]) != matrix).nnz == 0
try:
    rows = anndata.io.sparse_dataset(group["matrix"])[:10]
    print("SciPy", scipy.__version__, "reads rows", rows.shape)
except AttributeError as error:
    print("SciPy", scipy.__version__, "raises:", error)
""")


def said():
    done = subprocess.run([sys.executable, "-W", "ignore", "slices.py"], check=True, capture_output=True, text=True)
    print(done.stdout, end="")
    return done.stdout


assert "_validate_indices" in said()
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "scipy==1.16.3"], check=True)
assert "reads rows (10, 60)" in said()
PY
