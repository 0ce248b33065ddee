"""Small work, whole commands: what one takes at once, and what it takes with workers or with another build.

``MRDIST_OTHER`` is the path of another checkout, whose commands then run in turn with ours; without it, ours with two
workers do. Seconds of processors are those of the command and of all processes that it waits for.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mrdist
from benchmarks.stores import synthetic, write_store

resource = pytest.importorskip("resource")
OURS = Path(mrdist.__file__).parents[1]
OTHER = os.environ.get("MRDIST_OTHER")
N_PAIRS, SIZE, ROUNDS = 80, 128, 5
PAIR = ("--source", "neutral", "--target", "happy")
MAIN = "from mrdist.cli import main; main()"
START = """
import time
from mrdist.execution import open_executor

if __name__ == "__main__":
    began = time.perf_counter()
    with open_executor(workers=2, n_tasks=2, max_memory=1 << 30) as executor:
        list(executor.run(abs, range(2), name="first"))
        print(time.perf_counter() - began)
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starts")
    write_store(str(folder / "images"), N_PAIRS, synthetic(SIZE, "gray"))
    # by the other build, if there is one: stores of an older version are read by both
    command(MAIN, "train", folder / "images", folder / "weights", *PAIR, "--workers", 0)(OTHER or OURS)
    return folder


def command(code, *args):
    """Run a command of a checkout; return its standard output, and the seconds of the clock and of processors."""
    line = [sys.executable, "-c", code, *map(str, args)]

    def run(checkout):
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(line, env=environment, cwd=checkout, capture_output=True, text=True, check=True)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return done.stdout, seconds, busy

    return run


@pytest.mark.parametrize("verb", ["train", "evaluate", "synthesize"])
def test_whole_commands(meter, stores, tmp_path, verb):
    out = tmp_path / "out"
    args = {
        "train": ("train", stores / "images", out, *PAIR),
        "evaluate": ("evaluate", stores / "weights", stores / "images"),
        "synthesize": ("synthesize", stores / "weights", stores / "images", "--out", out),
    }[verb]
    ours, theirs = command(MAIN, *args), command(MAIN, *args, *([] if OTHER else ["--workers", 2]))
    busy = {"ours": [], "theirs": []}

    def timed(name, run, checkout):
        def once():
            shutil.rmtree(out, ignore_errors=True)
            busy[name].append(run(checkout)[2])

        once()  # compiles
        busy[name].clear()
        return once

    seconds = meter.time(timed("ours", ours, OURS), {"theirs": timed("theirs", theirs, OTHER or OURS)}, rounds=ROUNDS)
    against, target = ("the other build", "1/4" if verb == "train" else "1/3") if OTHER else ("two workers", "")
    what = f"mrdist {verb}, {N_PAIRS} x {SIZE} x {SIZE}"
    meter.tell(what, seconds["ours"], seconds["theirs"], against, target=target)
    meter.tell(f"{what}, processors", busy["ours"], busy["theirs"], against, target=target)


def test_two_workers_are_there(meter):
    def timed(checkout, found):
        run = command(START)

        def once():
            found.append(float(run(checkout)[0]))

        return once

    ours, theirs = [], []
    rivals = {"theirs": timed(OTHER, theirs)} if OTHER else {}
    meter.time(timed(OURS, ours), rivals, rounds=ROUNDS)
    meter.tell(
        "two workers, to the end of a task", ours, theirs or None, "the other build" if OTHER else "", target="1/2"
    )
