"""`mrdist plan` without an images store: what a training would cost that is not possible here."""

from __future__ import annotations

import commands
import pytest

import mrdist

SIZE, PAIRS = 64, 20
SUPPOSED = ("--pairs", PAIRS, "--size", SIZE)
SAME = (
    "block",
    "n_blocks",
    "slab",
    "peak_memory",
    "bytes_read",
    "bytes_needed",
    "bytes_written",
    "amplification",
    "advice",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    url = tmp_path_factory.mktemp("estimate") / "faces.zarr"
    options = ("--images", PAIRS, "--size", SIZE, "--labels", "neutral,happy", "--workers", 0)
    commands.succeed("generate", url, *options)
    return url


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--receptive-field", 5, "--color", "joint", "--workers", 4),
        ("--alpha", "cv", "--receptive-field", "3,7", "--folds", 3),
        ("--block", "32,64", "--dtype", "float64", "--max-memory", "300MiB"),
        ("--method", "pixel"),
    ],
    ids=lambda options: " ".join(map(str, options)) or "defaults",
)  # fmt: skip
def test_it_is_the_plan_of_a_store_of_that_size(store, options):
    labels = ("--source", "neutral", "--target", "happy", "--split", "all")
    plan = commands.report("plan", store, *labels, *options)
    estimate = commands.report("plan", *SUPPOSED, *options)
    assert {name: estimate[name] for name in SAME} == {name: plan[name] for name in SAME}
    assert 0 < estimate["seconds"] < 60
    assert estimate["bytes_stored"] == 2 * PAIRS * SIZE * SIZE * 3
    assert estimate["worker_hours"] == pytest.approx(estimate["seconds"] * estimate["workers"] / 3600)


def test_chunks_are_those_that_are_asked_for(store, tmp_path):
    copy = tmp_path / "copy.zarr"
    commands.succeed("rechunk", store, copy, "--chunks", "7,24,50", "--workers", 0)
    plan = commands.report("plan", copy, "--source", "neutral", "--target", "happy", "--split", "all")
    estimate = commands.report("plan", *SUPPOSED, "--chunks", "7,24,50")
    assert {name: estimate[name] for name in SAME} == {name: plan[name] for name in SAME}


def test_what_the_design_is_for_is_planned_in_seconds():
    options = ("--pairs", 100_000, "--size", 4096, "--workers", 64, "--bandwidth", "1MB")
    found = commands.report(
        "plan", *options, "--price-per-hour", 0.5, "--price-per-tb", 20, "--price-per-million-requests", 4
    )
    assert found["bytes_stored"] == found["bytes_needed"] == 2 * 100_000 * 4096**2 * 3
    assert found["n_blocks"] >= found["workers"] == 64
    assert found["peak_memory"] <= 2 << 30
    rounds = -(-found["n_blocks"] // 64)
    assert found["seconds"] >= found["bytes_read"] / 1e6 * rounds / found["n_blocks"]  # a slow network decides
    assert found["prices"] == {
        "workers": pytest.approx(0.5 * found["worker_hours"]),
        "storage_per_month": pytest.approx(20 * found["bytes_stored"] / 1e12),
        "requests": pytest.approx(4 * found["requests"] / 1e6),
    }
    told = commands.succeed("plan", *options, "--price-per-tb", 20).stdout
    assert "100000 pairs of 4096 x 4096 x 3" in told
    assert f"{found['prices']['storage_per_month']:.2f}" in told
    assert "price of workers" not in told


def test_the_estimate_of_python_is_that_of_the_command():
    found = mrdist.estimate(pairs=PAIRS, size=SIZE, channels=1, workers=3)
    told = commands.report("plan", *SUPPOSED, "--channels", 1, "--workers", 3)
    assert told.keys() == found.to_dict().keys()
    for name in (*SAME, "workers", "bytes_stored", "requests"):
        assert told[name] == (list(value) if isinstance(value := found.to_dict()[name], tuple) else value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--pairs", 0, "--size", 64), "pairs must be at least 1, got 0."),
        (("--pairs", 5, "--size", 0), "size must be at least 1 pixel, got 0."),
        (("--pairs", 5, "--size", 64, "--channels", 2), "channels must be 1 (gray) or 3 (colour), got 2."),
        (("--pairs", 5, "--size", 64, "--price-per-tb", "nan"), "price_per_tb must be 0 or more, got nan."),
        (("--pairs", 5, "--size", 64, "--bandwidth", "fast"), "got 'fast'"),
        (("--pairs", 5, "--size", 8, "--receptive-field", 9), "the image's shorter side of 8"),
        (("--pairs", 2, "--size", 64, "--alpha", "cv", "--folds", 3), "folds"),
        (("--pairs", 5, "--size", 4096, "--max-memory", "160MiB"), "raise --max-memory"),
        (("--pairs", 5, "--size", 64, "--method", "magic"), "method must be one of"),
    ],
)
def test_what_cannot_be_planned_is_told(options, sentence):
    assert sentence in commands.failure("plan", *options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "or --pairs and --size"),
        (("--pairs", 5), "or --pairs and --size"),
        (("--pairs", 5, "--size", 64, "--source", "neutral"), "or --pairs and --size"),
        (("faces.zarr", "--source", "neutral"), "give --source and --target"),
        (("faces.zarr", "--source", "a", "--target", "b", "--price-per-tb", 1), "--price-per-tb describes"),
        (("faces.zarr", "--source", "a", "--target", "b", "--channels", 1), "--channels describes"),
    ],
)
def test_a_store_and_none_are_told_apart(options, sentence):
    assert sentence in commands.failure("plan", *options, code=2)
