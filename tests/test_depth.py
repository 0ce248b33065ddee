"""Photographs keep their shape and their depth, and what is lost is asked for or said."""

from __future__ import annotations

import io
import json
import logging

import commands
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import mrdist
from mrdist.datasets.changes import noting
from mrdist.datasets.depth import encode_deep_colors, resize, to_depth, to_gray
from mrdist.datasets.photographs import Upload, read_head, read_photograph, read_pixels
from mrdist.errors import DataError, ParameterError, PhotographError
from mrdist.pipeline.ingesting.check import check_ingest

HEIGHT, WIDTH = 24, 16


def noise(dtype, channels=1, seed=0, shape=(HEIGHT, WIDTH)):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.random((*shape, channels)).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, (*shape, channels), dtype=dtype, endpoint=True)


def save(path, pixels, **options):
    """Save an array at its own depth: .npy, TIFF, or a PNG of gray or colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        photometric = "rgb" if pixels.shape[-1] in (3, 4) else "minisblack"
        tifffile.imwrite(path, pixels, **{"photometric": photometric, **options})
    elif pixels.dtype == np.uint16 and pixels.shape[-1] == 3:
        path.write_bytes(encode_deep_colors(pixels, 6))
    else:
        Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).save(path)
    return path


def people(folder, dtype, suffix=".png", *, channels=1, n=3, shape=(HEIGHT, WIDTH)):
    """Save a person's two faces each; return them by person and label."""
    return {
        (str(person), label): read_pixels(
            save(folder / label / f"{person}{suffix}", noise(dtype, channels, [person, k], shape)),
            "gray" if channels == 1 else "rgb",
        )
        for person in range(n)
        for k, label in enumerate(("happy", "neutral"))
    }


def ingest(source, url, **options):
    return mrdist.ingest(source, str(url), align="none", workers=0, progress=False, **options)


def assert_holds(url, pixels):
    dataset = mrdist.open_images(str(url))
    rows = [str(name) for name in dataset["image"].values]
    for (person, label), image in pixels.items():
        np.testing.assert_array_equal(dataset[label].values[rows.index(person)], image)
        assert dataset[label].dtype == image.dtype


# --- reading -------------------------------------------------------------------------------------------

KINDS = {
    "gray.png": ("uint8", 1, {}),
    "colors.png": ("uint8", 3, {}),
    "deep gray.png": ("uint16", 1, {}),
    "deep colors.png": ("uint16", 3, {}),
    "deep.tif": ("uint16", 3, {}),
    "deep packed.tif": ("uint16", 3, {"compression": "zlib"}),
    "deep big endian.tif": ("uint16", 3, {"byteorder": ">"}),
    "deep strips.tif": ("uint16", 3, {"rowsperstrip": 5}),
    "floats.tif": ("float32", 1, {}),
    "float colors.tif": ("float32", 3, {}),
    "doubles.tif": ("float64", 1, {}),
    "halves.tif": ("float16", 1, {}),
    "8 bits.npy": ("uint8", 3, {}),
    "16 bits.npy": (">u2", 1, {}),
    "floats.npy": ("float32", 3, {}),
    "doubles.npy": ("float64", 1, {}),
}


@pytest.mark.parametrize("name", KINDS)
def test_pixels_at_their_own_depth(tmp_path, name):
    dtype, channels, options = KINDS[name]
    pixels = noise(np.dtype(dtype).newbyteorder("="), channels)
    path = save(tmp_path / name, pixels.astype(dtype), **options)
    with noting() as changes:
        found = read_pixels(path, "gray" if channels == 1 else "rgb")
    kept = pixels.astype(np.float32) if pixels.dtype.kind == "f" else pixels
    np.testing.assert_array_equal(found, kept)
    assert (found.dtype, changes) == (kept.dtype, {})
    head = read_head(path)
    assert (head.height, head.width, head.depth) == (HEIGHT, WIDTH, kept.dtype)
    # what is aligned has 8 bits: rounded, but for colours of 16 bits, of which the upper 8 are taken
    eight = read_photograph(path, "gray" if channels == 1 else "rgb")
    assert np.abs(eight.astype(float) - to_depth(found, "float32") * 255).max() <= (1 if channels == 3 else 0.501)


