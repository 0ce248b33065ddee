"""dask-mpi makes the scheduler and the workers under a real ``mpirun``; the bytes are those of one process.

`pytest -m mpi` needs what `pip install dask-mpi mpi4py mpich` brings.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import commands
import psutil
import pytest
from test_deployed_clusters import assert_closed
from test_local_clusters import ports_of

pytestmark = pytest.mark.mpi

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
LABELS = ("--source", "neutral", "--target", "happy")
MPIRUN = (str(BIN / "mpirun"), "-n", "4")
EXAMPLE = ROOT / "deploy" / "mpi" / "train.py"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mpi")
    commands.succeed("generate", folder / "images.zarr", "--images", "12", "--size", "48", "--workers", "0")
    commands.succeed("train", folder / "images.zarr", folder / "weights.zarr", *LABELS, "--workers", "0")
    return folder


def environment(folder, **more):
    """What processes of MPI find; Dask writes beside the test and not into the sources."""
    return os.environ | {"PYTHONPATH": str(ROOT), "DASK_TEMPORARY_DIRECTORY": str(folder)} | more


@contextlib.contextmanager
def running(command, folder, **more):
    """Start processes of MPI, and end them all."""
    where = {"env": environment(folder, **more), "cwd": folder, "start_new_session": True}
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, **where) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def certificates(folder):
    """Make certificates as `deploy/README.md` says, and return the variables that name them to Dask."""
    readme = (ROOT / "deploy" / "README.md").read_text()
    for begin in ("  openssl req", "  export DASK_DISTRIBUTED__COMM__REQUIRE"):
        lines = readme[readme.index(begin) :].partition("  ```")[0]
        with (folder / "commands").open("a") as file:
            file.write(textwrap.dedent(lines))
    script = f"set -e; . ./commands; {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return {name: value for name, value in json.loads(done.stdout).items() if name.startswith("DASK_DISTRIBUTED__COMM")}


def test_a_script_that_is_its_own_cluster(stores, tmp_path):
    weights = tmp_path / "weights.zarr"
    command = [*MPIRUN, sys.executable, EXAMPLE, stores / "images.zarr", weights, *LABELS, "--block", "16", "16"]
    done = subprocess.run(
        [*map(str, command)],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=2 * commands.SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "9 of 9 blocks" in done.stdout
    commands.assert_equal_bytes(weights, stores / "weights.zarr")


def test_nobody_else_gets_into_the_script(stores, tmp_path):
    weights = tmp_path / "weights.zarr"
    # more than a minute of work, which the intruder has until then
    how = (*LABELS, "--receptive-field", "41", "--block", "16", "16")
    command = [*MPIRUN, sys.executable, EXAMPLE, stores / "images.zarr", weights, *how]
    with running([*map(str, command)], tmp_path) as process:
        job = psutil.Process(process.pid)
        commands.wait_until((weights / "zarr.json").exists, "the training", seconds=2 * commands.SECONDS)
        # MPI's launchers listen as well, but they are none of Dask's.
        servers = [each for each in job.children(recursive=True) if "train.py" in " ".join(each.cmdline())]
        ports = sorted({port for each in servers for port in ports_of(each)[1]})
        assert len(ports) >= 3
        assert_closed(ports)
        assert process.poll() is None, (tmp_path / "log").read_text()


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_a_cluster_of_mpi_and_its_scheduler_file(stores, tmp_path, protocol, monkeypatch):
    weights, file = tmp_path / "weights.zarr", tmp_path / "scheduler.json"
    encrypted = certificates(tmp_path) if protocol == "tls" else {}
    command = [*MPIRUN, str(BIN / "dask-mpi"), "--scheduler-file", str(file), "--protocol", protocol, "--nthreads", "1"]
    with running([*command, "--worker-class", "distributed.Worker"], tmp_path, **encrypted):
        for name, value in encrypted.items():
            monkeypatch.setenv(name, value)
        commands.wait_until(file.exists, "the scheduler file")
        assert json.loads(file.read_text())["address"].startswith(f"{protocol}://")
        how = (*LABELS, "--block", "16,16", "--scheduler-file", file)
        # not warm: Dask's configuration is read when it is imported
        done = commands.cold("train", stores / "images.zarr", weights, *how, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["blocks_run"] == 9, (tmp_path / "log").read_text()
    commands.assert_equal_bytes(weights, stores / "weights.zarr")
