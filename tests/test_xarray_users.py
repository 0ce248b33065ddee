"""A page of ordinary xarray, pandas and scikit-learn on a store, as in a notebook."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.model_selection import GroupKFold, StratifiedKFold, train_test_split
from sklearn.preprocessing import LabelEncoder, OneHotEncoder

import mrdist
import mrdist.errors
from mrdist.storage import Images, create_images, finish_images, write_images

N_IMAGES, SHAPE = 10, (16, 16)
TRAINING = {"source": "neutral", "target": "happy", "workers": 0, "progress": False}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A store of which one chunk is black all over: xarray leaves that one out of a copy."""
    url = str(tmp_path_factory.mktemp("xarray") / "images.zarr")
    rng = np.random.default_rng(0)
    run, *_ = create_images(
        url,
        labels=("neutral", "happy"),
        image=[f"image-{n}" for n in range(N_IMAGES)],
        subject=[f"person-{n // 2}" for n in range(N_IMAGES)],
        dataset=["one"] * 5 + ["two"] * 5,
        split=["train"] * 8 + ["test"] * 2,
        shape=SHAPE,
        n_channels=1,
        chunks=(4, 8, 16),
    )
    for label in ("neutral", "happy"):
        for start in range(0, N_IMAGES, run):
            pixels = rng.integers(0, 256, (min(run, N_IMAGES - start), *SHAPE, 1), dtype=np.uint8)
            pixels[:, :8] *= start > 0
            write_images(url, label, start, pixels)
    finish_images(url, provenance={"made": True, "of": None})
    return url


@pytest.fixture(scope="module")
def weights(url, tmp_path_factory):
    weights = str(tmp_path_factory.mktemp("weights") / "weights.zarr")
    mrdist.train(url, weights, alpha=0.4, **TRAINING)
    return mrdist.open_weights(weights)


@pytest.fixture(scope="module")
def statistics(url, tmp_path_factory):
    statistics = str(tmp_path_factory.mktemp("statistics") / "statistics.zarr")
    mrdist.accumulate(url, statistics, **TRAINING)
    return mrdist.open_statistics(statistics)


@pytest.fixture
def faces(url):
    return mrdist.open_images(url)


@pytest.fixture(params=["images", "statistics", "weights"])
def dataset(request, url, weights, statistics):
    """Each kind of store that opens as a Dataset."""
    return {"images": mrdist.open_images(url), "statistics": statistics, "weights": weights.to_xarray()}[request.param]


def copied(dataset, url, **how):
    with warnings.catch_warnings():  # of xarray: consolidated metadata are in no specification
        warnings.filterwarnings("ignore", "Consolidated metadata|.*does not have a Zarr V3 specification")
        dataset.to_zarr(url, **how)
    return str(url)


def test_scikit_learn_takes_the_coordinates(faces):
    subject, split = faces["subject"].values, faces["split"].values
    for train, test in GroupKFold(2).split(subject, groups=subject):
        assert not set(subject[train]) & set(subject[test])
    train, test = train_test_split(np.arange(N_IMAGES), stratify=faces["dataset"].values, random_state=0)
    assert len(train) + len(test) == N_IMAGES
    assert next(iter(StratifiedKFold(2).split(split, faces["dataset"].values)))
    assert OneHotEncoder().fit_transform(faces["dataset"].values[:, np.newaxis]).shape == (N_IMAGES, 2)
    assert LabelEncoder().fit_transform(faces["split"]).tolist() == [1] * 8 + [0] * 2


def test_pandas_takes_the_coordinates(faces):
    table = faces[["subject", "dataset", "split"]].to_dataframe()
    assert table.index.tolist()[:2] == ["image-0", "image-1"]
    assert table.groupby("split").size().to_dict() == {"train": 8, "test": 2}
    assert pd.Categorical(faces["split"].values).categories.tolist() == ["test", "train"]
    assert faces["subject"].to_series().str.endswith("0").sum() == 2
    assert faces["present"].to_dataframe()["present"].all()


def test_xarray_selects_groups_and_joins(faces):
    assert faces.sel(image="image-3")["subject"].item() == "person-1"
    assert faces.isel(image=[0, 5]).sizes["image"] == 2
    assert faces["neutral"].where(faces["split"] == "test", drop=True).sizes["image"] == 2
    assert faces["split"].astype(str).values.tolist() == ["train"] * 8 + ["test"] * 2
    means = faces["happy"].groupby("split").mean("image")
    assert means.sel(split="test").shape == (*SHAPE, 1)
    assert faces["happy"].groupby("dataset").mean(...).sizes == {"dataset": 2}
    both = xr.concat([faces.isel(image=slice(0, 4)), faces.isel(image=slice(4, None))], "image", data_vars="minimal")
    xr.testing.assert_equal(both["happy"], faces["happy"])
    assert faces.sortby("subject", ascending=False)["subject"].values[-1] == "person-0"
    assert faces.set_index(image="subject").sel(image="person-0").sizes["image"] == 2
    assert faces["happy"].chunks is not None  # pixels stay lazy