def test_planes_one_after_the_other(tmp_path):
    pixels = noise("uint16", 3)
    path = tmp_path / "planes.tif"
    tifffile.imwrite(path, np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_pixels(path, "rgb"), pixels)
    assert read_head(path).depth == "uint16"


def test_gray_of_a_portable_map(tmp_path):
    pixels = noise("uint16")
    (tmp_path / "deep.pgm").write_bytes(b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_pixels(tmp_path / "deep.pgm", "gray"), pixels)
    assert read_head(tmp_path / "deep.pgm").depth == "uint16"


@given(arrays.arrays(np.uint8, (5, 4, 3)))
def test_luminance_is_that_of_pillow(pixels):
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(to_gray(pixels)[..., 0], expected)
    for depth in ("uint16", "float32"):
        assert np.abs(to_depth(to_gray(to_depth(pixels, depth)), "float32")[..., 0] * 255 - expected).max() <= 0.51


@given(st.integers(0, 255))
def test_a_deeper_image_comes_back(value):
    pixels = np.array([[[value]]], np.uint8)
    for depth in ("uint16", "float32"):
        assert to_depth(to_depth(pixels, depth), "uint8") == pixels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_resizing_agrees_over_depths(dtype):
    ramp = np.add.outer(5 * np.arange(HEIGHT), 5 * np.arange(WIDTH))
    pixels = np.stack([ramp, ramp + 20, ramp + 50], axis=-1).astype(np.uint8)
    resized = resize(to_depth(pixels, dtype), (12, 20))
    assert (resized.shape, resized.dtype) == ((12, 20, 3), dtype)
    expected = np.asarray(Image.fromarray(pixels).resize((20, 12), Image.Resampling.LANCZOS))
    assert np.abs(to_depth(resized, "float32") * 255 - expected.astype(float)).max() <= 1.01


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.full((4, 4), np.nan), "holds NaN, but floats must lie in 0"),
        (np.linspace(-1, 255, 16).reshape(4, 4), "has values from -1 to 255"),
        (np.zeros((2, 4, 4), np.uint8), r"an array of shape \(2, 4, 4\).*save one image per file"),
        (np.zeros(4, np.uint8), r"an array of shape \(4,\)"),
        (np.zeros((0, 4), np.uint8), r"an array of shape \(0, 4, 1\)"),
        (np.zeros((4, 4), np.int64), "holds int64"),
        (np.array([[{}]]), "holds object"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, pixels, said):
    np.save(tmp_path / "a.npy", pixels, allow_pickle=True)
    with pytest.raises(PhotographError, match=said) as caught:
        read_pixels(tmp_path / "a.npy", "gray")
    assert "a.npy" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{'descr': 1}", b"no array at all"])
def test_broken_arrays(tmp_path, content):
    for name in ("a.npy", "a.tif"):
        (tmp_path / name).write_bytes(content)
        for read in (read_head, lambda path: read_pixels(path, "gray")):
            with pytest.raises(PhotographError, match=rf"{name} cannot be (read|identified)"):
                read(tmp_path / name)


def test_strangers_send_no_arrays():
    stream = io.BytesIO()
    np.save(stream, noise("uint8"))
    with pytest.raises(PhotographError, match="cannot be identified as an image"):
        read_pixels(Upload("a.npy", content=stream.getvalue()), "gray")


def test_huge_arrays_are_refused_from_their_head(tmp_path):
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    for read in (read_head, lambda path: read_pixels(path, "gray")):
        with pytest.raises(PhotographError, match=r"more than .* pixels"):
            read(tmp_path / "a.npy")


