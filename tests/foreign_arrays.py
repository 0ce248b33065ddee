"""Arrays as other programs write them: each maker writes the same pixels, shape (image, y, x, channel), to a group."""

from __future__ import annotations

import numpy as np
import tensorstore as ts
import xarray as xr
import zarr
from numcodecs import LZ4, Blosc, GZip
from zarr.codecs import BloscCodec, BytesCodec, GzipCodec, TransposeCodec

import mrdist
from mrdist.datasets.splits import split_by_subject
from mrdist.storage import create_images, finish_images, write_images

DIMS = ("image", "y", "x", "channel")


def zarr2(folder, pixels, *, chunks=(4, 9, 28, 3), options=None, **how):
    """zarr-python, format 2."""
    group = zarr.open_group(f"{folder}/group.zarr", mode="w", zarr_format=2)
    array = group.create_array("a", shape=pixels.shape, chunks=chunks, dtype=pixels.dtype, **how)
    array[...] = pixels
    return f"{folder}/group.zarr/a", {"dims": DIMS} | (options or {})


def zarr3(folder, pixels, *, chunks=(4, 9, 28, 3), **how):
    """zarr-python, format 3, with names."""
    group = zarr.create_group(f"{folder}/group.zarr")
    array = group.create_array("a", shape=pixels.shape, chunks=chunks, dtype=pixels.dtype, dimension_names=DIMS, **how)
    array[...] = pixels
    return f"{folder}/group.zarr/a", {}


def xarray_store(folder, pixels, zarr_format, dims=("time", "lat", "lon", "band"), **encoding):
    """xarray, which names dimensions each format's way."""
    time = np.datetime64("2000-01-01", "ns") + np.arange(len(pixels)) * np.timedelta64(1, "D")
    dataset = xr.Dataset({"a": (dims, pixels)}, coords={"time": time})
    dataset.to_zarr(f"{folder}/x.zarr", zarr_format=zarr_format, consolidated=False, encoding={"a": encoding})
    return f"{folder}/x.zarr/a", {}


def transposed(folder, pixels):
    """Channel first and image last, as machine learning and image viewers have it."""
    group = zarr.create_group(f"{folder}/group.zarr")
    group.create_array("a", data=pixels.transpose(3, 1, 2, 0), chunks=(1, 10, 11, 7))
    return f"{folder}/group.zarr/a", {"dims": ("channel", "y", "x", "image")}


def ome(folder, pixels, version):
    """OME-Zarr: (t, c, z, y, x), two levels, the second of which is the one that is linked."""
    group = zarr.open_group(f"{folder}/image.zarr", mode="w", zarr_format=3 if version == "0.5" else 2)
    axes = [{"name": name} for name in "tczyx"]
    described = {"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}], "version": version}
    group.attrs.update(
        {"ome": {"multiscales": [described], "version": version}} if version == "0.5" else {"multiscales": [described]}
    )
    cube = pixels.transpose(0, 3, 1, 2)[:, :, None]
    for path, data in (
        ("0", cube.repeat(2, axis=3).repeat(2, axis=4)),
        ("1", np.concatenate([cube // 2, cube], axis=2)),
    ):
        group.create_array(path, data=data, chunks=(3, 1, 1, 12, 14))
    return f"{folder}/image.zarr", {"level": 1, "select": {"z": 1}}


def tensorstore(folder, pixels, driver, metadata):
    """tensorstore, with the metadata it is given."""
    store = ts.open(
        {"driver": driver, "kvstore": {"driver": "file", "path": f"{folder}/ts/a/"}, "metadata": metadata},
        create=True,
        dtype=ts.dtype(pixels.dtype.name),
        shape=pixels.shape,
    ).result()
    store[...] = pixels
    return f"{folder}/ts/a", {"dims": DIMS}


_SHARDED = {
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8, 24, 28, 3]}},
    "codecs": [
        {
            "name": "sharding_indexed",
            "configuration": {
                "chunk_shape": [4, 12, 14, 3],
                "codecs": [
                    {"name": "bytes", "configuration": {"endian": "little"}},
                    {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle"}},
                ],
                "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                "index_location": "start",
            },
        }
    ],
}
LAYOUTS = {
    "zarr 2, blosc lz4": lambda folder, pixels: zarr2(folder, pixels, compressors=Blosc("lz4")),
    "zarr 2, F order, gzip": lambda folder, pixels: zarr2(folder, pixels, order="F", compressors=GZip(3)),
    "zarr 2, nested keys, lz4": lambda folder, pixels: zarr2(
        folder, pixels, compressors=LZ4(), chunk_key_encoding={"name": "v2", "separator": "/"}
    ),
    "zarr 3, one image a chunk, gzip": lambda folder, pixels: zarr3(
        folder, pixels, chunks=(1, *pixels.shape[1:]), compressors=GzipCodec()
    ),
    "zarr 3, blosc": lambda folder, pixels: zarr3(folder, pixels, compressors=BloscCodec()),
    "zarr 3, shards": lambda folder, pixels: zarr3(folder, pixels, chunks=(2, 8, 14, 3), shards=(8, 16, 28, 3)),
    "zarr 3, transpose codec": lambda folder, pixels: zarr3(
        folder, pixels, filters=TransposeCodec(order=(3, 1, 2, 0)), serializer=BytesCodec()
    ),
    "channel first, image last": transposed,
    "xarray, format 2": lambda folder, pixels: xarray_store(folder, pixels, 2),
    "xarray, format 3": lambda folder, pixels: xarray_store(folder, pixels, 3, chunks=(5, 7, 9, 3)),
    "OME-Zarr 0.4": lambda folder, pixels: ome(folder, pixels, "0.4"),
    "OME-Zarr 0.5": lambda folder, pixels: ome(folder, pixels, "0.5"),
    "tensorstore, zarr 3, shards with blosc": lambda folder, pixels: tensorstore(folder, pixels, "zarr3", _SHARDED),
    "tensorstore, zarr 2, blosc": lambda folder, pixels: tensorstore(
        folder,
        pixels,
        "zarr",
        {"chunks": [4, 10, 10, 3], "compressor": {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1}},
    ),
}


def own_store(url, pixels, **options):
    """Ingest pixels by label into a store of our own, split as links split."""
    first = next(iter(pixels.values()))
    ids = [str(n) for n in range(len(first))]
    split = split_by_subject(ids, 0)
    options = {"labels": list(pixels), "image": ids, "split": split, "dtype": first.dtype} | options
    run, *_ = create_images(url, shape=first.shape[1:3], n_channels=first.shape[3], **options)
    for label, images in pixels.items():
        for start in range(0, len(images), run):
            write_images(url, label, start, images[start : start + run])
    finish_images(url)
    return url


def weights_of(images, url, **options):
    """Train and return the weights' arrays."""
    options = {"source": "low", "target": "high", "receptive_field": 3, "alpha": 0.4, "split": "all"} | options
    mrdist.train(images, url, workers=0, progress=False, **options)
    group = zarr.open_group(url, mode="r")
    return {name: np.asarray(group[name]) for name in ("coef", "intercept", "train_sse") if name in group}


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
