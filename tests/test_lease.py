"""An output belongs to one run at a time: real second runs, killed ones, stopped ones that wake up too late."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import zarr
from PIL import Image

import mrdist
from mrdist.errors import StoreBusyError
from mrdist.methods.registry import METHODS
from mrdist.pipeline.applying.export import export
from mrdist.pipeline.applying.refine import refine
from mrdist.pipeline.applying.synthesize_store import synthesize_store
from mrdist.pipeline.ingesting.ingest import ingest
from mrdist.pipeline.ingesting.rechunk import rechunk
from mrdist.pipeline.training.accumulate import accumulate
from mrdist.pipeline.training.mappings import train_mappings
from mrdist.pipeline.training.solve import solve
from mrdist.storage import Lease, fenced_by, run_state
from mrdist.storage.access.records import read_record, write_record
from mrdist.storage.access.urls import create_group, open_group, remove_output
from mrdist.storage.making import lease

PAIR = {"source": "neutral", "target": "happy"}
OPTIONS = ("--source", "neutral", "--target", "happy", "--receptive-field", 5)
BLOCK = ("--block", "16,16")
N_BLOCKS = 64


@pytest.fixture
def quick(monkeypatch):
    """The same rules with shorter times."""
    for name, seconds in (("LEASE", 1.0), ("BEAT", 0.1), ("SETTLE", 0.2), ("FENCE", 0.05)):
        monkeypatch.setattr(lease, f"{name}_SECONDS", seconds)


@pytest.fixture(params=["disk", "memory"])
def url(request, tmp_path):
    return str(tmp_path / "w.zarr") if request.param == "disk" else f"memory://{uuid.uuid4()}/w.zarr"


def record_of(url, **fields):
    """Return the record of a run of this process, or of another as ``fields`` say."""
    return {**lease._new_record("train"), **fields}


# --- the rules, in one process -----------------------------------------------------------------------------


def test_an_output_is_held_by_one_run_and_free_afterwards(quick, url, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 30.0)  # however late a beat may be
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: attempt(url), range(4)))
    held = [one for one in found if isinstance(one, Lease)]
    assert len(held) == 1
    refused = [str(one) for one in found if one is not held[0]]
    who = rf"{re.escape(url)} is being written by the train of .+@.+ \(process {os.getpid()}, since .+\+00:00\); wait"
    assert all(re.match(who, sentence) for sentence in refused)
    assert run_state(url)["alive"] is True
    held[0].end()
    assert run_state(url) is None
    attempt(url).end()


def attempt(url):
    try:
        return Lease.take(url, None, "train")
    except StoreBusyError as error:
        return error


def test_of_several_that_take_over_one_goes_on(quick, url):
    write_record(lease.run_url(url), record_of(url, released=True))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: attempt(url), range(4)))
    held = [one for one in found if isinstance(one, Lease)]
    assert len(held) == 1
    held[0].end()


def test_what_a_run_leaves_behind(quick, url):
    first = Lease.take(url, None, "train")
    first.end("a wrong option")
    assert run_state(url) is None  # nothing was begun
    second = Lease.take(url, None, "train")
    second.tell(blocks=3, blocks_done=1)
    second.end("the disk is full")
    state = run_state(url)
    assert (state["alive"], state["last_error"], state["blocks_done"]) == (False, "the disk is full", 1)
    Lease.take(url, None, "solve").end("a wrong option")
    assert run_state(url) == state
    Lease.take(url, None, "train").end()
    assert run_state(url) is None


@pytest.mark.parametrize("skew", [timedelta(days=-1), timedelta(0), timedelta(days=1)], ids=str)
def test_on_another_machine_the_beat_counts_and_not_the_clock(quick, url, skew):
    def seen():
        return (datetime.now(UTC) + skew).isoformat()

    other = record_of(url, machine="another", host="another", who="ann@another", seen=seen())
    place, over = lease.run_url(url), threading.Event()
    write_record(place, other)

    def beat():
        while not over.wait(0.1):
            other.update(beat=other["beat"] + 1, seen=seen())
            write_record(place, other)

    heart = threading.Thread(target=beat)
    heart.start()
    began = time.monotonic()
    with pytest.raises(StoreBusyError, match="train of ann@another"):
        Lease.take(url, None, "train")
    assert time.monotonic() - began < lease.LEASE_SECONDS
    over.set()
    heart.join()
    began = time.monotonic()
    Lease.take(url, None, "train").end()
    assert lease.LEASE_SECONDS < time.monotonic() - began < 10


def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(url, monkeypatch):
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = record_of(url, pid=child.pid, birth=lease._birth(child.pid))
    place = lease.run_url(url)
    write_record(place, theirs)
    with pytest.raises(StoreBusyError, match=f"process {child.pid}"):
        Lease.take(url, None, "train")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie, which its parent has not asked for yet
    for gone in (theirs, record_of(url, birth="1")):  # and a process id that is another process's by now
        write_record(place, gone)
        assert run_state(url)["alive"] is False
        began = time.monotonic()
        Lease.take(url, None, "train").end()
        assert time.monotonic() - began < lease.BEAT_SECONDS
    child.communicate()


def test_a_run_whose_record_was_removed_stops(quick, url):
    held = Lease.take(url, None, "train")
    lease.remove_record(lease.run_url(url))
    with pytest.raises(StoreBusyError, match=r"w\.zarr\.run is gone, so this run cannot know"):
        commands.wait_until(held.check, "a heartbeat")
    held.end("lost")
    assert run_state(url) is None


def test_whoever_has_lost_its_output_writes_nothing_more(quick, url, monkeypatch):
    monkeypatch.setattr(lease, "FENCE_SECONDS", 60.0)  # what was seen before the loss does not count after it
    held = Lease.take(url, None, "train")
    with fenced_by(held.fence):
        group = create_group(url, None, "weights")
        array = group.create_array("a", data=np.full(4, 2.0))
        theirs = record_of(url, who="bob@there")

        def take_over():
            write_record(lease.run_url(url), theirs)  # again, as a heartbeat may have been on its way
            held.check()

        with pytest.raises(StoreBusyError, match=r"was taken over by the train of bob@there"):
            commands.wait_until(take_over, "a heartbeat")
        for write in (
            lambda: array.__setitem__(slice(None), np.ones(4)),
            lambda: group.create_array("b", data=np.ones(1)),
            lambda: group.__delitem__("a"),
            lambda: remove_output(url, None),
        ):
            with pytest.raises(StoreBusyError, match=r"bob@there.* this one writes nothing more"):
                write()
    held.end()
    assert read_record(lease.run_url(url)) == theirs
    assert open_group(url)["a"][...].tolist() == [2.0] * 4


def test_one_of_many_writes_asks_for_all_of_them(url):
    class Looked:
        times = 0

        @property
        def is_fresh(self):
            return self.times > 0

        def check(self):
            self.times += 1

    array = create_group(url, None, "weights").create_array("a", shape=64, chunks=1, dtype=int)
    right = Looked()
    with fenced_by(right):
        open_group(url, write=True)[array.name][...] = np.arange(1, 65)
    assert right.times == 1
    assert open_group(url)["a"][...].tolist() == list(range(1, 65))


# --- every verb that writes a store -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One store of every kind, and photographs."""
    folder = tmp_path_factory.mktemp("made")
    found = SimpleNamespace(**{name: str(folder / name) for name in ("images", "more", "sums", "weights", "people")})
    mrdist.generate(found.images, images=8, size=16, labels=["neutral", "happy"], color="gray", workers=0)
    mrdist.generate(found.more, images=9, size=16, labels=["neutral", "happy"], color="gray", workers=0)
    accumulate(found.images, found.sums, **PAIR, split="all", workers=0)
    mrdist.train(found.images, found.weights, **PAIR, workers=0)
    for n, name in enumerate(("happy/a", "sad/a")):
        path = Path(found.people, f"{name}.png")
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((16, 16), 50 * n, dtype=np.uint8)).save(path)
    ingest(found.people, f"{found.people}.zarr", align="none", color="gray", workers=0)
    return found


