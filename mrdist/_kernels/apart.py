"""Kernels that are not on the disk yet, compiled by a process of their own.

A process that has compiled holds up to 100 MiB more until it ends, which no plan of its memory knows. What another one
has compiled lies on the disk, from where it is loaded.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import IO, Any, cast

_IDLE_SECONDS = 10.0
"""After which the process that compiles ends: most kernels are asked for one after the other."""

_lock = threading.Lock()
_n_users = 0
_is_compiled_at_all = True
_compiler: tuple[int, subprocess.Popen[bytes]] | None = None
"""The process that has started the one that compiles, and that one."""


@contextmanager
def compiled_apart() -> Iterator[None]:
    """Have another process compile what this one needs, in all its threads."""
    global _n_users
    with _lock:
        _n_users += 1
    try:
        yield
    finally:
        with _lock:
            _n_users -= 1
            if _n_users == 0:
                _end()


@contextmanager
def loaded_alone() -> Iterator[None]:
    """Compile nothing: whoever needs what is not on the disk gets a LookupError."""
    global _is_compiled_at_all
    _is_compiled_at_all = False
    try:
        yield
    finally:
        _is_compiled_at_all = True


def is_apart() -> bool:
    """Whether this process leaves compiling to another, or to nobody."""
    return _n_users > 0 or not _is_compiled_at_all


def compile_apart(function: Callable[..., Any], signature: Any) -> None:
    """Compile a function of a module for a signature; if it fails, it has done nothing."""
    if not _is_compiled_at_all:
        raise LookupError(f"{function.__qualname__} was not compiled for {signature}")
    wanted = pickle.dumps((function.__module__, function.__qualname__, signature))
    with _lock, suppress(OSError):  # no Python that can be started
        if not _ask(wanted):
            _end()
            _start()
            _ask(wanted)


def _ask(wanted: bytes) -> bool:
    """Have something compiled, and wait for it; False if there is nobody to be asked."""
    if _compiler is None or _compiler[0] != os.getpid() or _compiler[1].poll() is not None:
        return False
    process = _compiler[1]
    try:
        stdin = cast(IO[bytes], process.stdin)
        stdin.write(wanted)
        stdin.flush()
    except BrokenPipeError:  # it has just ended
        return False
    return bool(cast(IO[bytes], process.stdout).read(1))


def _start() -> None:
    global _compiler
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", __name__]
    process = subprocess.Popen(  # noqa: S603 (this very module)
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    _compiler = os.getpid(), process


def _end() -> None:
    global _compiler
    if _compiler is not None and _compiler[0] == os.getpid():
        with suppress(BrokenPipeError), _compiler[1] as process:
            cast(IO[bytes], process.stdin).close()
    _compiler = None


def _serve() -> None:
    """Compile what standard input asks for, and answer each with a byte, until nothing is asked for a while."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    while True:
        idle = threading.Timer(_IDLE_SECONDS, os._exit, (0,))
        idle.daemon = True
        idle.start()
        try:
            module, name, signature = pickle.load(sys.stdin.buffer)  # noqa: S301 (from `compile_apart`)
        except EOFError:
            return
        idle.cancel()
        with suppress(Exception):  # who has asked compiles it then, and tells
            getattr(import_module(module), name).compile(signature)
        answers.write(b"\n")


if __name__ == "__main__":
    _serve()
