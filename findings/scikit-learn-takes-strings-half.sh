#!/usr/bin/env bash
# scikit-learn 1.8.0 encodes the strings of a zarr v3 array as labels, and raises TypeError where it groups by them.
#
# Guessed: what zarr 3 returns for dtype "string" (NumPy's StringDType) serves as labels and groups, or is refused alike.
# Happens: LabelEncoder takes it; OneHotEncoder, GroupKFold, train_test_split(stratify=...) and LogisticRegression raise
#          "dtype argument must be a NumPy dtype". array.astype(str) fails as well; array.astype(object) helps.
# With: Python 3.11 to 3.13, zarr 3.1.6, NumPy 2.3.5.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.8.0 scipy==1.16.3 numpy==2.3.5 zarr==3.1.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import zarr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, train_test_split
from sklearn.preprocessing import LabelEncoder, OneHotEncoder

array = zarr.create_array("names.zarr", shape=(8,), dtype="string")
array[:] = np.array(["ann", "bob"] * 4, dtype=object)
names = array[:]
print("zarr returns", repr(names.dtype))
X = np.arange(16.0).reshape(8, 2)
uses = {
    "LabelEncoder": lambda names: LabelEncoder().fit_transform(names),
    "OneHotEncoder": lambda names: OneHotEncoder().fit_transform(names[:, None]),
    "GroupKFold": lambda names: list(GroupKFold(2).split(X, groups=names)),
    "train_test_split": lambda names: train_test_split(X, stratify=names),
    "LogisticRegression": lambda names: LogisticRegression().fit(X, names),
    "astype(str)": lambda names: names.astype(str),
}
refused = []
for name, use in uses.items():
    try:
        use(names)
        print(name, "takes it")
    except TypeError as error:
        print(name, "raises TypeError:", error)
        refused.append(name)
    use(names.astype(object))
assert refused == [name for name in uses if name != "LabelEncoder"]
PY
