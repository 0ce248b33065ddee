"""What an interrupted run has marked done is read before it is relied on: damage is told, and done again."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import commands
import numpy as np
import pytest

import mrdist
from mrdist.errors import DamagedChunkError
from mrdist.methods.masked.solving import solve_block
from mrdist.pipeline.showing.info import block_map
from mrdist.pipeline.training.accumulate import accumulate
from mrdist.pipeline.training.mappings import train_mappings
from mrdist.pipeline.training.solve import solve

PAIR = {"source": "a", "target": "b"}
WORK = {"block": (16, 16), "workers": 0, "split": "all"}
N_DONE = 3  # of 4 blocks, when the run is stopped


@pytest.fixture
def stores(tmp_path):
    """Images whose last chunk of the targets cannot be read, until it is put back: a run stops at its last block."""
    rng = np.random.default_rng(0)
    pixels = {label: rng.integers(0, 256, (12, 32, 32, 1), dtype=np.uint8) for label in "abc"}
    images = commands.write_store(tmp_path / "images.zarr", pixels)
    found = SimpleNamespace(images=images, out=str(tmp_path / "out"), wanted=str(tmp_path / "wanted"))
    files = [Path(images, label, "c", "0", "3", "3", "0") for label in "bc"]
    found.whole = {file: file.read_bytes() for file in files}
    return found


KINDS = {
    "mr": (
        lambda images, out: mrdist.train(images, out, **PAIR, **WORK),
        ["progress/parts/coef/c/0/0/1", "progress/parts/intercept/c/0/0", "progress/parts/train_sse/c/1/0"],
    ),
    "mean": (
        lambda images, out: mrdist.train(images, out, **PAIR, **WORK, method="mean"),
        ["progress/parts/train_sst/c/0/1"],
    ),
    "l2": (
        lambda images, out: mrdist.train(images, out, **PAIR, **WORK, method="l2"),
        ["progress/parts/coef/c/0/0/1", "progress/parts/basis/c/0/0/0/0"],
    ),
    "l2 cv": (
        lambda images, out: mrdist.train(images, out, **PAIR, **WORK, method="l2", alpha="cv", folds=2),
        ["progress/gram/a/c/1/0/0/0", "progress/gram/b/c/0/0/0/0", "progress/parts/basis/c/0/0/1/0"],
    ),
    "l0": (
        lambda images, out: mrdist.train(images, out, **PAIR, **WORK, method="l0", nonzeros=2),
        ["progress/parts/train_sse/c/0/0", "progress/data-1/c/0", "progress/unsolved-2/c/0"],
    ),
    "cv": (
        lambda images, out: mrdist.train(images, out, **PAIR, **WORK, alpha="cv", folds=2, rule="pixel"),
        ["search/lag/c/0/0/0/0/0", "search/errors/c/0/1/0/0/0", "search/best/c/0/0/1/0"],
    ),
    "mappings": (
        lambda images, out: train_mappings(images, out, source="a", **WORK),
        ["a-b/progress/parts/coef/c/0/0/1", "a-c/progress/parts/intercept/c/1/0"],
    ),
    "accumulate": (
        lambda images, out: accumulate(images, out, **PAIR, **WORK),
        ["progress/parts/lag/c/0/0/0/1", "progress/parts/target_sum/c/0/1/0"],
    ),
}  # fmt: skip


def stop_in_the_middle(call, stores):
    for file, content in stores.whole.items():
        file.write_bytes(content[:-1])
    with pytest.raises(DamagedChunkError, match=r"images\.zarr"):
        call(stores.images, stores.out)
    for file, content in stores.whole.items():
        file.write_bytes(content)


def spoil(path, how):
    assert path.is_file()
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(content[:-6] + bytes([content[-6] ^ 1]) + content[-5:])


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]


HOW = ("missing", "empty", "changed")


@pytest.mark.parametrize(
    ("kind", "how"), [*(("mr", how) for how in HOW), *((kind, HOW[n % 3]) for n, kind in enumerate(KINDS) if n)]
)
def test_a_damaged_block_is_done_again(kind, how, stores, caplog):
    call, chunks = KINDS[kind]
    call(stores.images, stores.wanted)
    stop_in_the_middle(call, stores)
    for chunk in chunks:
        spoil(Path(stores.out, chunk), how)
    call(stores.images, stores.out)
    said = warnings(caplog)
    assert said
    assert all("finished blocks are damaged and are computed again (" in sentence for sentence in said)
    assert not any("restore" in sentence for sentence in said)
    assert any(chunk in sentence for sentence in said for chunk in [Path(each).name for each in chunks])
    found, wanted = commands.files(stores.out), commands.files(stores.wanted)
    assert list(found) == list(wanted)
    assert [name for name in wanted if found[name] != wanted[name] and not name.endswith("zarr.json")] == []


@pytest.mark.parametrize("kind", ["l2", "l0", "cv", "mappings"])
def test_what_is_whole_is_not_done_again(kind, stores, caplog):
    call, _ = KINDS[kind]
    stop_in_the_middle(call, stores)
    report = call(stores.images, stores.out)
    assert warnings(caplog) == []
    if kind != "mappings":
        assert report.blocks_run in (1, 4)  # of a search, the weights of all blocks are still to be solved


def test_a_marker_that_cannot_be_read_counts_for_nothing(stores):
    call, _ = KINDS["mr"]
    call(stores.images, stores.wanted)
    stop_in_the_middle(call, stores)
    Path(stores.out, "progress/done/c/0/1").write_bytes(b"")
    assert call(stores.images, stores.out).blocks_run == 2
    commands.assert_equal_bytes(stores.out, stores.wanted)


def test_a_solve_reads_back_what_it_has_left(stores, tmp_path, caplog, monkeypatch):
    sums = str(tmp_path / "sums")
    accumulate(stores.images, sums, **PAIR, workers=0, split="all")
    solve(sums, stores.wanted, workers=0, block=(16, 16))

    def stop(statistics, training, task):
        if task.index == N_DONE:
            raise DamagedChunkError("stopped.")
        return solve_block(statistics, training, task)

    with monkeypatch.context() as patch:
        patch.setattr("mrdist.pipeline.training.solve.solve_block", stop)
        with pytest.raises(DamagedChunkError, match="stopped"):
            solve(sums, stores.out, workers=0, block=(16, 16))
    spoil(Path(stores.out, "progress/parts/coef/c/0/0/0"), "changed")
    assert solve(sums, stores.out, workers=0).blocks_run == 2
    said = "1 of 3 finished blocks are damaged and are computed again (0): chunk progress/parts/coef"
    assert warnings(caplog)[0].startswith(said)
    commands.assert_equal_bytes(stores.out, stores.wanted)


@pytest.mark.parametrize(("kind", "place"), [("mr", "progress"), ("cv", "search/progress")])
def test_whoever_looks_on_does_not_stumble_over_what_is_removed_meanwhile(stores, kind, place):
    train, _ = KINDS[kind]
    stop_in_the_middle(train, stores)
    found = mrdist.info(stores.out)
    assert (found["complete"], found["blocks"], found["blocks_done"]) == (False, 4, N_DONE)
    assert block_map(stores.out).done.sum() == N_DONE
    shutil.rmtree(Path(stores.out, place, "done"))  # of a removal that has just begun
    assert mrdist.info(stores.out)["complete"] is False
    assert block_map(stores.out) is None
