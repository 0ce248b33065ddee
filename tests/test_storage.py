from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import anndata.io
import numpy as np
import pytest
import scipy.sparse
import xarray as xr
import zarr

from mrdist import MaskedRegression, open_images, open_weights
from mrdist.errors import (
    DataError,
    LabelError,
    MissingChunkError,
    ParameterError,
    StoreError,
    StoreExistsError,
    StoreFormatError,
    StoreIncompleteError,
    StoreNotFoundError,
)
from mrdist.geometry import Block, ReceptiveField, block_grid
from mrdist.solvers import solve
from mrdist.storage import Images, MaskedTraining, TrainOutput, create_images, describe, write_csr
from mrdist.storage.access.urls import clear_output
from mrdist.storage.weights.output import chunk_side

WHOLE = Block(0, 0, 20, 24)


@pytest.fixture
def store(small_images_store):
    return small_images_store()


def read(images, label="neutral", block=WHOLE):
    return images.reader().read(label, 0, images.n_images, block)


def files(url):
    """Every file below a folder with its bytes."""
    return {str(p.relative_to(url)): p.read_bytes() for p in sorted(Path(url).rglob("*")) if p.is_file()}


def set_attributes(url, **changed):
    group = zarr.open_group(url, mode="r+")
    group.attrs["mrdist"] = {**group.attrs["mrdist"], **changed}


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_come_back_as_they_were(n_channels, dtype, small_images_store):
    store = small_images_store(n_channels=n_channels, dtype=dtype)
    images = store.open()
    assert (images.labels, images.shape, images.n_channels) == (("neutral", "happy"), (20, 24), n_channels)
    assert images.dtype == dtype
    assert images.chunks == (4, 8, 16, n_channels)
    assert images.image.tolist() == [f"image-{n}" for n in range(10)]
    assert images.subject[3] == "person-1"
    assert np.array_equal(images.present, store.present)
    assert images.face_mask.sum() == 16 * 20
    for label, pixels in store.pixels.items():
        assert np.array_equal(read(images, label), pixels)
        part = images.reader().read(label, 3, 9, Block(5, 7, 18, 24))
        assert np.array_equal(part, pixels[3:9, 5:18, 7:24])


def test_xarray_sees_a_dataset(store):
    dataset = open_images(store.url)
    assert dict(dataset.sizes) == {"image": 10, "y": 20, "x": 24, "channel": 3, "label": 2}
    for label, pixels in store.pixels.items():
        assert dataset[label].dims == ("image", "y", "x", "channel")
        assert np.array_equal(dataset[label], pixels)
    assert {"image", "subject", "dataset", "split", "label"} <= set(dataset.coords)
    assert dataset.image.values[9] == "image-9"
    assert dataset.label.values.tolist() == ["neutral", "happy"]
    train = dataset.happy[(dataset.split == "train").values]
    assert train.sizes["image"] == 6


def test_plain_xarray_and_zarr_open_it(store):
    dataset = xr.open_zarr(store.url)
    assert dataset["neutral"].dims == ("image", "y", "x", "channel")
    group = zarr.open_group(store.url, mode="r")
    assert np.array_equal(group["happy"][2], store.pixels["happy"][2])


def test_a_black_image_is_written_and_not_missing(small_images_store):
    black = {label: np.zeros((10, 20, 24, 3), dtype=np.uint8) for label in ("neutral", "happy")}
    assert not read(small_images_store(pixels=black).open()).any()


def test_a_missing_chunk_is_named(store):
    (Path(store.url) / "neutral/c/1/2/0/0").unlink()
    images = store.open()
    with pytest.raises(MissingChunkError, match=r"neutral/c/1/2/0/0 is missing"):
        read(images)
    assert np.array_equal(read(images, block=Block(0, 0, 16, 24)), store.pixels["neutral"][:, :16])
    assert np.array_equal(read(images, "happy"), store.pixels["happy"])


@pytest.mark.parametrize("position", [0, 10, -1])
def test_a_damaged_chunk_is_an_error(position, store):
    chunk = Path(store.url) / "neutral/c/1/2/0/0"
    damaged = bytearray(chunk.read_bytes())
    damaged[position] ^= 0xFF
    chunk.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"neutral.*restore it from a copy"):
        read(store.open())


@pytest.mark.parametrize("n_bytes", [0, 5, 100])
def test_a_truncated_chunk_is_an_error(n_bytes, store):
    chunk = Path(store.url) / "happy/c/0/0/1/0"
    chunk.write_bytes(chunk.read_bytes()[:n_bytes])
    with pytest.raises(StoreError, match=r"happy.*restore it from a copy"):
        read(store.open(), "happy")


@pytest.mark.parametrize("opener", [Images.open, open_images, open_weights, describe])
def test_a_newer_format_is_refused(opener, store):
    set_attributes(store.url, format_version=99)
    with pytest.raises(StoreFormatError, match=r"format version 99, but this mrdist reads up to 1; upgrade"):
        opener(store.url)


