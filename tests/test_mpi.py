"""dask-mpi makes the scheduler and the workers under a real ``mpirun``; the bytes are those of one process.

`pytest -m mpi` needs what `pip install dask-mpi mpi4py mpich` brings.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import commands
import pytest

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


def environment(folder):
    """What processes of MPI find; Dask writes beside the test and not into the sources."""
    return os.environ | {"PYTHONPATH": str(ROOT), "DASK_TEMPORARY_DIRECTORY": str(folder)}


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


def test_a_cluster_of_mpi_and_its_scheduler_file(stores, tmp_path):
    weights, file = tmp_path / "weights.zarr", tmp_path / "scheduler.json"
    command = [
        *MPIRUN,
        str(BIN / "dask-mpi"),
        "--scheduler-file",
        str(file),
        "--worker-class",
        "distributed.Worker",
        "--nthreads",
        "1",
    ]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, env=environment(tmp_path), cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            commands.wait_until(file.exists, "the scheduler file")
            how = (*LABELS, "--block", "16,16", "--scheduler-file", file)
            report = commands.report("train", stores / "images.zarr", weights, *how)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert report["blocks_run"] == 9, (tmp_path / "log").read_text()
    commands.assert_equal_bytes(weights, stores / "weights.zarr")