def test_what_reading_changes_is_noted(tmp_path):
    red = Image.new("RGB", (4, 6), (200, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    red.save(tmp_path / "turned.png", exif=exif)
    Image.new("RGBA", (4, 4), (9, 9, 9, 100)).save(tmp_path / "clear.png")
    Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(tmp_path / "opaque.png")
    Image.new("CMYK", (4, 4), (200, 9, 9, 5)).save(tmp_path / "ink.jpg")
    Image.new("L", (4, 4)).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.new("L", (4, 4))])
    colors = noise("uint16", 3)
    (tmp_path / "deep.ppm").write_bytes(b"P6 %d %d 65535\n" % (WIDTH, HEIGHT) + colors.astype(">u2").tobytes())
    expected = {
        "turned.png": {"orientation"},
        "clear.png": {"alpha"},
        "opaque.png": set(),
        "ink.jpg": {"cmyk"},
        "pages.tif": {"page"},
        "deep.ppm": {"depth"},
    }
    for name, kinds in expected.items():
        with noting() as changes:
            read_pixels(tmp_path / name, "rgb")
        assert changes == {kind: {str(tmp_path / name)} for kind in kinds}
    with noting() as changes:
        assert read_pixels(tmp_path / "turned.png", "gray").shape == (4, 6, 1)
        read_pixels(tmp_path / "opaque.png", "gray")
    assert changes == {name: {str(tmp_path / "turned.png")} for name in ("orientation", "gray")}


# --- ingest --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "suffix", "channels"),
    [
        ("uint8", ".png", 3),
        ("uint16", ".png", 1),
        ("uint16", ".tif", 3),
        ("float32", ".tif", 1),
        ("float32", ".npy", 3),
    ],
)
def test_a_store_has_the_depth_and_the_shape_of_its_photographs(tmp_path, dtype, suffix, channels):
    pixels = people(tmp_path / "in", dtype, suffix, channels=channels)
    report = ingest(tmp_path / "in", tmp_path / "out.zarr", color="gray" if channels == 1 else None)
    assert_holds(tmp_path / "out.zarr", pixels)
    assert (report.changes, report.left_out) == ({}, {})
    assert next(iter(report.sources.values())).startswith("folders: ")
    info = mrdist.info(str(tmp_path / "out.zarr"))
    assert (info["shape"], info["dtype"]) == ([HEIGHT, WIDTH], dtype)


def test_16_bits_by_the_command_line(tmp_path):
    pixels = people(tmp_path / "in", "uint16", n=2)
    plain = ("ingest", tmp_path / "in", tmp_path / "out.zarr", "--align", "none", "--color", "gray", "--workers", "0")
    sentence = commands.failure(*plain, "--size", WIDTH)
    assert "would be stretched 1.5 times to 16 x 16; keep its shape with --size 16,11, or stretch" in sentence
    done = commands.succeed(*plain)
    assert "has the layout folders: folders are expressions (happy, neutral)" in done.stderr
    assert_holds(tmp_path / "out.zarr", pixels)
    found = commands.report(*plain, "--size", "8,8", "--dtype", "uint8", "--overwrite")
    assert [entry["change"] for entry in found["changed"]] == ["shape"]  # 16 -> 8 bits was asked for
    assert mrdist.open_images(str(tmp_path / "out.zarr"))["happy"].dtype == np.uint8
    assert "size must be a side, or a height and a width" in commands.failure(*plain, "--size", "8,8,8", code=2)


@pytest.mark.parametrize("size", [(12, 8), np.array([12, 8])])
def test_sizes_that_keep_the_shape_say_nothing(tmp_path, caplog, size):
    people(tmp_path / "in", "uint16")
    report = ingest(tmp_path / "in", tmp_path / "out.zarr", size=size, color="gray")
    assert mrdist.info(report.url)["shape"] == [12, 8]
    assert (report.changes, [record for record in caplog.records if record.levelno >= logging.WARNING]) == ({}, [])


def test_what_is_stretched_or_laid_on_white_is_said(tmp_path, caplog):
    people(tmp_path / "in", "uint8", n=2)
    Image.new("RGBA", (WIDTH, HEIGHT), (9, 9, 9, 100)).save(tmp_path / "in" / "happy" / "0.png")
    with caplog.at_level(logging.WARNING):
        report = ingest(tmp_path / "in", tmp_path / "out.zarr", size=(16, 16))
    assert {change: len(photographs) for change, photographs in report.changes.items()} == {"alpha": 1, "shape": 4}
    assert "1 of 4 photographs are partly transparent and are put on white" in caplog.text
    assert "4 of 4 photographs are stretched" in caplog.text
    assert json.dumps(report.to_dict())


