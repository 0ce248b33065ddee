"""What a command loads: the libraries that its work needs, and no other, since loading is most of a small command."""

from __future__ import annotations

import json
import os
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
    "multiprocessing.forkserver", "numpy", "pandas", "rich", "s3fs", "scipy.interpolate", "scipy.linalg",
    "scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.sparse", "scipy.spatial", "scipy.special", "scipy.stats",
    "skimage", "sklearn", "tqdm", "uvicorn", "xarray", "zarr",
}  # fmt: skip
STORES = {"numpy", "zarr"}
KERNELS = STORES | {"numba"}
PICTURES = KERNELS | {"PIL", "matplotlib"}
HULL = {"scipy.linalg", "scipy.sparse", "scipy.spatial", "scipy.special"}
NEEDED = {
    "accumulate": KERNELS,
    "check": STORES,
    "compare": PICTURES | {"rich", "scipy.special"},
    "evaluate": KERNELS | {"rich", "scipy.special"},  # whose quantiles the intervals need
    "export": KERNELS | {"scipy.sparse"},
    "generate": STORES | HULL,
    "info": STORES | {"rich"},
    "ingest": STORES | {"PIL"},
    "link": STORES | {"rich"},
    "plan": KERNELS | {"rich"},
    "plot": PICTURES,
    "rechunk": STORES,
    "refine": KERNELS | {"scipy.ndimage", "scipy.special"},
    "report": PICTURES | {"scipy.sparse", "scipy.special"},
    "solve": KERNELS,
    "synthesize": KERNELS,
    "synthesize a photograph": KERNELS | HULL | {"PIL", "scipy.ndimage", "skimage"},  # it is measured
    "train": KERNELS,
}
#: Those that measure, serve, ask a service or run others.
OTHERS = {"cancel", "demo", "jobs", "serve", "sizes", "submit", "token"}


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
    Image.new("L", (32, 32), 99).save(folder / "aligned.png")
    for label in ("neutral", "happy"):
        (folder / "photographs" / label).mkdir(parents=True)
        for name in "abc":
            Image.new("L", (16, 16), 99).save(folder / "photographs" / label / f"{name}.png")
    return folder


def at_the_end(expression, *args, **environment):
    """Return what an expression says when a command ends; ``usual`` is Python's collection of rubbish before it."""
    code = f"""
import gc, json, os, sys
usual = gc.get_threshold()
sys.argv = {["mrdist", *map(str, args)]!r}
from mrdist.cli import main
try:
    main()
finally:
    print(json.dumps({expression}), file=sys.stderr)
"""
    environment = os.environ | environment
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stderr.splitlines()[-1])


def loaded(*args):
    """Return the names of the modules that a command has loaded when it ends."""
    return set(at_the_end("sorted(sys.modules)", *args))


def test_every_command_is_looked_at():
    needed = {what.split()[0] for what in NEEDED}
    assert set(group.commands) == needed | OTHERS
    assert not needed & OTHERS


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=() if what in ("evaluate", "info", "train") else pytest.mark.slow) for what in NEEDED],
)
def test_a_command_loads_what_it_needs(stores, tmp_path, what):
    images, sums, weights, out = stores / "images", stores / "sums", stores / "weights", tmp_path / "out"
    args = {
        "accumulate": (images, out, *PAIR),
        "check": (images,),
        "compare": (images, *PAIR, "--methods", "mr,identity", "--alpha", 1, "--no-recognition", "--out", out),
        "evaluate": (weights, images),
        "export": (weights, out),
        "generate": (out, *FEW),
        "info": (weights,),
        "ingest": (stores / "photographs", out, "--align", "none"),
        "link": (out, "--label", f"neutral={images}/neutral", "--label", f"happy={images}/happy"),
        "plan": (images, *PAIR),
        "plot": ("faces", weights, images, "--out", tmp_path / "faces.png"),
        "rechunk": (images, out),
        "refine": (weights,),
        "report": (weights, "--no-recognition", "--out", tmp_path / "report.html"),
        "solve": (sums, out),
        "synthesize": (weights, images, "--out", out),
        "synthesize a photograph": (weights, stores / "aligned.png", "--out", out),
        "train": (images, out, *PAIR),
    }[what]
    assert loaded(what.split()[0], *args) & HEAVY <= NEEDED[what]


@pytest.mark.parametrize("args", [("--help",), ("train", "--help")])
def test_help_loads_no_library(args):
    assert not loaded(*args) & HEAVY


def test_a_command_loads_no_other(stores):
    rooms = {name.removeprefix("mrdist.cli.") for name in loaded("info", stores / "images")}
    assert "data" in rooms
    assert not rooms & {"comparing", "jobs", "linking", "plots", "results", "service", "training"}


def test_what_libraries_bring_is_not_looked_through(stores):
    collections = at_the_end(
        "[each['collections'] for each in gc.get_stats()]", "evaluate", stores / "weights", stores / "images"
    )
    assert collections[2] == 0


def test_rubbish_is_collected_as_usual_once_there_is_more(stores):
    later, then = at_the_end(
        "[gc.get_threshold() == usual, bool([[] for _ in range(500_000)]) and gc.get_threshold() == usual]",
        "info", stores / "weights",
    )  # fmt: skip
    assert (later, then) == (False, True)


def test_idle_threads_of_openblas_sleep_unless_told_otherwise():
    variable = "OPENBLAS_THREAD_TIMEOUT"
    found = f"os.environ[{variable!r}]"
    assert at_the_end(found, "--help") == "20"
    assert at_the_end(found, "--help", **{variable: "26"}) == "26"
