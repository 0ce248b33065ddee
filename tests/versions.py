"""What versions.sh runs in each of its environments: a row of its table, and stores that go from one to another."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from importlib.metadata import version
from pathlib import Path

import commands
import numpy as np
import zarr

import mrdist

LIBRARIES = ("zarr", "dask", "numpy", "xarray", "scikit-learn")
CODECS = ("numcodecs",)  # two versions of it may compress the same array to other bytes
TRAINING = {"source": "neutral", "target": "happy", "workers": 0, "progress": False}


def row(report, resolution):
    """Print the versions of this environment and how many tests passed, failed and were skipped."""
    suite = ElementTree.parse(report).getroot().find("testsuite")
    tests, errors, failures, skipped = (int(suite.get(name)) for name in ("tests", "errors", "failures", "skipped"))
    cells = [
        platform.python_version(),
        {"highest": "newest", "lowest-direct": "lowest"}[resolution],
        *map(version, LIBRARIES),
        tests - errors - failures - skipped,
        errors + failures,
        skipped,
    ]
    print("|", " | ".join(map(str, cells)), "|")


def write(folder):
    """Write a store of every kind, of images that are the same whatever version draws random numbers."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    images = str(folder / "images.zarr")
    drawn = ((np.arange(2 * 12 * 16 * 20 * 3, dtype=np.uint64) + 1) * 2654435761 >> 9) % 256
    neutral, happy = drawn.astype(np.uint8).reshape(2, 12, 16, 20, 3)
    commands.write_store(images, {"neutral": neutral, "happy": neutral // 2 + happy // 4})
    mrdist.accumulate(images, str(folder / "sums.zarr"), **TRAINING)
    mrdist.train(images, str(folder / "weights.zarr"), **TRAINING, alpha=0.4)
    mrdist.train(images, str(folder / "chosen.zarr"), **TRAINING, alpha="cv", folds=3)
    mrdist.train(images, str(folder / "l0.zarr"), **TRAINING, method="l0", nonzeros=3, window=3)
    mrdist.export(str(folder / "weights.zarr"), str(folder / "csr.zarr"))
    facts = {"zarr": version("zarr"), "codecs": {name: version(name) for name in CODECS}, "arrays": arrays(folder)}
    (folder / "facts.json").write_text(json.dumps(facts))


def arrays(folder):
    """Return a digest of the values of every array of the stores in ``folder``, by path."""
    digests = {}
    for store in sorted(Path(folder).glob("*.zarr")):
        for name, member in zarr.open_group(store, mode="r", use_consolidated=False).members(max_depth=None):
            if isinstance(member, zarr.Array):
                values = np.asarray(member[...])
                data = json.dumps(values.tolist()).encode() if values.dtype.kind in "TOU" else values.tobytes()
                kind = "string" if values.dtype.kind in "TOU" else str(values.dtype)
                digests[f"{store.name}/{name}"] = f"{kind} {values.shape} {hashlib.sha256(data).hexdigest()}"
    return digests


def chunks(folder):
    """Return the bytes of every chunk of the stores in ``folder``, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*.zarr/**/c/**/*") if path.is_file()
    }


def read(*folders):
    """Read the stores of all environments: the same values everywhere, the same bytes from the same codecs."""
    folders = [Path(folder) for folder in folders]
    facts = [json.loads((folder / "facts.json").read_text()) for folder in folders]
    for folder, written in zip(folders, facts, strict=True):
        values = arrays(folder)
        assert values == written["arrays"] == facts[0]["arrays"], differences(values, facts[0]["arrays"])
        if written["codecs"] == facts[0]["codecs"]:
            assert chunks(folder) == chunks(folders[0]), differences(chunks(folder), chunks(folders[0]))
        images, weights = mrdist.open_images(str(folder / "images.zarr")), str(folder / "weights.zarr")
        predicted = mrdist.open_weights(weights).predict(images["neutral"].values)
        assert predicted.shape == images["neutral"].shape
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(weights, Path(scratch) / "weights.zarr")
            again = mrdist.train(
                str(folder / "images.zarr"), str(Path(scratch) / "weights.zarr"), **TRAINING, alpha=0.4
            )
        assert again.already_complete
        print(f"zarr {version('zarr')} reads {len(values)} arrays of zarr {written['zarr']} ({folder.name})")


def differences(found, wanted):
    """Return the names of what two dictionaries do not have in common."""
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


if __name__ == "__main__":
    {"row": row, "write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