def test_mixed_sizes_and_depths_are_a_sentence(tmp_path):
    people(tmp_path / "in", "uint8", n=2)
    other = tmp_path / "in" / "happy" / "1.png"
    save(other, noise("uint16"))
    with pytest.raises(
        DataError, match=r"0.png has 8 bits per channel, but 1.png has 16 bits; keep all bits with --dtype uint16"
    ):
        ingest(tmp_path / "in", tmp_path / "out.zarr")
    ingest(tmp_path / "in", tmp_path / "out.zarr", dtype="uint16", color="gray")
    assert_holds(tmp_path / "out.zarr", {("1", "happy"): noise("uint16")})
    save(other, noise("uint8", shape=(WIDTH, HEIGHT)))
    with pytest.raises(DataError, match=r"0.png has 16 x 24 pixels, but 1.png has 24 x 16; give the height and width"):
        ingest(tmp_path / "in", tmp_path / "other.zarr")
    assert not (tmp_path / "other.zarr").exists()


def test_options_that_contradict(tmp_path):
    people(tmp_path / "in", "uint8")
    for options, said in (
        ({"size": (16, 12)}, "size is 16,12, but aligned images are square"),
        ({"dtype": "uint16"}, "dtype is uint16, but aligned images are uint8"),
        ({"dtype": "int8"}, "dtype must be one of uint8, uint16, float32"),
        ({"size": (4, 16)}, "size must be 8 to 4096 pixels"),
        ({"size": (16, 16, 16)}, "size must be 8 to 4096 pixels"),
    ):
        with pytest.raises(ParameterError, match=said):
            mrdist.ingest(tmp_path / "in", str(tmp_path / "out.zarr"), workers=0, **options)
    with pytest.raises(ParameterError, match="dtype must be one of"):
        check_ingest(str(tmp_path / "in"), dtype="int8")


def test_appending_keeps_shape_and_depth(tmp_path):
    first = people(tmp_path / "one", "uint16")
    out = tmp_path / "out.zarr"
    ingest(tmp_path / "one", out, color="gray", chunks=(2, 16, 16))
    second = people(tmp_path / "two", "uint16")
    mrdist.ingest(tmp_path / "two", str(out), append=True, workers=0)
    assert_holds(out, first)
    assert_holds(out, {(f"two/{person}", label): pixels for (person, label), pixels in second.items()})
    before = commands.files(out)
    people(tmp_path / "small", "uint16", shape=(12, 8))
    people(tmp_path / "floats", "float32", ".npy")
    for source, said in (
        ("small", "has 8 x 12 pixels, but the images of the store have 16 x 24; resize it with --size 24,16"),
        ("floats", "has floats per channel, but the images of the store have 16 bits; round it with --dtype uint16"),
    ):
        with pytest.raises(DataError, match=said):
            mrdist.ingest(tmp_path / source, str(out), append=True, workers=0)
    assert commands.files(out) == before
    mrdist.ingest(tmp_path / "small", str(out), append=True, size=(24, 16), workers=0)
    mrdist.ingest(tmp_path / "floats", str(out), append=True, dtype="uint16", workers=0)
    people(tmp_path / "eight", "uint8")
    mrdist.ingest(tmp_path / "eight", str(out), append=True, workers=0)  # nothing is lost
    assert mrdist.info(str(out))["images"] == 15


def test_minmax_at_every_depth(tmp_path):
    pixels = people(tmp_path / "in", "float32", ".npy")
    ingest(tmp_path / "in", tmp_path / "out.zarr", normalize="minmax", color="gray")
    images = mrdist.open_images(str(tmp_path / "out.zarr"))["happy"].values
    image = pixels["0", "happy"].astype(float)
    np.testing.assert_allclose(images[0], (image - image.min()) / np.ptp(image), atol=1e-6)


def test_every_phase_has_its_name(tmp_path):
    people(tmp_path / "in", "uint8", n=2)
    events = tmp_path / "events"
    plain = ("ingest", tmp_path / "in", tmp_path / "out.zarr", "--align", "none", "--workers", "0")
    commands.succeed("--events", events, *plain)
    told = [json.loads(line) for line in events.read_text().splitlines()]
    assert [event["phase"] for event in told if event["event"] == "phase"] == [
        "listing",
        "starting",
        "looking",
        "reading",
        "writing",
    ]
    for phase in ("listing", "starting", "looking", "reading", "writing"):
        steps = [event for event in told if event["event"] == "block" and event["phase"] == phase]
        assert steps[-1]["done"] == steps[-1]["total"] > 0
