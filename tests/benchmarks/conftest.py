"""What the benchmarks share: timing in turn, one core, stores of faces, and the table at the end.

They run only where the command line names them: ``python -m pytest tests/benchmarks``. A benchmark fails when
results disagree, never because of a number: machines are shared.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.stores import synthetic, write_store

_HERE = Path(__file__).parent
_HEADER = ("what", "ours", "theirs", "against", "ratio", "target")
_ROWS: list[dict] = []


def pytest_ignore_collect(config):
    named = (Path(config.invocation_params.dir, arg.split("::")[0]).resolve() for arg in config.args)
    return None if any(path.is_relative_to(_HERE) for path in named) else True


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    if not _ROWS:
        return
    table = Table(box=None, pad_edge=False)
    for name in _HEADER:
        table.add_column(name, justify="right" if name in ("ours", "theirs", "ratio") else "left", no_wrap=True)
    for row in _ROWS:
        table.add_row(*(_text(row, name) for name in _HEADER))
    terminalreporter.section("medians; ratio: ours / theirs, or theirs / ours where marked x")
    Console(width=160, emoji=False).print(table)


def _text(row, name):
    value = row[name]
    if isinstance(value, float):
        if name != "ratio":
            power = min(max(math.floor(math.log10(abs(value) or 1) / 3), -3), 4)
            return f"{value / 1000**power:#.3g} {' kMGT'[power] if power >= 0 else ' mun'[-power]}{row['unit']}"
        return f"{value:.0f} x" if row["speedup"] and value >= 10 else f"{value:.2f}{' x' * row['speedup']}"
    return value or ""


class Meter:
    """Times ours and rivals round by round, and keeps rows of the table."""

    def __init__(self, benchmark):
        self._benchmark = benchmark

    def time(self, ours: Callable[[], object], rivals: dict[str, Callable[[], object]] | None = None, *, rounds=7):
        """Return seconds by name, one a round, ours under ``"ours"``; what has not run before must warm up first."""
        seconds: dict[str, list[float]] = {name: [] for name in rivals or {}}

        def rivals_first():
            for name, rival in (rivals or {}).items():
                started = time.perf_counter()
                rival()
                seconds[name].append(time.perf_counter() - started)

        self._benchmark.pedantic(ours, setup=rivals_first, rounds=rounds)
        return {name: np.array(s) for name, s in seconds.items()} | {"ours": np.array(self._benchmark.stats.stats.data)}

    def tell(self, what, ours, theirs=None, against="", *, unit="s", speedup=False, target=""):
        """Add a row: medians over rounds, and the median of the rounds' ratios."""
        ratio = None if theirs is None else np.divide(theirs, ours) if speedup else np.divide(ours, theirs)
        numbers = {"ours": ours, "theirs": theirs, "ratio": ratio}
        medians = {name: None if value is None else float(np.median(value)) for name, value in numbers.items()}
        row = {"what": what, "against": against, "unit": unit, "speedup": speedup, "target": target} | medians
        self._benchmark.extra_info.setdefault("rows", []).append(row)
        _ROWS.append(row)


@pytest.fixture
def meter(benchmark):
    return Meter(benchmark)


@pytest.fixture
def one_core():
    """Run on one core, BLAS with one thread."""
    with threadpool_limits(1):
        if not hasattr(os, "sched_setaffinity"):
            yield
            return
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cores)})
        yield
        os.sched_setaffinity(0, cores)


@pytest.fixture(scope="session")
def faces():
    """Return pairs of synthetic gray faces, 128 x 128, two arrays of shape (image, y, x)."""

    def make(n_pairs):
        picture = synthetic(128, "gray", n_people=n_pairs)
        return tuple(np.stack([picture(label, n)[..., 0] for n in range(n_pairs)]) for label in ("neutral", "happy"))

    return make


@pytest.fixture(scope="session")
def faces_store(tmp_path_factory):
    """Return the URL of an images store of colour faces, made once a size."""
    made = {}

    def make(n_images, size):
        if (n_images, size) not in made:
            url = str(tmp_path_factory.mktemp("stores") / f"{n_images}-{size}.zarr")
            made[n_images, size] = write_store(url, n_images, synthetic(size, "rgb"))
        return made[n_images, size]

    return make
