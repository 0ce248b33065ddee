"""Weights stores in the making and done, and their matrices for other programs."""

from __future__ import annotations

import shutil
from dataclasses import replace

import anndata.io
import numpy as np
import pytest
import scipy.sparse
import zarr
from places import STRANGERS, content, put

from mrdist import MaskedRegression, open_weights
from mrdist.errors import MissingChunkError, StoreError, StoreExistsError, StoreIncompleteError
from mrdist.geometry import ReceptiveField, block_grid
from mrdist.solvers import solve
from mrdist.storage import MaskedTraining, TrainOutput, describe, write_csr
from mrdist.storage.weights.output import chunk_side

SHAPE = (20, 37)
TRAINING = MaskedTraining(
    images="0123", source="neutral", target="happy", split="train", receptive_field=3, dilation=1, alpha=0.4,
    color="shared", penalize_intercept=True, dtype="float32", height=20, width=37, n_channels=3, n_images=12,
)  # fmt: skip


@pytest.fixture
def pairs(draw_images):
    return tuple(draw_images((12, *SHAPE, 3), seed=seed) for seed in (0, 1))


def begin(url, training=TRAINING, block=(16, 16), overwrite=False):
    return TrainOutput.begin(str(url), training, training.arrays, block, overwrite=overwrite)


def write_blocks(output, pairs, statistics_of, chosen=slice(None)):
    training = output.training
    blocks = list(enumerate(block_grid(SHAPE, output.progress.block)))
    for index, block in blocks[chosen]:
        statistics = statistics_of(*pairs, ReceptiveField(3), training.color, block)
        output.write_block(index, block, solve(statistics, training.alpha))


def finished(url, pairs, statistics_of, **options):
    output = begin(url, **options)
    write_blocks(output, pairs, statistics_of)
    scores = output.finish({"images": "faces.zarr"}, None)
    return open_weights(str(url)), scores


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_weights_come_back_as_they_were_solved(color, dtype, pairs, statistics_of, tmp_path):
    training = replace(TRAINING, color=color, dtype=dtype)
    model, scores = finished(tmp_path / "w.zarr", pairs, statistics_of, training=training)
    wanted = MaskedRegression(color=color).fit(*pairs)
    assert model.coef.dtype == model.intercept.dtype == dtype
    assert np.array_equal(model.coef, wanted.coef_.astype(dtype))
    assert np.array_equal(model.intercept, wanted.intercept_.astype(dtype))
    predicted = model.predict(pairs[0])
    assert np.allclose(predicted, wanted.predict(pairs[0]), rtol=0, atol=1e-5)
    assert scores["mse"] == pytest.approx(np.square(wanted.predict(pairs[0]) - pairs[1] / 255).mean(), rel=1e-9)
    assert model.attributes["scores"] == {"train": scores}
    assert model.attributes["provenance"] == {"images": "faces.zarr"}
    assert describe(str(tmp_path / "w.zarr"))["complete"] is True


@pytest.mark.parametrize(
    ("color", "leading"),
    [("shared", {}), ("separate", {"channel": 3}), ("joint", {"channel_out": 3, "channel_in": 3})],
)
def test_xarray_sees_the_weights(color, leading, pairs, statistics_of, tmp_path):
    model, _ = finished(tmp_path / "w.zarr", pairs, statistics_of, training=replace(TRAINING, color=color))
    dataset = model.to_xarray()
    assert dict(dataset.coef.sizes) == {**leading, "offset": 9, "y": 20, "x": 37}
    assert tuple(dataset.intercept.dims) == (*list(leading)[:1], "y", "x")
    assert np.array_equal(dataset.coef, model.coef)
    assert np.array_equal(dataset.offsets, ReceptiveField(3).offsets)


def test_the_bytes_do_not_depend_on_the_blocks(pairs, statistics_of, tmp_path):
    for name, block in (("a", (16, 16)), ("b", (32, 48)), ("c", (16, 32))):
        finished(tmp_path / name, pairs, statistics_of, block=block)
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c")


def test_an_interrupted_training_resumes_with_its_own_grid(pairs, statistics_of, tmp_path):
    finished(tmp_path / "whole", pairs, statistics_of)
    url = tmp_path / "w.zarr"
    write_blocks(begin(url), pairs, statistics_of, slice(0, 4))
    with pytest.raises(StoreIncompleteError, match="run the command that makes it again to resume it"):
        open_weights(str(url))
    output = begin(url, block=(32, 48))
    assert output.progress.block == (16, 16)
    assert output.progress.done.tolist() == [True] * 4 + [False] * 2
    (url / "progress/parts/coef/c/0/0/0.partial").write_bytes(b"left by a killed writer")
    output = begin(url)
    write_blocks(output, pairs, statistics_of, slice(4, None))
    output.finish({"images": "faces.zarr"}, None)
    assert content(url) == content(tmp_path / "whole")


