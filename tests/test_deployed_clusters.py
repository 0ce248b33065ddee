"""Clusters of Compose and of SLURM's batch script are closed to everybody else, as they come.

Here the same commands, settings and certificates run as processes of this machine; the containers and SLURM itself are
in `test_compose_cluster` and `test_slurm`.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import clusters
import commands
import psutil
import pytest
from test_compose import OURS, PREPARE, ROOT, SERVICES
from test_local_clusters import intrude, ports_of

import mrdist

PAIR = ("--source", "neutral", "--target", "happy")
BATCH = ROOT / "deploy" / "slurm" / "train.sbatch"


def assert_closed(ports):
    """No port says more than that it is there, and whether it is well: probes of containers ask for that."""
    got = intrude(ports)
    assert [each for each in got if each[1] not in ("health", "sitemap.json")] == []
    assert all(what == "ok" for _, path, what in got if path == "health")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    images = tmp_path_factory.mktemp("deployed") / "faces.zarr"
    mrdist.generate(images, images=8, size=32, labels=("neutral", "happy"), workers=0, progress=False)
    return images


def test_every_member_of_compose_speaks_tls_and_has_the_certificates():
    for name, service in OURS.items():
        told = " ".join(service["command"])
        assert "tcp://" not in told
        if "scheduler:8786" in told or name in ("scheduler", "jupyter"):
            assert "certificates:/certificates:ro" in service["volumes"], name
            assert service["environment"]["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "true", name
            assert service["environment"]["DASK_SCHEDULER_ADDRESS"] == "tls://scheduler:8786", name
    assert "--protocol tls" in " ".join(SERVICES["scheduler"]["command"])


def assert_only_those_get_in(settings, faces, folder, *protocol):
    """Train on a cluster with these settings of Dask, and try to speak to it without them."""
    with (
        clusters.scheduler(folder, *protocol, env=settings) as (address, process),
        clusters.worker(address, env=settings),
    ):
        assert address.startswith("tls://127.0.0.1:")
        done = commands.cold(
            "train", faces, folder / "smile.zarr", *PAIR, "--scheduler", address, env=os.environ | settings
        )
        assert done.returncode == 0, done.stderr
        assert_closed(ports_of(psutil.Process(process.pid))[1])
    assert commands.is_whole(folder / "smile.zarr")


@pytest.mark.long
def test_who_has_the_certificates_of_compose_trains_and_nobody_else_gets_in(faces, tmp_path):
    subprocess.run([sys.executable, PREPARE, "secrets", tmp_path, tmp_path], check=True, timeout=commands.SECONDS)
    settings = {
        name: value.replace("/certificates", str(tmp_path))
        for name, value in SERVICES["worker"]["environment"].items()
        if name.startswith("DASK_DISTRIBUTED__")
    }
    settings["DASK_CONFIG"] = str(ROOT / "deploy/dask.yaml")  # which the image has
    assert_only_those_get_in(settings, faces, tmp_path, "--protocol", "tls")


@pytest.fixture
def batch(tmp_path, faces):
    """Return a function that starts SLURM's batch script without SLURM: its commands only start what they are given."""
    tools = tmp_path / "tools"
    tools.mkdir()
    os.mkfifo(tmp_path / "go")  # until somebody writes to it, the training does not begin
    for name, text in {
        "srun": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
        "scontrol": "exit 1",
        "mrdist": f'cat "$TMPDIR/go"; exec {commands.MRDIST} "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    slurm = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "here", "SLURM_NTASKS": "1"}

    def start(*args):
        return subprocess.Popen(
            ["bash", str(BATCH), str(faces), str(tmp_path / "smile.zarr"), *PAIR, *args],
            env={**os.environ, "PATH": path, "TMPDIR": str(tmp_path), "MRDIST_INTERFACE": "lo", **slurm},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


@pytest.mark.long
def test_the_batch_script_of_slurm_lets_nobody_else_in(batch, tmp_path):
    with batch() as process:
        job = psutil.Process(process.pid)

        def ports():
            with contextlib.suppress(psutil.NoSuchProcess):  # one of those that come and go
                return ports_of(job)[1]
            return []

        # of the scheduler, of the worker and of its nanny, each with a server of HTTP but the nanny
        commands.wait_until(lambda: len(ports()) >= 5, "the scheduler and the worker")
        assert_closed(ports_of(job)[1])
        assert process.poll() is None
        (tmp_path / "go").write_text("")
        said, _ = process.communicate(timeout=2 * commands.SECONDS)
    assert process.returncode == 0, said
    assert commands.is_whole(tmp_path / "smile.zarr")
    assert "is not encrypted" not in said
    assert not list(tmp_path.glob("*.pem"))