VERBS = {
    **{
        method: lambda made, out, method=method: mrdist.train(
            made.images, out, **PAIR, method=method, **commands.known(method, components=2, nonzeros=2), workers=0
        )
        for method in METHODS
    },
    "cv": lambda made, out: mrdist.train(made.images, out, **PAIR, alpha="cv", folds=2, workers=0),
    "mappings": lambda made, out: train_mappings(made.images, out, source="neutral", workers=0),
    "mappings apart": lambda made, out: train_mappings(made.images, out, source="neutral", method="l2", workers=0),
    "accumulate": lambda made, out: accumulate(made.images, out, **PAIR, workers=0),
    "solve": lambda made, out: solve(made.sums, out, workers=0),
    "rechunk": lambda made, out: rechunk(made.images, out, workers=0),
    "generate": lambda _, out: mrdist.generate(out, images=2, size=16, workers=0),
    "synthesize": lambda made, out: synthesize_store(made.weights, made.images, out, workers=0),
    "ingest": lambda made, out: ingest(made.people, out, align="none", workers=0),
    "export": lambda made, out: export(made.weights, out, format="csr-zarr"),
}
GROW = {
    "append": ("sums", lambda made, out: accumulate(made.more, out, split="all", append=True, workers=0)),
    "overwrite": ("weights", lambda made, out: mrdist.train(made.images, out, **PAIR, overwrite=True, workers=0)),
    "refine": ("weights", lambda _, out: refine(out)),
    "ingest": ("people.zarr", lambda made, out: ingest(made.people, out, append=True, workers=0)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_leaves_alone_what_another_run_writes(verb, made, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.0)
    out = str(tmp_path / "out")
    write_record(lease.run_url(out), record_of(out))
    with pytest.raises(StoreBusyError, match="is being written by the train of"):
        VERBS[verb](made, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out.run"]
    write_record(lease.run_url(out), record_of(out, released=True))
    VERBS[verb](made, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("verb", GROW)
def test_what_is_there_is_not_touched_either(verb, made):
    name, call = GROW[verb]
    out = str(Path(made.images).with_name(name))
    before = commands.files(out)
    write_record(lease.run_url(out), record_of(out))
    with pytest.raises(StoreBusyError, match="is being written by the train of"):
        call(made, out)
    assert commands.files(out) == before
    lease.remove_record(lease.run_url(out))
    call(made, out)
    assert not Path(lease.run_url(out)).exists()


# --- real runs ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lease")
    found = SimpleNamespace(**{name: folder / f"{name}.zarr" for name in ("images", "weights", "other")})
    commands.succeed(
        "generate", found.images, "--images", 40, "--size", 128, "--labels", "neutral,happy", "--workers", 0
    )
    for name, more in (("weights", ()), ("other", ("--alpha", 2))):
        commands.succeed("train", found.images, getattr(found, name), *OPTIONS, *more, "--workers", 0)
    return found


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "weights.zarr"


def wait_for_blocks(process, weights, least=2):
    commands.wait_until(lambda: commands.blocks_done(weights) >= least or process.poll() is not None, f"{least} blocks")
    assert process.poll() is None, process.stderr.read()


def test_the_same_command_twice(stores, weights):
    """One works, the other is refused within seconds; who asks meanwhile is told how far the work is."""
    command = ("train", stores.images, weights, *OPTIONS, *BLOCK, "--workers", 0)
    with commands.running(*command) as process:
        wait_for_blocks(process, weights)
        process.send_signal(signal.SIGSTOP)  # it would be over too soon; its last sign of life is fresh
        try:
            for more in ((), ("--overwrite",)):
                began = time.monotonic()
                sentence = commands.failure(*command, *more)
                assert f"is being written by the train of {run_state(str(weights))['who']}" in sentence
                assert f"(process {process.pid}, since " in sentence
                assert time.monotonic() - began < 15
            found = commands.report("info", weights)
            assert found["run"]["pid"] == process.pid
            assert found["run"]["alive"] is True
            assert (found["complete"], found["blocks"]) == (False, N_BLOCKS)
            assert 2 <= found["blocks_done"] < N_BLOCKS
        finally:
            process.send_signal(signal.SIGCONT)
        _, stderr = process.communicate(timeout=commands.SECONDS)
        assert process.returncode == 0, stderr
    commands.assert_equal_bytes(weights, stores.weights)
    assert "run" not in commands.report("info", weights)
    assert [path.name for path in weights.parent.iterdir()] == ["weights.zarr"]


def test_a_killed_run_is_gone_on_with_at_once_and_from_another_host(stores, weights, quick):
    for by_another in (False, True):
        done = commands.blocks_done(weights)
        with commands.running("train", stores.images, weights, *OPTIONS, *BLOCK, "--workers", 0) as process:
            wait_for_blocks(process, weights, done + 2)
            process.kill()
            process.wait()
        run = commands.report("info", weights)["run"]
        assert (run["alive"], run["last_error"], run["pid"]) == (False, None, process.pid)
        place = Path(lease.run_url(str(weights)))
        if by_another:
            place.write_text(json.dumps({**json.loads(place.read_text()), "machine": "another"}))
            mrdist.train(str(stores.images), str(weights), **PAIR, receptive_field=5, workers=0)
    commands.assert_equal_bytes(weights, stores.weights)
    assert not place.exists()


def test_a_failed_run_leaves_its_reason(stores, weights, tmp_path):
    images = tmp_path / "images.zarr"
    group = zarr.open_group(str(stores.images))
    commands.write_store(images, {label: group[label][...] for label in ("neutral", "happy")})
    chunk = max((images / "happy" / "c").rglob("*"), key=lambda path: (path.is_file(), str(path)))
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-9])
    command = ("train", images, weights, *OPTIONS, *BLOCK, "--workers", 0)
    sentence = commands.failure(*command).removeprefix("Error: ")
    run = commands.report("info", weights)["run"]
    assert (run["alive"], run["last_error"]) == (False, sentence)
    assert 0 < run["blocks_done"] < run["blocks"] == N_BLOCKS
    assert run["blocks_per_second"] > 0
    assert run["images_per_second"] > 0
    chunk.write_bytes(content)
    assert commands.report(*command)["blocks_run"] == N_BLOCKS - run["blocks_done"]
    assert "run" not in commands.report("info", weights)


def test_a_run_before_its_store(quick, tmp_path):
    url = str(tmp_path / "w.zarr")
    held = Lease.take(url, None, "ingest")
    found = commands.report("info", url)
    assert (found["complete"], found["kind"], found["run"]["command"]) == (False, None, "ingest")
    assert "aligning" not in commands.succeed("info", url).stdout
    held.end()
    assert "there is no zarr group" in commands.failure("info", url)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_that_wakes_up_too_late_changes_nothing(stores, weights, quick, workers):
    """Stopped in the middle, it is taken over by another training, which finishes; then it goes on."""
    with commands.running("train", stores.images, weights, *OPTIONS, *BLOCK, "--workers", workers) as process:
        wait_for_blocks(process, weights)
        commands.signal_group(process, signal.SIGSTOP)
        commands.wait_until(lambda: not run_state(str(weights))["alive"], "the end of the lease")
        mrdist.train(str(stores.images), str(weights), **PAIR, receptive_field=5, alpha=2.0, overwrite=True, workers=0)
        commands.assert_equal_bytes(weights, stores.other)
        commands.signal_group(process, signal.SIGCONT)
        _, stderr = process.communicate(timeout=commands.SECONDS)
    assert process.returncode == 1
    assert "Error: " in stderr
    assert "Traceback" not in stderr
    commands.assert_equal_bytes(weights, stores.other)
    assert [path.name for path in weights.parent.iterdir()] == ["weights.zarr"]
