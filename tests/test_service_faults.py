"""The service is killed with three trainings running and five queued, at twenty moments.

The next service loses none of them, runs none twice, and leaves the bytes of trainings that nothing disturbed:
``pytest -m faults tests/test_service_faults.py``. The moments are seeded: so many blocks are done when it happens.
"""

import os
import random

import commands
import pytest
from services import serving

pytestmark = pytest.mark.faults

MOMENTS = range(int(os.environ.get("MRDIST_FAULT_MOMENTS", "20")))
RUNNING, QUEUED = 3, 5
N_BLOCKS = 64
PAIR = {"images": "faces", "source": "neutral", "target": "happy", "receptive_field": 11}
HOW = ("--workers", 0, "--max-running", RUNNING)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The images, and the weights of a training by the command line."""
    folder = tmp_path_factory.mktemp("killed")
    faces = ("--images", 60, "--size", 128, "--labels", "neutral,happy", "--color", "gray", "--workers", 0)
    commands.succeed("generate", folder / "faces.zarr", *faces)
    pair = ("--source", "neutral", "--target", "happy", "--receptive-field", 11, "--workers", 0)
    commands.succeed("train", folder / "faces.zarr", folder / "expected.zarr", *pair)
    return folder


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_service_is_killed(folder, tmp_path, seed):
    catalog, log = tmp_path / "catalog", tmp_path / "log"
    (catalog / "datasets").mkdir(parents=True)
    (catalog / "datasets/faces.zarr").symlink_to(folder / "faces.zarr")
    moment = random.Random(seed).randint(1, N_BLOCKS)

    def done(job):
        return commands.blocks_done(catalog / "models" / f"{job['name']}.zarr")

    with serving(catalog, log, *HOW) as killed:
        jobs = [
            killed.submit("train", f"model-{n}", **PAIR, block=[16, 16], key=f"job {n}")
            for n in range(RUNNING + QUEUED)
        ]
        running, queued = jobs[:RUNNING], jobs[RUNNING:]
        for job in running:
            killed.wait(job, "running")
        commands.wait_until(lambda: sum(map(done, running)) >= moment, f"block {moment}")
        states = [job["state"] for job in killed.ask("GET", "/jobs")["jobs"]]
        kept = {job["id"]: done(job) for job in running}
        killed.kill()
    assert (states.count("running"), states.count("queued")) == (RUNNING, QUEUED)
    if seed % 2:  # the trainings have seen that their service is gone before there is another
        commands.wait_until(lambda: not any((catalog / f"jobs/{job['id']}.run").exists() for job in running), "ends")
    with serving(catalog, log, *HOW) as found:
        assert found.submit("train", "model-0", **PAIR, block=[16, 16], key="job 0")["id"] == jobs[0]["id"]
        for job in jobs:
            found.finish(job)
        listed = found.ask("GET", "/jobs")["jobs"]
        runs = {job["id"]: found.ask("GET", f"/jobs/{job['id']}/result")["result"]["blocks_run"] for job in jobs}
    assert sorted(job["id"] for job in listed) == sorted(job["id"] for job in jobs)
    worked = log.read_text()
    times = {job["id"]: worked.count(f"job {job['id']} (train {job['name']}) runs in process") for job in jobs}
    assert [times[job["id"]] for job in queued] == [1] * QUEUED
    assert all(times[job["id"]] <= 2 for job in running)
    assert all(runs[job["id"]] == N_BLOCKS for job in queued)
    assert all(runs[job["id"]] <= N_BLOCKS - kept[job["id"]] for job in running if times[job["id"]] == 2)
    for job in jobs:
        commands.assert_equal_bytes(catalog / "models" / f"{job['name']}.zarr", folder / "expected.zarr")
    assert "Traceback" not in worked, worked
    print(f"killed at block {moment}: kept {sorted(kept.values())}, worked on {sum(times.values())} times")
