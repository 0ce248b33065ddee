"""Sizes in bytes, and the memory of a worker before any work."""

from __future__ import annotations

import math
import re

from mrdist.arguments import shown
from mrdist.errors import ParameterError

MIB = 1 << 20
DEFAULT_MEMORY = 2048 * MIB
BASE_MEMORY = 142 * MIB
"""Resident bytes of a worker process with its libraries that trains on next to nothing, measured: 138 to 140 MiB.

That is where it is started from nothing. A worker that is forked maps fewer pages of libraries and takes 90 MiB.
"""
KERNEL_MEMORY = 46 * MIB
"""Further bytes of compiled kernels with the runtime that loads them, most of them pages of LLVM's file.

Measured: 46 MiB, 15 where workers are forked. Who compiles holds 100 MiB more, which `mrdist._kernels.apart` leaves to
other processes.
"""
COMPILING_MEMORY = 288 * MIB
"""Resident bytes of a process that may compile, measured: 208 to 255 MiB; of evaluations and applications."""
SCHEDULER_MEMORY = COMPILING_MEMORY - BASE_MEMORY - KERNEL_MEMORY
"""Further bytes of a scheduler's workers, which have imported what else Dask's command does."""
CLIENT_MEMORY = 48 * MIB
"""Further bytes for the client of an object store, measured with S3."""
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


def parse_bytes(text: str | int) -> int:
    """Return a number of bytes.

    Raises
    ------
    ParameterError
        If ``text`` is not a positive number with an optional unit.

    Examples
    --------
    >>> parse_bytes("2GiB"), parse_bytes("600MB"), parse_bytes(4096)
    (2147483648, 600000000, 4096)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([kmgt]i?)?b?\s*", str(text).lower())
    size = float(match[1]) * (_UNITS | _BINARY_UNITS)[match[2] or ""] if match else 0.0
    if not 1 <= size < math.inf:
        raise ParameterError(f"max_memory must be a positive size such as 2GiB or 600MB, got {shown(text)}.")
    return int(size)
