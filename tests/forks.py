"""Commands in forks of a process that has the libraries imported: this file, run as a script.

A command spends most of its second importing libraries and, at its end, taking them down again. A fork does neither: it
runs the real entry point with arguments, streams, folder and exit code of its own, and ends without a look back.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path

_POLL_SECONDS = 0.002


class Fork:
    """A command that runs, with the methods of `subprocess.Popen` that tests use; leader of a process group.

    Parameters
    ----------
    args
        Arguments of ``mrdist``.
    seconds
        How long the process that forks may take to answer.
    cwd
        Its folder; by default that of this process.
    env
        What it finds in its environment of the variables ``AWS_...``; by default what this process does.
    constants
        What it finds in place of constants, by ``module.name``: of patience, for example.
    die_at
        ``(part, n)``: it kills itself as soon as it has written the ``n``-th object whose address holds ``part``.
    """

    def __init__(self, args, *, seconds, cwd=None, env=None, constants=None, die_at=None):
        self.args = ["mrdist", *map(str, args)]
        self.returncode = None
        self._seconds = seconds
        self._folder = Path(tempfile.mkdtemp(prefix="mrdist-fork-"))
        out, err = self._folder / "out", self._folder / "err"
        for path in (out, err):
            path.touch()
        self.stdout, self.stderr = out.open(), err.open()
        self.pid = self._ask(
            {
                "args": self.args,
                "cwd": str(cwd or Path.cwd()),
                "out": str(out),
                "err": str(err),
                "store": {name: value for name, value in (env or os.environ).items() if name.startswith("AWS_")},
                "constants": constants or {},
                "die_at": die_at,
            }
        )

    def _ask(self, request):
        server = _server()
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        assert select.select([server.stdout], [], [], self._seconds)[0], f"{self.args} hangs"
        return json.loads(server.stdout.readline())

    def poll(self):
        """Return the exit code of a command that has ended, else None."""
        if self.returncode is None:
            self.returncode = self._ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout=None):
        """Wait for the end and return the exit code."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(_POLL_SECONDS)
        return self.returncode

    def communicate(self, timeout=None):
        """Wait for the end and return what the command has said since the last look, on stdout and on stderr."""
        self.wait(timeout)
        return self.stdout.read(), self.stderr.read()

    def send_signal(self, number):
        """Send a signal to the process, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Let it die without a word."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait(self._seconds)
        self.stdout.close()
        self.stderr.close()
        shutil.rmtree(self._folder)


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
    """Fork for every request on stdin and answer with the process id; say of what was forked whether it has ended."""
    import numpy as np
    import rich.table  # noqa: F401
    import s3fs  # noqa: F401

    import mrdist.methods.masked.search
    import mrdist.pipeline.applying.export
    import mrdist.pipeline.applying.refine
    import mrdist.pipeline.applying.synthesize
    import mrdist.pipeline.ingesting.generate
    import mrdist.pipeline.ingesting.ingest
    import mrdist.pipeline.judging.compare
    import mrdist.pipeline.judging.evaluate
    import mrdist.pipeline.showing.plot
    import mrdist.pipeline.showing.report
    import mrdist.pipeline.training.accumulate
    import mrdist.pipeline.training.plan
    import mrdist.pipeline.training.solve
    import mrdist.pipeline.training.train
    import mrdist.plotting
    from mrdist.cli import main

    mrdist.MaskedRegression().fit(*np.zeros((2, 4, 8, 8), dtype=np.uint8))  # loads the compiled kernels
    gc.freeze()  # spares the forks a copy of all pages
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            child, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if child else None
        else:
            answer = os.fork()
            if answer == 0:
                _become(request, main)
            with contextlib.suppress(OSError):  # it may have done so itself
                os.setpgid(answer, answer)
        print(json.dumps(answer), flush=True)


def _become(request, main):
    """Be the command that is asked for, to its end."""
    os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_APPEND), number)
    os.chdir(request["cwd"])
    for name in [name for name in os.environ if name.startswith("AWS_")]:  # of the test that came first
        del os.environ[name]
    os.environ.update(request["store"])
    sys.argv = request["args"]
    for address, value in request["constants"].items():
        module, _, name = address.rpartition(".")
        assert hasattr(import_module(module), name), address
        setattr(import_module(module), name, value)
    if request["die_at"]:
        _die_at(*request["die_at"])
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _die_at(part, n):
    from zarr.storage import LocalStore

    write, left = LocalStore.set, n

    async def write_and_die(self, key, value):
        nonlocal left
        await write(self, key, value)
        left -= part in f"{self.root}/{key}"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    LocalStore.set = write_and_die


if __name__ == "__main__":
    serve()
