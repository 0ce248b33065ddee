"""Kernels that are not on the disk yet, compiled by processes of their own.

A process that has compiled holds up to 100 MiB more until it ends, which no plan of its memory knows. What another one
has compiled lies on the disk, from where it is loaded.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_n_users = 0


@contextmanager
def compiled_apart() -> Iterator[None]:
    """Have other processes compile what this one needs, in all its threads."""
    global _n_users
    _n_users += 1
    try:
        yield
    finally:
        _n_users -= 1


def is_apart() -> bool:
    """Whether this process leaves compiling to others."""
    return _n_users > 0


def compile_apart(function: Callable[..., Any], signature: Any) -> None:
    """Compile a function of a module for a signature; if it fails, it has done nothing."""
    wanted = pickle.dumps((function.__module__, function.__qualname__, signature))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", "-m", __name__]
    try:
        subprocess.run(  # noqa: S603 (this very module)
            command, input=wanted, env=environment, capture_output=True, check=False
        )
    except OSError:  # no Python that can be started
        return


def _compile() -> None:
    module, name, signature = pickle.load(sys.stdin.buffer)  # noqa: S301 (from `compile_apart`)
    getattr(import_module(module), name).compile(signature)


if __name__ == "__main__":
    _compile()