def test_coordinates_are_loaded_and_text_is_pythons(dataset):
    for name, variable in dataset.variables.items():
        assert variable.dtype.kind != "T", name
    for name in ("image", "subject", "dataset", "split"):
        if name in dataset.coords:
            assert dataset[name].chunks is None
            assert {type(value) for value in dataset[name].values} == {str}


def test_netcdf_holds_a_store(dataset, tmp_path):
    """The format of SciPy has no unsigned numbers and none of 64 bits; of netCDF 4, all are written."""
    kept = [n for n, v in dataset.variables.items() if v.dtype.kind in "fO" and v.ndim]
    assert kept
    dataset[kept].to_netcdf(tmp_path / "some.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "some.nc", engine="scipy") as again:
        assert json.loads(again.attrs["mrdist"])["kind"] in ("images", "statistics", "weights")
        for name in kept:
            assert again[name].values.tolist() == dataset[name].values.tolist()
    pytest.importorskip("h5netcdf")
    dataset.to_netcdf(tmp_path / "all.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "all.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), dataset.compute())


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_to_zarr_writes_both_formats(dataset, zarr_format, tmp_path):
    copy = copied(dataset, tmp_path / "copy.zarr", zarr_format=zarr_format)
    with xr.open_zarr(copy, mask_and_scale=False) as again:
        for name in dataset.data_vars:
            np.testing.assert_array_equal(again[name].values, dataset[name].values)


CUTS = {
    "whole": lambda faces: faces,
    "images": lambda faces: faces.isel(image=slice(3, 9)),
    "split": lambda faces: faces.isel(image=(faces["split"] == "train").values),
    "pixels": lambda faces: faces.isel(y=slice(4, 12)),
    "changed": lambda faces: faces.assign(happy=255 - faces["happy"]),
    "bare": lambda faces: faces[["neutral", "happy"]].reset_coords(drop=True).drop_vars("image"),
}


@pytest.mark.parametrize("cut", CUTS)
def test_a_copy_by_xarray_is_a_store(faces, cut, tmp_path):
    wanted = CUTS[cut](faces)
    copy = copied(wanted, tmp_path / "copy.zarr", zarr_format=3, align_chunks=True)
    assert mrdist.check_images(copy) == []
    images = Images.open(copy)
    again = mrdist.open_images(copy)
    for label in ("neutral", "happy"):
        np.testing.assert_array_equal(again[label].values, wanted[label].values)
    fresh = {label: wanted[label].values for label in images.labels}
    sums = [[np.uint32(_crc(fresh[label][row])) for label in images.labels] for row in range(images.n_images)]
    np.testing.assert_array_equal(images.checksum, sums)  # those of the pixels as they are now
    report = mrdist.train(copy, str(tmp_path / "weights.zarr"), alpha=0.4, **TRAINING)
    assert np.isfinite(report.scores["mse"])
    second = copied(mrdist.open_images(copy), tmp_path / "second.zarr", zarr_format=3)
    assert mrdist.train(second, str(tmp_path / "weights.zarr"), alpha=0.4, **TRAINING).already_complete


def _crc(image):
    import zlib

    return zlib.crc32(np.ascontiguousarray(image).tobytes())


def test_a_whole_copy_trains_to_the_same_weights(url, faces, weights, tmp_path):
    copy = copied(faces, tmp_path / "copy.zarr", zarr_format=3)
    assert mrdist.train(copy, weights.url, alpha=0.4, **TRAINING).already_complete  # equal pixels, equal fingerprint


def test_a_copy_in_zarr_2_is_told_and_its_remedy_works(faces, tmp_path):
    copy = copied(faces, tmp_path / "two.zarr", zarr_format=2)
    with pytest.raises(mrdist.errors.ForeignStoreError, match="zarr group of format 2") as refused:
        mrdist.open_images(copy)
    remedy = str(refused.value).partition("for instance with ")[2].rstrip(".")
    remedy = remedy.replace("URL", repr(copy)).replace("NEW", repr(str(tmp_path / "three.zarr")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        eval(remedy, {"xarray": xr})
    assert mrdist.check_images(str(tmp_path / "three.zarr")) == []
    np.testing.assert_array_equal(mrdist.open_images(tmp_path / "three.zarr")["happy"], faces["happy"])


def test_a_chunk_lost_from_a_store_of_ours_is_an_error(url, tmp_path):
    import shutil

    shutil.copytree(url, tmp_path / "lost.zarr")
    (tmp_path / "lost.zarr" / "happy" / "c" / "0" / "0" / "0" / "0").unlink()
    with pytest.raises(mrdist.errors.MissingChunkError, match="write_empty_chunks=True"):
        mrdist.open_images(tmp_path / "lost.zarr")["happy"].load()
    assert "happy/c/0/0/0/0 is missing" in mrdist.check_images(tmp_path / "lost.zarr")[0]