def put_nothing(path):
    return StoreNotFoundError


def put_folder(path):
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    return StoreNotFoundError


def put_file(path):
    path.write_text("mine")
    return StoreNotFoundError


def put_zarr_group(path):
    zarr.create_group(path).create_array("mine", data=np.arange(3))
    return StoreFormatError


def put_zarr_array(path):
    zarr.create_array(path, data=np.arange(3))
    return StoreFormatError


STRANGERS = [put_folder, put_file, put_zarr_group, put_zarr_array]


@pytest.mark.parametrize("opener", [Images.open, open_images, open_weights, describe])
@pytest.mark.parametrize("put", [put_nothing, *STRANGERS])
def test_what_is_no_store_of_mrdist_is_refused(put, opener, tmp_path):
    error = put(tmp_path / "it.zarr")
    with pytest.raises(error, match=r"it\.zarr"):
        opener(str(tmp_path / "it.zarr"))


def test_a_store_of_another_kind_is_refused(store):
    with pytest.raises(StoreFormatError, match="is a store of images, not of weights"):
        open_weights(store.url)


@pytest.mark.parametrize("opener", [Images.open, open_images])
def test_an_incomplete_store_is_refused(opener, small_images_store):
    store = small_images_store(finish=False)
    assert describe(store.url)["complete"] is False
    with pytest.raises(StoreIncompleteError, match="not complete; run the command that makes it again"):
        opener(store.url)


def test_an_unknown_label_lists_those_there_are(store):
    images = store.open()
    for use in (images.column, lambda label: images.rows([label, "happy"], "all")):
        with pytest.raises(LabelError, match="no label 'sad'; it has neutral, happy") as caught:
            use("sad")
        assert isinstance(caught.value, KeyError)


def test_rows_are_the_pairs_of_a_split(store):
    images = store.open()
    assert images.rows(["neutral", "happy"], "train").tolist() == [0, 1, 2, 5, 6, 7]
    assert images.rows(["neutral"], "test").tolist() == [4, 9]
    assert images.rows(["neutral", "happy"], "test").tolist() == [4]  # row 9 has no happy image
    assert images.rows(["neutral", "happy"], "all").tolist() == list(range(9))
    with pytest.raises(DataError, match="no image of split 'dev' with neutral and happy"):
        images.rows(["neutral", "happy"], "dev")


@pytest.mark.parametrize(
    "label", ["image", "split", "face_mask", "checksum", "y", "a/b", "very happy", "", "..", "1st"]
)
def test_labels_that_cannot_be_names_are_refused(label, small_images_store, tmp_path):
    with pytest.raises(ParameterError, match="cannot be a label"):
        small_images_store(labels=("neutral", label))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("chunks", [(0, 4, 4), (4, -1, 4)])
def test_chunks_without_pixels_are_refused(chunks, small_images_store):
    with pytest.raises(ParameterError, match="chunks must be positive"):
        small_images_store(chunks=chunks)


def fingerprint(store, rows=(0, 1, 5), labels=("neutral", "happy")):
    return store.open().fingerprint(labels, np.array(rows))


def test_the_fingerprint_knows_only_the_pixels_of_its_rows(small_images_store):
    store = small_images_store("a.zarr")
    pixels = {label: images.copy() for label, images in store.pixels.items()}
    assert fingerprint(small_images_store("b.zarr", chunks=(7, 20, 5))) == fingerprint(store)
    pixels["happy"][2] = 0  # another row
    assert fingerprint(small_images_store("c.zarr", pixels=pixels)) == fingerprint(store)
    pixels["happy"][5, 19, 23, 2] ^= 1
    changed = small_images_store("d.zarr", pixels=pixels)
    assert fingerprint(changed) != fingerprint(store)
    assert fingerprint(changed, labels=("neutral",)) == fingerprint(store, labels=("neutral",))
    others = [fingerprint(store), fingerprint(store, labels=("happy", "neutral")), fingerprint(store, rows=(0, 1))]
    assert len(set(others)) == 3


@pytest.mark.parametrize("slab", [1, 4, 10, 99])
def test_slabs_hold_every_row_asked_for_once(slab, store):
    rows = np.array([0, 1, 5, 9])
    found = list(store.open().slabs(rows, slab))
    assert np.concatenate([start + chosen for start, _, chosen in found]).tolist() == rows.tolist()
    for start, stop, chosen in found:
        assert 0 <= start < stop <= 10
        assert stop - start <= slab
        assert ((chosen >= 0) & (chosen < stop - start)).all()


def test_slabs_leave_out_chunks_without_a_row(small_images_store):
    images = small_images_store(chunks=(2, 8, 8)).open()
    rows = np.array([2, 6, 7, 9])
    assert [(start, stop) for start, stop, _ in images.slabs(rows, 4)] == [(2, 4), (6, 10)]
    assert images.n_read(rows) == 6


