"""What lies at an address: its bytes, and things that mrdist did not write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

STRANGERS = ("folder", "file", "zarr group", "zarr array")


def put(path, what):
    """Put one of `STRANGERS` at a path, or ``nothing``."""
    if what == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    elif what == "file":
        path.write_text("mine")
    elif what == "zarr group":
        zarr.create_group(path).create_array("mine", data=np.arange(3))
    elif what == "zarr array":
        zarr.create_array(path, data=np.arange(3))
    else:
        assert what == "nothing"


def content(path):
    """Return the bytes of a file, or of every file in a folder, by path."""
    path = Path(path)
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path)): each.read_bytes() for each in files}


def chunks(store, *arrays):
    """Return the bytes of every chunk of a store, by path; of some of its arrays, if any are named."""
    return {
        name: data
        for name, data in content(store).items()
        if "/c/" in name and (not arrays or name.split("/")[0] in arrays)
    }
