"""A training on SLURM outlives its walltime: real jobs, really ended, and the bytes of an undisturbed training.

`pytest -m slurm` needs sbatch and two idle nodes; MRDIST_INTERFACE names the network interface that they share with
this machine (lo where they are this machine).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import commands
import pytest

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[1]
BATCH = ROOT / "deploy" / "slurm" / "train.sbatch"
JOBQUEUE = ROOT / "deploy" / "slurm" / "train_jobqueue.py"
LABELS = ("--source", "neutral", "--target", "happy")
OPTIONS = (*LABELS, "--receptive-field", "21")  # some 100 s of solving, longer than SLURM's least walltime
N_BLOCKS = 25
MINUTES = 60


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Faces, and the weights of an undisturbed training."""
    folder = tmp_path_factory.mktemp("slurm")
    found = SimpleNamespace(folder=folder, images=folder / "images.zarr", weights=folder / "undisturbed.zarr")
    options = ("--images", "60", "--size", "160", "--labels", "neutral,happy", "--color", "gray", "--workers", "0")
    commands.succeed("generate", found.images, *options)
    with commands.running("train", found.images, found.weights, *OPTIONS, "--block", "32,32") as process:
        _, said = process.communicate(timeout=10 * MINUTES)
        assert process.returncode == 0, said
    return found


@pytest.fixture(scope="module")
def environment():
    """What is submitted from: the commands of this Python are found."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "MRDIST_MAX_MEMORY": "1GiB"}


@pytest.fixture
def submit(stores, environment):
    """Submit the batch script with one minute of walltime; what is left of the jobs ends with the test."""
    jobs = []

    def submit(weights, *options):
        command = ["sbatch", "--parsable", "--time=1", "--mem-per-cpu=1500M", "--export=ALL", *options]
        log = f"--output={stores.folder}/%j.log"
        training = (str(stores.images), str(weights), *OPTIONS, "--block", "32,32")
        done = subprocess.run(
            [*command, log, str(BATCH), *training],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=MINUTES,
            check=True,
        )
        jobs.append(done.stdout.strip())
        return jobs[-1]

    yield submit
    subprocess.run(["scancel", *jobs], check=True, timeout=MINUTES)


def state(job):
    """What SLURM says of a job: its state, the number of times that it was requeued, and when it ended."""
    said = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True, timeout=MINUTES)
    return dict(re.findall(r"(\w+)=(\S*)", said.stdout))


def wait_for(job, states, minutes=10):
    commands.wait_until(lambda: state(job)["JobState"] in states, f"{states} of job {job}", seconds=60 * minutes)
    return state(job)


def test_stopped_before_its_walltime_it_is_requeued_until_it_is_done(stores, submit, tmp_path):
    weights = tmp_path / "weights.zarr"
    job = submit(weights, "--ntasks=2", "--nodes=2", "--signal=B:TERM@1")
    log = stores.folder / f"{job}.log"
    while wait_for(job, ("PENDING", "COMPLETED", "FAILED", "TIMEOUT"))["JobState"] == "PENDING":
        # SLURM lets a requeued job wait for two minutes, which an administrator may cut short
        with contextlib.suppress(subprocess.CalledProcessError):
            command = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
            subprocess.run(command, check=True, timeout=MINUTES, capture_output=True)
        wait_for(job, ("RUNNING", "COMPLETED"))
    found, said = state(job), log.read_text()
    print(said)
    assert found["JobState"] == "COMPLETED", said
    assert int(found["Restarts"]) >= 1
    assert said.count("Stopped; what is finished is kept") == int(found["Restarts"])
    assert re.search(rf"resuming: \d+ of {N_BLOCKS} blocks are done", said)
    commands.assert_equal_bytes(weights, stores.weights)


def test_killed_at_its_walltime_it_is_resumed_by_the_next_job(stores, submit, tmp_path):
    weights = tmp_path / "weights.zarr"
    alone = (
        "--ntasks=1",
        "--no-requeue",
        "--signal=B:URG@1",
    )  # a signal that nobody minds: the end comes without warning
    chain = [submit(weights, *alone)]
    for _ in range(9):
        after = (f"--dependency=afternotok:{chain[-1]}", "--kill-on-invalid-dep=yes")
        chain.append(submit(weights, *alone, *after))
    ended = [wait_for(job, ("COMPLETED", "TIMEOUT", "FAILED", "CANCELLED"))["JobState"] for job in chain]
    logs = [log.read_text() if (log := stores.folder / f"{job}.log").exists() else "" for job in chain]
    print(ended, *logs, sep="\n")
    n_killed = ended.index("COMPLETED")
    assert n_killed >= 1
    assert ended == ["TIMEOUT"] * n_killed + ["COMPLETED"] + ["CANCELLED"] * (len(chain) - n_killed - 1)
    assert all("DUE TO TIME LIMIT" in log for log in logs[:n_killed])
    assert re.search(rf"resuming: [1-9]\d* of {N_BLOCKS} blocks are done", logs[n_killed])
    commands.assert_equal_bytes(weights, stores.weights)


def test_workers_that_are_jobs_of_their_own_are_replaced_at_their_walltime(stores, environment, tmp_path):
    weights = tmp_path / "weights.zarr"
    command = [sys.executable, str(JOBQUEUE), str(stores.images), str(weights), *OPTIONS, "--block", "32", "32"]
    jobs = ("--jobs", "2", "--walltime", "1", "--max-memory", "1GiB")
    interface = ("--interface", environment["MRDIST_INTERFACE"]) if "MRDIST_INTERFACE" in environment else ()
    for last in (False, True):
        process = subprocess.Popen(
            [*command, *jobs, *interface],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            if not last:  # the driver's own walltime
                commands.wait_until(lambda: commands.blocks_done(weights) >= 2, "two blocks")
                process.terminate()
            said, _ = process.communicate(timeout=20 * MINUTES)
            print(said)
            assert process.returncode == (0 if last else 130), said
    commands.assert_equal_bytes(weights, stores.weights)
