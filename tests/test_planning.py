from __future__ import annotations

import contextlib
import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mrdist.errors import MemoryLimitError, ParameterError
from mrdist.geometry import Block, ReceptiveField, block_grid
from mrdist.planning import (
    BASE_MEMORY,
    DEFAULT_MEMORY,
    MIB,
    Workload,
    block_bytes,
    count_requests,
    parse_bytes,
    plan_training,
)

FACES = Workload((512, 512), 3, 1, (64, 64, 64, 3), 1000, 800, ReceptiveField(3), 1, 4, 64)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        (4096, 4096),
        ("4096 B", 4096),
        ("2GiB", 2 * 2**30),
        ("2gib", 2 * 2**30),
        ("2Gi", 2 * 2**30),
        ("2GB", 2 * 10**9),
        (" 1.5 GiB ", 3 * 2**29),
        (".5k", 500),
        ("600MB", 600 * 10**6),
        ("1TiB", 2**40),
        ("3 t", 3 * 10**12),
    ],
)
def test_sizes(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "GiB", "2 gallons", "-1GiB", "0", "0GiB", "1e9", "two", -5, 0, "nan", "1 2", "1,5GiB"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ParameterError, match=re.escape(f"such as 2GiB or 600MB, got {text!r}")):
        parse_bytes(text)


small = st.integers(1, 40)


@st.composite
def workloads(draw):
    shape = draw(st.tuples(small, small))
    n_stored = draw(st.integers(1, 30))
    n_channels = draw(st.sampled_from([1, 3]))
    rows, height, width = draw(st.tuples(st.integers(1, 12), small, small))
    return Workload(
        shape=shape,
        n_channels=n_channels,
        itemsize=draw(st.sampled_from([1, 2, 4])),
        chunks=(min(rows, n_stored), min(height, shape[0]), min(width, shape[1]), n_channels),
        n_stored=n_stored,
        n_images=draw(st.integers(1, n_stored)),
        field=ReceptiveField(draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 2))),
        n_groups=draw(st.sampled_from([1, n_channels])),
        weight_itemsize=draw(st.sampled_from([4, 8])),
        weight_chunk=draw(st.sampled_from([1, 4, 16])),
    )


