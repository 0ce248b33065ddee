"""What a command loads: the libraries that its work needs, and no other, since loading is most of a small command."""

from __future__ import annotations

import json
import subprocess
import sys

import commands
import pytest
from PIL import Image

from mrdist.cli.main import commands as group

PAIR = ("--source", "neutral", "--target", "happy")
FEW = ("--images", 12, "--size", 32, "--labels", "neutral,happy", "--color", "gray")
#: Libraries that take a tenth of a second and more, with what nothing but they need.
HEAVY = {
    "PIL", "aiohttp", "botocore", "cryptography", "dask", "distributed", "fastapi", "matplotlib", "mediapipe", "numba",
    "numpy", "pandas", "rich", "s3fs", "scipy.interpolate", "scipy.linalg", "scipy.ndimage", "scipy.sparse",
    "scipy.spatial", "scipy.special", "scipy.stats", "skimage", "sklearn", "tqdm", "uvicorn", "xarray", "zarr",
}  # fmt: skip
STORES = {"numpy", "zarr"}
KERNELS = STORES | {"numba"}
HULL = {"scipy.linalg", "scipy.sparse", "scipy.spatial", "scipy.special"}
NEEDED = {
    "accumulate": KERNELS,
    "check": STORES,
    "evaluate": KERNELS | {"rich", "scipy.special"},  # whose quantiles the intervals need
    "export": KERNELS | {"scipy.sparse"},
    "generate": STORES | HULL,
    "info": STORES | {"rich"},
    "ingest": STORES | {"PIL"},
    "plan": KERNELS | {"rich"},
    "rechunk": STORES,
    "refine": KERNELS | {"scipy.ndimage", "scipy.special"},
    "solve": KERNELS,
    "synthesize": KERNELS,
    "train": KERNELS,
}
#: Those that draw, serve, ask a service, follow links or run others.
OTHERS = {
    "cancel", "compare", "demo", "jobs", "link", "plot", "report", "serve", "sizes", "submit", "token",
}  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Small stores of all kinds, made by commands that compile what nobody has compiled."""
    folder = tmp_path_factory.mktemp("loaded")
    images, sums, weights = (folder / name for name in ("images", "sums", "weights"))
    commands.succeed("generate", images, *FEW)
    commands.succeed("train", images, weights, *PAIR)
    commands.succeed("accumulate", images, sums, *PAIR)
    for args in (("solve", sums, folder / "solved"), ("evaluate", weights, images)):
        commands.succeed(*args)
    for label in ("neutral", "happy"):
        (folder / "photographs" / label).mkdir(parents=True)
        for name in "abc":
            Image.new("L", (16, 16), 99).save(folder / "photographs" / label / f"{name}.png")
    return folder


def loaded(*args):
    """Return the names of the modules that a command has loaded when it ends."""
    code = f"""
import json, sys
sys.argv = {["mrdist", *map(str, args)]!r}
from mrdist.cli import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_every_command_is_looked_at():
    assert set(group.commands) == NEEDED.keys() | OTHERS
    assert not NEEDED.keys() & OTHERS


@pytest.mark.parametrize(
    "verb",
    [pytest.param(verb, marks=() if verb in ("evaluate", "info", "train") else pytest.mark.slow) for verb in NEEDED],
)
def test_a_command_loads_what_it_needs(stores, tmp_path, verb):
    images, sums, weights, out = stores / "images", stores / "sums", stores / "weights", tmp_path / "out"
    args = {
        "accumulate": (images, out, *PAIR),
        "check": (images,),
        "evaluate": (weights, images),
        "export": (weights, out),
        "generate": (out, *FEW),
        "info": (weights,),
        "ingest": (stores / "photographs", out, "--align", "none"),
        "plan": (images, *PAIR),
        "rechunk": (images, out),
        "refine": (weights,),
        "solve": (sums, out),
        "synthesize": (weights, images, "--out", out),
        "train": (images, out, *PAIR),
    }[verb]
    assert loaded(verb, *args) & HEAVY <= NEEDED[verb]


@pytest.mark.parametrize("args", [("--help",), ("train", "--help")])
def test_help_loads_no_library(args):
    assert not loaded(*args) & HEAVY
