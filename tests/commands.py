"""The real command line in real processes, and what the tests look at in the stores it leaves.

A command spends most of its second importing libraries. So most tests run theirs in a fork of a process that has
them imported (this file, run as a script), which ends as any process does; `cold` starts the installed console script.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mrdist.storage import create_images, finish_images, write_images

MRDIST = str(Path(sys.executable).with_name("mrdist"))
SECONDS = 120  # a command that takes longer hangs


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


def warm(*args, cwd=None, env=None):
    """Run a command, one without worker processes, to its end in a fork of a process that has the libraries."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        request = {
            "args": list(map(str, args)),
            "cwd": str(cwd or Path.cwd()),
            "out": str(out),
            "err": str(err),
            "store": {name: value for name, value in (env or os.environ).items() if name.startswith("AWS_")},
        }
        server = _server()
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        assert select.select([server.stdout], [], [], SECONDS)[0], f"{args} hangs"
        code = int(server.stdout.readline())
        done = subprocess.CompletedProcess(args, code, out.read_text(), err.read_text())
    assert "Traceback" not in done.stderr, done.stderr
    return done


@functools.cache
def _server():
    server = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
    )
    atexit.register(server.communicate)
    return server


def serve():
    """Run the commands that arrive on stdin, each in a fork of this process."""
    import s3fs  # noqa: F401

    import mrdist.pipeline.accumulate
    import mrdist.pipeline.compare
    import mrdist.pipeline.cross_validate
    import mrdist.pipeline.evaluate
    import mrdist.pipeline.export
    import mrdist.pipeline.generate
    import mrdist.pipeline.ingest
    import mrdist.pipeline.plan
    import mrdist.pipeline.plot
    import mrdist.pipeline.refine
    import mrdist.pipeline.report
    import mrdist.pipeline.solve
    import mrdist.pipeline.synthesize
    import mrdist.pipeline.train
    import mrdist.plotting
    from mrdist.cli import main

    mrdist.MaskedRegression().fit(*np.zeros((2, 4, 8, 8), dtype=np.uint8))  # loads the compiled kernels
    gc.freeze()  # spares the forks a copy of all pages at their end
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT), number)
            os.chdir(request["cwd"])
            for name in [name for name in os.environ if name.startswith("AWS_")]:  # of the test that came first
                del os.environ[name]
            os.environ.update(request["store"])
            sys.argv = ["mrdist", *request["args"]]
            main()
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(*args, **options):
    """Run a command in the cheaper way that can run it."""
    workers = "--workers" in args and "--scheduler" not in args and int(args[args.index("--workers") + 1]) > 0
    return cold(*args, **options) if workers or "preexec_fn" in options else warm(*args, **options)


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
    process = subprocess.Popen(
        [MRDIST, *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal_group(process, signal.SIGKILL)


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


def write_store(url, pixels, *, split=None, present=None):
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
    finish_images(
        str(url),
        present=np.ones(checksum.shape, dtype=bool) if present is None else present,
        checksum=checksum,
        face_mask=np.ones(first.shape[1:3], dtype=bool),
        provenance={},
    )
    return str(url)


if __name__ == "__main__":
    serve()
