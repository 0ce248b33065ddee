"""The real command line in real processes, and what the tests look at in the stores it leaves.

Most tests run theirs in a fork of a process that has the libraries imported (`forks`); `cold` starts the installed
console script.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from forks import Fork

from mrdist.datasets._face_landmarks import SCHEME, face_landmarks
from mrdist.methods.registry import METHODS
from mrdist.moments import padded_window
from mrdist.storage import (
    Images,
    Landmarks,
    WeightsReader,
    create_images,
    finish_images,
    write_images,
    write_landmarks,
)

MRDIST = str(Path(sys.executable).with_name("mrdist"))
SECONDS = 120  # a command that takes longer hangs
#: What a fork is told so that it finds no detector of faces, see `forks.Fork`.
NO_DETECTOR = {"mrdist.datasets.detection.RUNTIME": "not_installed"}


def cold(*args, **options):
    """Run the console script to its end."""
    done = subprocess.run(
        [MRDIST, *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        **options,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def warm(*args, **options):
    """Run a command to its end in a fork of a process that has the libraries, see `forks.Fork` for the options."""
    with Fork(args, seconds=SECONDS, **options) as process:
        out, err = process.communicate(SECONDS)
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def killed(*args, at):
    """Run a command that dies by SIGKILL as it has written the n-th object of a kind: ``at`` is ``(part, n)``."""
    with Fork(args, seconds=SECONDS, die_at=at) as process:
        _, err = process.communicate(SECONDS)
    assert process.returncode == -signal.SIGKILL, err


def run(*args, **options):
    """Run a command in the cheaper way that can run it."""
    return cold(*args, **options) if "preexec_fn" in options else warm(*args, **options)


def succeed(*args, **options):
    """Run a command that must succeed."""
    done = run(*args, **options)
    assert done.returncode == 0, done.stderr
    return done


def report(*args, **options):
    """Return what a command with ``--json`` reports: exactly one JSON object, and nothing else, on stdout."""
    out = succeed(*args, "--json", **options).stdout
    found = json.loads(out)
    assert isinstance(found, dict)
    assert out == json.dumps(found) + "\n"
    return found


def failure(*args, code=1, how=run, **options):
    """Return the one sentence with which a command fails; a failure that is no usage error says nothing else."""
    done = how(*args, **options)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    said = done.stderr.splitlines()
    sentences = [line for line in said if line.startswith("Error: ")]
    assert len(sentences) == 1, done.stderr
    assert code == 2 or said == sentences, done.stderr
    assert sentences[0].endswith((".", "?")), done.stderr
    return sentences[0]


@contextlib.contextmanager
def running(*args, **options):
    """Start ``mrdist ARGS`` in a process group of its own, which does not outlive the test."""
    with Fork(args, seconds=SECONDS, **options) as process:
        yield process


def workers_of(process):
    """Return the workers that a command has started: from nothing, or forked from the server of workers."""
    workers = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            said = " ".join(child.cmdline())
            if "spawn_main" in said or ("forkserver" in said and child.ppid() != process.pid):
                workers.append(child)
    return workers


def signal_group(process, number):
    """Send a signal to a process and its children, as a terminal does at Ctrl-C."""
    os.killpg(process.pid, number)


def wait_until(condition, what, seconds=SECONDS):
    """Poll until ``condition()`` is true and return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.002)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def known(method, **options):
    """Return those of some options that a method has."""
    return {name: value for name, value in options.items() if name in METHODS[method].options}


def blocks_done(weights):
    """Count the blocks that a training has finished, without disturbing it."""
    return sum(not path.name.endswith(".partial") for path in Path(weights).glob("progress/done/c/*/*"))


def is_whole(path):
    """Whether the store at ``path`` says of itself that it is complete."""
    root = Path(path) / "zarr.json"
    return root.exists() and bool(json.loads(root.read_text())["attributes"]["mrdist"]["complete"])


def files(store):
    """Return the bytes of every file of a store except the root's metadata, by path."""
    store = Path(store)
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path != store / "zarr.json"
    }


def attributes(store):
    """Return the attribute ``mrdist`` of a store."""
    return json.loads((Path(store) / "zarr.json").read_text())["attributes"]["mrdist"]


def assert_equal_bytes(store, expected):
    """Two weights stores hold the same bytes, whatever address their images came from."""
    found, wanted = files(store), files(expected)
    assert any("/c/" in name for name in wanted)
    assert list(found) == list(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == []
    ours, theirs = attributes(store), attributes(expected)
    assert ours.pop("provenance")["versions"] == theirs.pop("provenance")["versions"]
    assert ours == theirs


def damage(store, name, change):
    """Replace the attribute ``name`` of a store's ``mrdist`` by ``change(old)``."""
    path = Path(store) / "zarr.json"
    metadata = json.loads(path.read_text())
    metadata["attributes"]["mrdist"][name] = change(metadata["attributes"]["mrdist"][name])
    path.write_text(json.dumps(metadata))


def applied(weights, images, label):
    """Return what a mapping of any method makes of all images of a label, shape (image, y, x, channel)."""
    reader, store = WeightsReader.open(str(weights)), Images.open(str(images))
    weights = reader.block(reader.frame)
    pixels = store.reader().read(label, 0, store.n_images, reader.frame)
    codes = reader.codes(store, label, np.arange(store.n_images))
    return weights.predict(padded_window(pixels, weights.window), codes)


def drawn_landmarks(n_images, height, width, n_labels=2):
    """Return landmarks of synthetic people: neutral in the first label, happy in the others."""
    faces = ["neutral"] + ["happy"] * (n_labels - 1)
    points = np.array([[face_landmarks(person, label) for label in faces] for person in range(n_images)])
    pixels = (points * (width, height) - 0.5).astype(np.float32)
    return Landmarks(pixels, np.ones(pixels.shape[:2], np.float32), SCHEME)


def write_store(url, pixels, *, split=None, present=None, landmarks=True):
    """Write a complete images store through mrdist.storage; pixels by label, shape (image, y, x, channel)."""
    first = next(iter(pixels.values()))
    names = [f"image-{n}" for n in range(len(first))]
    create_images(
        str(url),
        labels=list(pixels),
        image=names,
        subject=names,
        dataset=["made"] * len(first),
        split=split or ["train"] * len(first),
        shape=first.shape[1:3],
        n_channels=first.shape[3],
        dtype=first.dtype,
        chunks=(len(first), 8, 8),
    )
    checksum = np.stack([write_images(str(url), label, 0, images) for label, images in pixels.items()], axis=1)
    if landmarks:
        write_landmarks(str(url), drawn_landmarks(*first.shape[:3], len(pixels)))
    finish_images(
        str(url),
        present=np.ones(checksum.shape, dtype=bool) if present is None else present,
        checksum=checksum,
        face_mask=np.ones(first.shape[1:3], dtype=bool),
        provenance={},
    )
    return str(url)