# ---------------------------------------------------------------- outputs


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("put", STRANGERS)
def test_what_is_not_mrdists_is_never_removed(put, overwrite, tmp_path):
    path = tmp_path / "it.zarr"
    put(path)
    before = path.read_bytes() if path.is_file() else files(path)
    with pytest.raises(StoreExistsError, match="not a store of mrdist; remove it yourself"):
        clear_output(str(path), None, kind="images", overwrite=overwrite)
    assert (path.read_bytes() if path.is_file() else files(path)) == before


@pytest.mark.parametrize(
    ("finish", "kind", "overwrite", "goes"),
    [
        (True, "images", False, False),
        (True, "weights", False, False),
        (True, "images", True, True),
        (True, "weights", True, True),
        (False, "images", False, True),
        (False, "weights", False, False),
        (False, "weights", True, True),
    ],
)
def test_only_unfinished_stores_of_the_kind_go_unasked(finish, kind, overwrite, goes, small_images_store):
    url = small_images_store(finish=finish).url
    before = files(url)
    if goes:
        clear_output(url, None, kind=kind, overwrite=overwrite)
        assert not Path(url).exists()
    else:
        with pytest.raises(StoreExistsError, match="already holds images; use --overwrite"):
            clear_output(url, None, kind=kind, overwrite=overwrite)
        assert files(url) == before


def test_an_empty_folder_is_no_obstacle(tmp_path):
    clear_output(str(tmp_path / "nothing"), None, kind="images", overwrite=False)
    (tmp_path / "empty").mkdir()
    clear_output(str(tmp_path / "empty"), None, kind="images", overwrite=False)


def test_a_newer_store_of_mrdist_is_not_removed(store):
    set_attributes(store.url, format_version=99)
    before = files(store.url)
    with pytest.raises(StoreExistsError):
        clear_output(store.url, None, kind="images", overwrite=True)
    assert files(store.url) == before


def test_overwriting_replaces_all(store):
    create_images(
        store.url, labels=["sad"], image=["a"], subject=["a"], dataset=["a"], split=["train"], shape=(4, 4),
        n_channels=1, overwrite=True,
    )  # fmt: skip
    assert describe(store.url)["labels"] == ["sad"]
    assert not (Path(store.url) / "neutral").exists()


# ---------------------------------------------------------------- weights

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
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")


def test_an_interrupted_training_resumes_with_its_own_grid(pairs, statistics_of, tmp_path):
    finished(tmp_path / "whole", pairs, statistics_of)
    url = tmp_path / "w.zarr"
    write_blocks(begin(url), pairs, statistics_of, slice(0, 4))
    with pytest.raises(StoreIncompleteError, match="run the command that makes it again to resume it"):
        open_weights(str(url))
    output = begin(url, block=(32, 48))
    assert output.progress.block == (16, 16)
    assert output.progress.done.tolist() == [True] * 4 + [False] * 2
    (url / "coef/c/0/0/0.partial").write_bytes(b"left by a killed writer")
    output = begin(url)
    write_blocks(output, pairs, statistics_of, slice(4, None))
    output.finish({"images": "faces.zarr"}, None)
    assert files(url) == files(tmp_path / "whole")


def test_a_complete_training_is_left_alone(pairs, statistics_of, tmp_path):
    url = tmp_path / "w.zarr"
    finished(url, pairs, statistics_of)
    before = files(url)
    assert begin(url) is None
    assert files(url) == before


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
    before = files(url)
    with pytest.raises(StoreExistsError, match=rf"{name} is {getattr(TRAINING, name)} there and {value} here"):
        begin(url, training=replace(TRAINING, **{name: value}))
    assert files(url) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("put", STRANGERS)
def test_weights_never_replace_what_is_not_mrdists(put, overwrite, tmp_path):
    path = tmp_path / "it.zarr"
    put(path)
    before = path.read_bytes() if path.is_file() else files(path)
    with pytest.raises(StoreError, match=r"it\.zarr"):
        begin(path, overwrite=overwrite)
    assert (path.read_bytes() if path.is_file() else files(path)) == before


def test_weights_do_not_replace_images(store):
    with pytest.raises(StoreExistsError, match="already holds images"):
        begin(store.url)
    assert np.array_equal(read(store.open()), store.pixels["neutral"])


def test_a_store_begun_but_never_ready_starts_anew(tmp_path):
    url = tmp_path / "w.zarr"
    begin(url)
    shutil.rmtree(url / "progress")
    output = begin(url, block=(32, 32))
    assert output.progress.block == (32, 32)
    assert not output.progress.done.any()


def test_a_missing_weights_chunk_is_an_error(pairs, statistics_of, tmp_path):
    finished(tmp_path / "w.zarr", pairs, statistics_of)
    (tmp_path / "w.zarr/coef/c/0/1/1").unlink()
    with pytest.raises(MissingChunkError, match="coef/c/0/1/1 is missing"):
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
