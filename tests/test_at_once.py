"""Small work is done in the process itself: who decides, who says so, and what is not loaded for it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import commands
import dask.system
import psutil
import pytest
from PIL import Image

import mrdist
from mrdist.errors import ParameterError
from mrdist.execution import _choice, _forking, _process, choose, n_processors, open_executor
from mrdist.methods.registry import METHODS
from mrdist.planning import BASE_MEMORY, MIB, predict_start
from mrdist.running.workers import seconds_between

PAIR = ("--source", "neutral", "--target", "happy")
HERE = "in this process: about 0."


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    url = tmp_path_factory.mktemp("at_once") / "images.zarr"
    faces = ("--images", 12, "--size", 32, "--labels", "neutral,happy", "--color", "gray")
    assert "working in this process" in commands.succeed("generate", url, *faces, "-v").stderr
    return url


@pytest.fixture(scope="module")
def weights(images):
    url = images.with_name("weights.zarr")
    assert commands.report("train", images, url, *PAIR)["workers"] == 0
    return url


# --- the decision -----------------------------------------------------------------------------------


def decide(workers=None, scheduler=None, **how):
    return choose(workers, scheduler, **{"n_tasks": 8, "max_memory": 2048 * MIB, "seconds": 0.1, **how})


def test_work_shorter_than_a_start_is_done_here():
    start = predict_start(None, 8, n_processors=n_processors())
    assert decide(seconds=0.99 * start).workers == 0
    assert decide(seconds=0.99 * start).start_seconds == 0
    for seconds in (start, None):
        longer = decide(seconds=seconds)
        assert longer.workers == min(n_processors(), 8)
        assert longer.start_seconds == start
        assert longer.where.startswith(f"{longer.workers} worker process")


@pytest.mark.parametrize("seconds", [0.0, 1e6, None])
def test_who_is_named_works(seconds):
    assert decide(0, seconds=seconds).workers == 0
    assert decide(3, seconds=seconds).workers == 3
    assert decide(30, seconds=seconds).workers == 8  # no more than there are tasks
    far = decide(scheduler="tcp://there:8786", seconds=seconds)
    assert (far.workers, far.where) == (None, "on the workers of tcp://there:8786")
    with pytest.raises(ParameterError):
        decide(1, "tcp://there:8786", seconds=seconds)


def test_work_that_does_not_fit_beside_what_the_process_holds_is_done_by_workers(monkeypatch):
    planned = BASE_MEMORY + 500 * MIB
    monkeypatch.setattr(_choice, "resident_memory", lambda: BASE_MEMORY)
    assert decide(memory=planned, max_memory=planned).workers == 0
    assert decide(memory=planned, max_memory=planned - 1).workers > 0
    monkeypatch.setattr(_choice, "resident_memory", lambda: 1500 * MIB)  # a notebook with data of its own
    assert decide(memory=planned, max_memory=2000 * MIB).workers == 0
    crowded = decide(memory=planned, max_memory=1999 * MIB)
    assert crowded.workers > 0
    assert "this one would come to 2000 MiB, more than the 1999 MiB it may have" in crowded.where


def test_what_comes_through_a_network_takes_longer():
    assert seconds_between(1.0, 10**9, "/disk/a", "/disk/b") == 1.0
    assert seconds_between(1.0, 10**9, "/disk/a", "s3://there/b") > 10
    assert seconds_between(None, 1, "s3://there/b") is None


def test_processors_are_those_that_dask_counts(monkeypatch, tmp_path):
    assert n_processors() == dask.system.cpu_count()
    (tmp_path / "cgroup").write_text("0::/box\n")
    (tmp_path / "box").mkdir()
    monkeypatch.setattr(_process, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(_process, "_CGROUPS", tmp_path)
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for quota, usable in {"max 100000": here, "50000 100000": 1, "150000 100000": min(2, here)}.items():
        (tmp_path / "box" / "cpu.max").write_text(quota)
        assert n_processors() == usable
    (tmp_path / "box" / "cpu.max").unlink()
    (tmp_path / "cpu,cpuacct").mkdir()
    for name, value in {"quota": 100000, "period": 100000}.items():
        (tmp_path / "cpu,cpuacct" / f"cpu.cfs_{name}_us").write_text(str(value))
    assert n_processors() == 1


# --- every verb says it -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("morph", "l1")])
def test_every_method_trains_few_people_here_and_its_plan_says_so(images, tmp_path, method):
    how = {"source": "neutral", "target": "happy", "method": method}
    planned = mrdist.plan(images, **how)
    report = mrdist.train(images, tmp_path / "w.zarr", progress=False, **how)
    assert planned.where == report.where
    assert report.where.startswith(HERE)
    assert (planned.workers, report.workers, planned.start_seconds) == (0, 0, 0)
    forced = mrdist.plan(images, workers=2, **how)
    assert forced.workers in (1, 2)
    assert forced.where.endswith("as asked")
    again = mrdist.train(images, tmp_path / "w.zarr", progress=False, **how)
    assert (again.workers, again.where) == (0, "nowhere: nothing was left to do")


def test_every_verb_says_who_works(images, weights, tmp_path):
    photographs = tmp_path / "photographs"
    for label in ("neutral", "happy"):
        (photographs / label).mkdir(parents=True)
        for name in "abc":
            Image.new("L", (16, 16), 99).save(photographs / label / f"{name}.png")
    for args in (
        ("accumulate", images, tmp_path / "sums", *PAIR),
        ("solve", tmp_path / "sums", tmp_path / "solved"),
        ("train", images, tmp_path / "searched", *PAIR, "--alpha", "cv", "--folds", 2),
        ("train", images, tmp_path / "mappings", "--source", "neutral", "--target", "all"),
        ("train", images, tmp_path / "apart", "--source", "neutral", "--target", "all", "--method", "l2"),
        ("evaluate", weights, images),
        ("synthesize", weights, images, "--out", tmp_path / "made"),
        ("rechunk", images, tmp_path / "copy"),
        ("ingest", photographs, tmp_path / "ingested", "--align", "none"),
    ):
        told = commands.report(*args)
        assert (told["workers"], told["where"][: len(HERE)]) == (0, HERE), args


def test_who_works_is_said_on_request_alone(images, tmp_path):
    train = ("train", images, tmp_path / "w.zarr", *PAIR, "--overwrite")
    assert commands.succeed(*train).stderr == ""
    assert commands.succeed(*train, "--verbose").stderr.startswith(f"working {HERE}")
    events = map(json.loads, commands.succeed("--events", "-", *train).stderr.splitlines())
    (told,) = [event for event in events if event["event"] == "workers"]
    assert (told["workers"], told["where"][: len(HERE)]) == (0, HERE)
    assert f"works {HERE}" in " ".join(commands.succeed("plan", images, *PAIR).stdout.split())


def test_what_a_killed_run_has_finished_is_kept(images, weights, tmp_path):
    train = ("train", images, tmp_path / "w.zarr", *PAIR, "--block", "16,16")
    commands.killed(*train, at=("/progress/done/c/", 2))
    report = commands.report(*train)
    assert 0 < report["blocks_run"] < report["blocks"] == 4
    assert report["workers"] == 0
    commands.assert_equal_bytes(tmp_path / "w.zarr", weights)


# --- workers ----------------------------------------------------------------------------------------


def test_workers_are_forked_from_a_server_with_the_same_environment(monkeypatch):
    monkeypatch.setattr(_forking, "_begun", None)
    assert _forking.start_method() == "spawn"
    monkeypatch.setattr(_forking, "_begun", (os.getpid(), _forking._environment()))
    assert _forking.start_method() == "forkserver"
    monkeypatch.setenv("MRDIST_ANYTHING", "new")
    assert _forking.start_method() == "spawn"
    monkeypatch.delenv("MRDIST_ANYTHING")
    monkeypatch.setattr(_forking, "_begun", (os.getpid() + 1, _forking._environment()))  # this one was forked from it
    assert _forking.start_method() == "spawn"


def variable(name):
    """What a worker has."""
    return os.environ.get(name), os.getppid()


@pytest.mark.slow
def test_workers_have_the_environment_of_their_driver(monkeypatch):
    found = []
    for value in (None, "new"):
        if value is not None:
            monkeypatch.setenv("MRDIST_ANYTHING", value)
        with open_executor(workers=1, n_tasks=1, max_memory=10**9) as executor:
            ((_, (there, parent)),) = executor.run(variable, ["MRDIST_ANYTHING"], name="look")
        assert there == value
        found.append(parent)
    if sys.platform == "linux":
        assert found[0] != os.getpid() == found[1]
        assert "forkserver" in " ".join(psutil.Process(found[0]).cmdline())
        sockets = [Path(each.laddr) for each in psutil.Process(found[0]).net_connections("unix") if each.laddr]
        assert sockets
        assert all(path.stat().st_mode & 0o077 == 0 == path.parent.stat().st_mode & 0o077 for path in sockets)
