"""Scripts that train: from where their calls work, and what is said where they cannot."""

import subprocess
import sys
from types import SimpleNamespace

import commands
import pytest

import mrdist


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Faces, and the weights that a training without workers makes of them."""
    folder = tmp_path_factory.mktemp("scripts")
    images, weights = str(folder / "images.zarr"), str(folder / "weights.zarr")
    mrdist.generate(images, images=12, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    mrdist.train(images, weights, source="neutral", target="happy", block=(16, 16), workers=0, progress=False)
    return SimpleNamespace(images=images, weights=weights)


SCRIPT = """
import concurrent.futures, distributed, functools, multiprocessing, mrdist, sys
train = functools.partial(mrdist.train, IMAGES, WEIGHTS, source="neutral", target="happy", block=(16, 16))

def in_a_fork(function, **options):
    child = multiprocessing.get_context("fork").Process(target=function, kwargs=options)
    child.start()
    child.join()
"""
FORKED = "was forked from one that uses Dask, whose threads it does not have; give workers=0, or start processes by"
CALLED = {
    "at once": "train(workers=1)",
    "in a thread": "concurrent.futures.ThreadPoolExecutor(1).submit(train, workers=1).result()",
    "in a pool": """
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(train, workers=1).result()
""",
}
REFUSED = {
    "in a pool of daemons": (
        """
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(train, kwds={"workers": 1})
""",
        "SpawnPoolWorker-1 is a daemon, which may start no worker processes; give workers=0 or a scheduler",
    ),
    "while a process starts": (
        """
if multiprocessing.current_process().name == "MainProcess":
    multiprocessing.get_context("spawn").Process(target=print).start()
else:
    train(workers=1)
""",
        "has just been started and imports the script that started it, which trains at once; put what the script does",
    ),
    "in a fork of a process with a client": (
        """
with distributed.Client(n_workers=1, processes=False, dashboard_address=None):
    in_a_fork(train)
""",
        FORKED,
    ),
    "in a fork of a process that had workers": (
        """
if __name__ == "__main__":
    mrdist.generate(train.args[1] + "-none", images=2, size=16, workers=1, progress=False)
    in_a_fork(train, workers=1)
""",
        FORKED,
    ),
}


def run_script(stores, tmp_path, body):
    """Run a script as a user does."""
    script, weights = tmp_path / "script.py", tmp_path / "weights.zarr"
    script.write_text(SCRIPT.replace("IMAGES", repr(stores.images)).replace("WEIGHTS", repr(str(weights))) + body)
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=commands.SECONDS, check=False)
    return done, weights


@pytest.mark.slow
@pytest.mark.parametrize("where", CALLED)
def test_called_by_a_script(stores, tmp_path, where):
    done, weights = run_script(stores, tmp_path, CALLED[where])
    assert done.returncode == 0, done.stderr
    commands.assert_equal_bytes(weights, stores.weights)


@pytest.mark.slow
@pytest.mark.parametrize("where", REFUSED)
def test_refused_where_no_process_may_start(stores, tmp_path, where):
    body, sentence = REFUSED[where]
    done, weights = run_script(stores, tmp_path, body)
    assert sentence in done.stderr
    assert "AssertionError" not in done.stderr
    assert not weights.exists()
