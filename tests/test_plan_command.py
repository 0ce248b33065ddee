"""`mrdist plan`: what a training costs, and what it says of chunks that are bad to train from."""

from __future__ import annotations

from dataclasses import replace

import clusters
import commands
import pytest

import mrdist
from mrdist.calibration import Rates, measure_kernels, predict_seconds
from mrdist.geometry import ReceptiveField
from mrdist.planning import BASE_MEMORY, DEFAULT_MEMORY, KERNEL_MEMORY, MIB, Workload, plan_training
from mrdist.storage import chunk_shape

SIZE = 64
LABELS = ("--source", "neutral", "--target", "happy")
GOOD = Workload((512, 512), 3, 1, (128, 64, 64, 3), 1000, 1000, ReceptiveField(3), 1, 4, 64)
HOSTILE = replace(GOOD, chunks=(1, 512, 512, 3))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same faces in default chunks and one whole image to a chunk."""
    folder = tmp_path_factory.mktemp("plan")
    found = {"good": str(folder / "good.zarr"), "hostile": str(folder / "hostile.zarr")}
    options = ("--images", 20, "--size", SIZE, "--labels", "neutral,happy", "--workers", 0)
    commands.succeed("generate", found["good"], *options)
    commands.succeed("rechunk", found["good"], found["hostile"], "--chunks", f"1,{SIZE},{SIZE}", "--workers", 0)
    return found


def test_a_good_store_needs_no_advice(stores):
    plan = commands.report("plan", stores["good"], *LABELS, "--workers", 2)
    assert plan["advice"] is None
    assert plan["n_blocks"] >= 2
    assert 0 < plan["seconds"] < 60
    done = commands.succeed("plan", stores["good"], *LABELS)
    assert "seconds" in done.stdout
    assert "rechunk" not in done.stdout + done.stderr


def test_hostile_chunks_are_read_once_and_told(stores, tmp_path):
    plan = commands.report("plan", stores["hostile"], *LABELS, "--workers", 2)
    assert (plan["block"], plan["n_blocks"]) == ([SIZE, SIZE], 1)
    n_train = commands.report("info", stores["hostile"])["splits"]["train"]
    assert plan["bytes_read"] == plan["bytes_needed"] == 2 * n_train * SIZE * SIZE * 3
    advice = plan["advice"]
    assert f"chunks of 1 x {SIZE} x {SIZE} (images, rows, columns)" in advice
    assert "1.0 times and keeps 1 of 2 workers busy" in advice
    assert "mrdist rechunk IN OUT" in advice
    told = commands.succeed("plan", stores["hostile"], *LABELS, "--workers", 2)
    assert f"Warning: {advice}" in told.stderr.splitlines()
    weights = tmp_path / "weights.zarr"
    trained = commands.succeed("train", stores["hostile"], weights, *LABELS, "--workers", 0)
    assert "mrdist rechunk IN OUT" in trained.stderr
    again = commands.succeed("train", stores["hostile"], weights, *LABELS, "--workers", 0)
    assert "rechunk" not in again.stderr


def test_a_training_is_cut_for_the_workers_that_the_scheduler_has(stores, tmp_path):
    one, two = (commands.report("plan", stores["good"], *LABELS, "--workers", n)["n_blocks"] for n in (1, 2))
    assert (one, two) == (1, 2)  # and two or more for the processors of this machine
    with clusters.scheduler(tmp_path) as (address, _), clusters.worker(address), clusters.at_work(address, 1):
        trained = commands.report("train", stores["good"], tmp_path / "weights.zarr", *LABELS, "--scheduler", address)
    assert trained["blocks"] == one


def test_following_the_advice_ends_it(stores, tmp_path):
    copy = str(tmp_path / "copy.zarr")
    commands.succeed("rechunk", stores["hostile"], copy, "--workers", 0)
    assert commands.report("plan", copy, *LABELS)["advice"] is None


@pytest.mark.parametrize("size", [20, 32, 33, 48, 100, 128, 256, 300, 1024, 4096])
@pytest.mark.parametrize("itemsize", [1, 4])
@pytest.mark.parametrize("n_slots", [1, 4, 64])
def test_default_chunks_are_never_called_hostile(size, itemsize, n_slots):
    shape = (size, size)
    work = replace(GOOD, shape=shape, itemsize=itemsize, weight_chunk=16 if size < 256 else 64)
    work = replace(work, chunks=chunk_shape(1000, shape, 3, itemsize))
    assert plan_training(work, max_memory=8 * DEFAULT_MEMORY, n_slots=n_slots).advice is None


@pytest.mark.parametrize("n_slots", [1, 2, 16])
def test_whole_images_are_decoded_once_if_memory_allows(n_slots):
    plan = plan_training(HOSTILE, max_memory=DEFAULT_MEMORY, n_slots=n_slots)
    assert plan.advice is not None
    assert (plan.n_blocks, plan.amplification) == (1, 1)


def test_little_memory_means_to_decode_them_again_but_as_rarely_as_it_can():
    limit = BASE_MEMORY + KERNEL_MEMORY + 40 * MIB
    plan = plan_training(HOSTILE, max_memory=limit, n_slots=2)
    assert plan.peak_memory <= limit
    assert plan.amplification == plan.n_blocks > 1
    larger = plan_training(HOSTILE, max_memory=1 << 40, n_slots=2, block=(plan.block[0], 2 * plan.block[1]))
    assert larger.peak_memory > limit
    assert f"decodes every image {plan.n_blocks:.1f} times and keeps 2 of 2 workers busy" in str(plan.advice)


def test_a_small_block_that_was_asked_for_is_told_of_large_chunks():
    work = replace(GOOD, shape=(2048, 2048), chunks=(16, 512, 512, 3))
    assert plan_training(work, max_memory=DEFAULT_MEMORY, n_slots=2).advice is None
    small = plan_training(work, max_memory=DEFAULT_MEMORY, n_slots=2, block=(64, 64))
    assert small.amplification > 3
    assert "rechunk" in str(small.advice)


# --- seconds -------------------------------------------------------------------------------------------


def test_seconds_follow_the_slowest():
    plan = plan_training(GOOD, max_memory=DEFAULT_MEMORY, n_slots=4, block=(256, 256))
    reading = Rates(decode=1e-9, decode_cpu=0, accumulate=0, solve=0)
    assert predict_seconds(GOOD, plan, reading, n_slots=1, n_processors=1) == pytest.approx(1e-9 * plan.bytes_read)
    processors = replace(reading, decode_cpu=1e-8)
    for n in (1, 2):
        seconds = predict_seconds(GOOD, plan, processors, n_slots=2, n_processors=n)
        assert seconds == pytest.approx(1e-8 * plan.bytes_read / n)
    solving = Rates(decode=0, decode_cpu=0, accumulate=0, solve=1e-6)
    for n_slots, busy in ((1, 1), (2, 2), (3, 2), (4, 4), (100, 4)):  # four equal blocks
        seconds = predict_seconds(GOOD, plan, solving, n_slots=n_slots, n_processors=n_slots)
        assert seconds == pytest.approx(512 * 512 * 1e-6 / busy)


def test_a_larger_field_is_measured_to_take_longer():
    small, large = (measure_kernels(replace(GOOD, field=ReceptiveField(r)), "uint8") for r in (3, 9))
    assert all(0 < s < b for s, b in zip(small, large, strict=True))


def test_the_plan_of_python_is_that_of_the_command(stores):
    found = mrdist.plan(stores["good"], source="neutral", target="happy", workers=2)
    told = commands.report("plan", stores["good"], *LABELS, "--workers", 2)
    for name in ("n_blocks", "slab", "peak_memory", "bytes_read", "bytes_needed", "bytes_written", "amplification"):
        assert told[name] == getattr(found, name)
    assert found.seconds is not None