def test_a_complete_training_is_left_alone(pairs, statistics_of, tmp_path):
    url = tmp_path / "w.zarr"
    finished(url, pairs, statistics_of)
    before = content(url)
    assert begin(url) is None
    assert content(url) == before


def test_overwriting_starts_anew(pairs, statistics_of, tmp_path):
    url = tmp_path / "w.zarr"
    finished(url, pairs, statistics_of)
    output = begin(url, training=replace(TRAINING, alpha=1.0), overwrite=True)
    assert not output.progress.done.any()
    with pytest.raises(StoreIncompleteError):
        open_weights(str(url))


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", "4567"),
        ("target", "sad"),
        ("alpha", 0.5),
        ("color", "separate"),
        ("receptive_field", 5),
        ("dtype", "float64"),
    ],
)
def test_another_training_is_refused_by_what_differs(name, value, complete, pairs, statistics_of, tmp_path):
    url = tmp_path / "w.zarr"
    if complete:
        finished(url, pairs, statistics_of)
    else:
        begin(url)
    before = content(url)
    with pytest.raises(StoreExistsError, match=rf"{name} is {getattr(TRAINING, name)} there and {value} here"):
        begin(url, training=replace(TRAINING, **{name: value}))
    assert content(url) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("what", STRANGERS)
def test_weights_never_replace_what_is_not_mrdists(what, overwrite, tmp_path):
    path = tmp_path / "it.zarr"
    put(path, what)
    before = content(path)
    with pytest.raises(StoreError, match=r"it\.zarr"):
        begin(path, overwrite=overwrite)
    assert content(path) == before


def test_weights_do_not_replace_images(small_images_store):
    store = small_images_store()
    with pytest.raises(StoreExistsError, match="already holds images"):
        begin(store.url)
    assert np.array_equal(store.open().read("neutral", range(10)), store.pixels["neutral"])


def test_a_store_begun_but_never_ready_starts_anew(tmp_path):
    url = tmp_path / "w.zarr"
    begin(url)
    shutil.rmtree(url / "progress")
    output = begin(url, block=(32, 32))
    assert output.progress.block == (32, 32)
    assert not output.progress.done.any()


def test_a_missing_weights_chunk_is_an_error(pairs, statistics_of, tmp_path):
    finished(tmp_path / "w.zarr", pairs, statistics_of)
    (tmp_path / "w.zarr/coef/c/0/0/0").unlink()
    with pytest.raises(MissingChunkError, match="coef/c/0/0/0 is missing"):
        open_weights(str(tmp_path / "w.zarr"))


@pytest.mark.parametrize(("side", "chunk"), [(8, 16), (128, 16), (129, 32), (512, 64), (4096, 128), (40000, 128)])
def test_side_of_a_weights_chunk(side, chunk):
    assert chunk_side((side, 8)) == chunk_side((8, side)) == chunk


# ---------------------------------------------------------------- sparse matrices


def assert_opens_as(path, matrix):
    group = zarr.open_group(path, mode="r")
    assert group["indptr"].dtype == np.int64
    opened = anndata.io.sparse_dataset(group)
    assert opened.format == "csr"
    assert opened.shape == matrix.shape
    found = opened.to_memory()
    assert found.nnz == matrix.nnz
    assert found.dtype == matrix.dtype
    assert (scipy.sparse.csr_array(found) != matrix).nnz == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_anndata_opens_the_sparse_matrix(dtype, pairs, statistics_of, tmp_path):
    model, _ = finished(tmp_path / "w.zarr", pairs, statistics_of, training=replace(TRAINING, dtype=dtype))
    write_csr(str(tmp_path / "m.zarr"), model.to_scipy())
    assert_opens_as(tmp_path / "m.zarr", model.to_scipy())
    assert describe(str(tmp_path / "m.zarr")) == {"kind": "csr", "format_version": 1, "complete": True}


def test_separate_channels_are_one_matrix_each(pairs, tmp_path):
    matrices = MaskedRegression(color="separate").fit(*pairs).to_scipy()
    write_csr(str(tmp_path / "m.zarr"), matrices)
    for channel, matrix in enumerate(matrices):
        assert_opens_as(tmp_path / f"m.zarr/channel_{channel}", matrix)


def test_a_sparse_matrix_is_replaced_only_if_asked(pairs, tmp_path):
    url = str(tmp_path / "m.zarr")
    matrix = MaskedRegression().fit(*pairs).to_scipy()
    write_csr(url, matrix)
    with pytest.raises(StoreExistsError, match="already holds csr"):
        write_csr(url, 2 * matrix)
    assert_opens_as(url, matrix)
    write_csr(url, 2 * matrix, overwrite=True)
    assert_opens_as(url, 2 * matrix)