def touched_pixels(workload, block, halo):
    """Pixels of the chunks that any pixel of the block with its halo lies in, one pixel at a time."""
    height, width = workload.chunks[1:3]
    chunks = {
        (y // height, x // width)
        for y in range(max(block.y0 - halo, 0), min(block.y1 + halo, workload.shape[0]))
        for x in range(max(block.x0 - halo, 0), min(block.x1 + halo, workload.shape[1]))
    }
    return sum(
        min(height, workload.shape[0] - i * height) * min(width, workload.shape[1] - j * width) for i, j in chunks
    )


def decoded_images(workload, slab):
    """Images of the chunks that each slab touches, one image at a time."""
    rows = workload.chunks[0]
    count = 0
    for start in range(0, workload.n_stored, slab):
        runs = {n // rows for n in range(start, min(start + slab, workload.n_stored))}
        count += sum(min(rows, workload.n_stored - run * rows) for run in runs)
    return count


@given(workload=workloads(), block=st.tuples(small, small), slab=small)
def test_block_bytes_are_those_of_the_chunks_it_touches(workload, block, slab):
    for part in block_grid(workload.shape, block):
        pixels = touched_pixels(workload, part, workload.field.halo) + touched_pixels(workload, part, 0)
        wanted = pixels * decoded_images(workload, slab) * workload.n_channels * workload.itemsize
        assert block_bytes(workload, part, slab) == wanted


@given(workload=workloads(), n_slots=st.integers(1, 4))
def test_requests_are_the_chunks_that_blocks_and_slabs_touch(workload, n_slots):
    plan = plan_training(workload, max_memory=1 << 40, n_slots=n_slots)
    rows, height, width = workload.chunks[:3]
    requests = 0
    for part in block_grid(workload.shape, plan.block):
        for start in range(0, workload.n_stored, plan.slab):
            runs = {n // rows for n in range(start, min(start + plan.slab, workload.n_stored))}
            for halo in (workload.field.halo, 0):  # of the source, and none of the target
                window = part.grown(halo).clipped(workload.shape)
                ys = {y // height for y in range(window.y0, window.y1)}
                xs = {x // width for x in range(window.x0, window.x1)}
                requests += len(runs) * len(ys) * len(xs)
    assert count_requests(workload, plan) == requests


def test_a_block_inside_one_chunk_reads_that_chunk_twice():
    assert block_bytes(FACES, Block(8, 8, 16, 16), 64) == 2 * 64 * 64 * 3 * 1000


def bytes_of_a_slot(plan, n_slots):
    """What the busiest slot reads, if all blocks are alike."""
    return plan.bytes_read / plan.n_blocks * -(-plan.n_blocks // n_slots)


limits = st.integers(BASE_MEMORY // MIB, 1000).map(lambda mebibytes: mebibytes * MIB)
sizes = st.sampled_from([16, 100, 300])


@given(
    shape=st.tuples(sizes, sizes), n_stored=st.sampled_from([10, 1000, 30000]), size=st.sampled_from([3, 7]),
    itemsize=st.sampled_from([1, 4]), weight_chunk=st.sampled_from([16, 64]), max_memory=limits,
    n_slots=st.integers(1, 100),
)  # fmt: skip
def test_a_plan_keeps_its_promises(shape, n_stored, size, itemsize, weight_chunk, max_memory, n_slots):
    chunks = (min(64, n_stored), min(64, shape[0]), min(64, shape[1]), 3)
    workload = Workload(
        shape, 3, itemsize, chunks, n_stored, n_stored, ReceptiveField(size), 1, 4, weight_chunk
    )  # fmt: skip
    try:
        plan = plan_training(workload, max_memory=max_memory, n_slots=n_slots)
    except MemoryLimitError:
        assume(False)
    assert BASE_MEMORY < plan.peak_memory <= max_memory
    assert plan.block[0] % weight_chunk == plan.block[1] % weight_chunk == 0
    blocks = block_grid(shape, plan.block)
    assert plan.n_blocks == len(blocks)
    for other in ((weight_chunk, weight_chunk), shape):
        with contextlib.suppress(MemoryLimitError):
            asked = plan_training(workload, max_memory=max_memory, n_slots=n_slots, block=other)
            assert bytes_of_a_slot(plan, n_slots) <= 1.05 * bytes_of_a_slot(asked, n_slots)
    assert 1 <= plan.slab < n_stored + chunks[0]
    assert plan.bytes_needed == 2 * n_stored * shape[0] * shape[1] * 3 * itemsize
    assert plan.bytes_read == sum(block_bytes(workload, block, plan.slab) for block in blocks)
    assert plan.amplification == plan.bytes_read / plan.bytes_needed >= 1


def test_more_memory_never_means_more_blocks():
    wide = replace(FACES, field=ReceptiveField(9))
    counts = [plan_training(wide, max_memory=m * MIB, n_slots=1).n_blocks for m in range(320, 1200, 40)]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) > 1


def test_the_plan_depends_on_the_images_kept_not_on_their_number():
    plans = [
        plan_training(replace(FACES, n_stored=n, n_images=n), max_memory=DEFAULT_MEMORY, n_slots=2)
        for n in (10**5, 10**7)  # sums of that many images need 64 bits either way
    ]
    assert plans[0].peak_memory == plans[1].peak_memory
    assert plans[0].block == plans[1].block


@pytest.mark.parametrize(("asked", "block"), [((1, 1), (64, 64)), ((64, 65), (64, 128)), ((9999, 200), (512, 256))])
def test_a_given_block_is_rounded_up_to_whole_chunks(asked, block):
    assert plan_training(FACES, max_memory=DEFAULT_MEMORY, n_slots=2, block=asked).block == block


@pytest.mark.parametrize("block", [(0, 4), (4, 0), (-1, 4)])
def test_a_block_without_pixels_is_refused(block):
    with pytest.raises(ParameterError, match=f"got {block[0]} x {block[1]}"):
        plan_training(FACES, max_memory=DEFAULT_MEMORY, n_slots=1, block=block)


def refused(max_memory, block=None):
    with pytest.raises(MemoryLimitError) as caught:
        plan_training(FACES, max_memory=max_memory, n_slots=1, block=block)
    message = str(caught.value)
    found = re.search(r"a block of (\d+ x \d+) pixels needs (\d+) MiB .* but max_memory is (\d+) MiB; raise", message)
    assert found, message
    return found[1], int(found[2]), int(found[3])


@pytest.mark.parametrize(("block", "pixels"), [(None, "64 x 64"), ((512, 512), "512 x 512")])
def test_what_cannot_fit_is_refused_with_value_and_limit(block, pixels):
    named, needed, limit = refused(120 * MIB, block)
    assert (named, limit) == (pixels, 120)
    enough = (needed + 1) * MIB
    assert plan_training(FACES, max_memory=enough, n_slots=1, block=block).peak_memory <= enough
    refused((needed - 1) * MIB, block)


def test_a_refusal_never_names_a_need_within_the_limit():
    _, needed, limit = refused(BASE_MEMORY + 1 * MIB)
    assert needed > limit
