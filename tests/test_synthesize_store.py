"""`mrdist synthesize WEIGHTS IMAGES_STORE`: the predictions of the weights, for any chunks, strips and workers."""

from __future__ import annotations

import zlib

import commands
import numpy as np
import pytest
import zarr

import mrdist
from mrdist.errors import DataError, LabelError, MemoryLimitError, MissingChunkError, ParameterError
from mrdist.geometry import Block
from mrdist.storage import Images, describe

SHAPE = (80, 48)
BETWEEN = {"source": "happy", "target": "neutral"}  # one row of the small stores has no happy face


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a factory of weights stores, trained on random pixels of one size."""
    made = {}

    def make(n_channels=3, **options):
        key = (n_channels, *sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("trained")
            pixels = np.random.default_rng(0).integers(0, 256, (2, 12, *SHAPE, n_channels), dtype=np.uint8)
            url = commands.write_store(folder / "images.zarr", dict(zip(BETWEEN.values(), pixels, strict=True)))
            made[key] = str(folder / "weights.zarr")
            mrdist.train(url, made[key], **BETWEEN, alpha=0.01, workers=0, **options)
        return made[key]

    return make


def expected(weights, store):
    """What the library's own prediction of whole images in memory comes to, and its checksums."""
    pixels, present = store.pixels["happy"], store.present[:, list(store.pixels).index("happy")]
    predicted = mrdist.open_weights(weights).predict(pixels).clip(0, 1)
    if pixels.dtype.kind != "f":
        predicted = np.rint(predicted * np.iinfo(pixels.dtype).max)
    made = predicted.astype(pixels.dtype)
    made[~present] = 0
    return made, np.array([[zlib.crc32(image.tobytes())] for image in made], dtype=np.uint32)


def assert_made(url, weights, store):
    pixels, checksum = expected(weights, store)
    found, source = Images.open(url), store.open()
    assert found.labels == ("neutral",)
    np.testing.assert_array_equal(found.reader().read("neutral", 0, len(pixels), Block(0, 0, *found.shape)), pixels)
    np.testing.assert_array_equal(found.checksum, checksum)
    np.testing.assert_array_equal(found.present[:, 0], store.present[:, list(store.pixels).index("happy")])
    for name in ("image", "subject", "split", "face_mask"):
        np.testing.assert_array_equal(getattr(found, name), getattr(source, name))
    assert found.dtype == source.dtype
    assert (
        mrdist.open_images(url)["dataset"].values.tolist() == mrdist.open_images(store.url)["dataset"].values.tolist()
    )


@pytest.mark.parametrize("strip", [32, 64, 96])
@pytest.mark.parametrize("chunks", [(4, 8, 16), (10, 80, 48), (1, 80, 48), (3, 33, 48)])
def test_predictions_of_whole_images_for_any_chunks_and_strips(
    chunks, strip, trained, small_images_store, tmp_path, monkeypatch
):
    monkeypatch.setattr("mrdist.storage.images.writer._MAX_RUN", 1)  # runs of 4 images
    monkeypatch.setattr("mrdist.pipeline.applying.synthesize_store.strip_height", lambda *_: strip)
    monkeypatch.setattr("mrdist.pipeline.applying.synthesize_store._BATCH_BYTES", 3 * SHAPE[0] * SHAPE[1] * 4)
    store = small_images_store(shape=SHAPE, chunks=chunks)
    report = mrdist.synthesize(trained(receptive_field=5), store.url, str(tmp_path / "made.zarr"), workers=0)
    assert_made(report.url, trained(receptive_field=5), store)
    assert (report.images, report.present, report.label) == (10, 9, "neutral")
    assert zarr.open_group(report.url, mode="r")["neutral"].chunks == (4, 32, 32, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    "options",
    [
        {"n_channels": 1, "dtype": "float64"},
        {"color": "separate"},
        {"color": "joint"},
        {"receptive_field": 3, "dilation": 4},
    ],
    ids=str,
)
def test_pixels_of_the_images_dtype(options, dtype, trained, small_images_store, tmp_path):
    weights = trained(**options)
    store = small_images_store(shape=SHAPE, dtype=dtype, n_channels=options.get("n_channels", 3))
    report = mrdist.synthesize(weights, [store.url], str(tmp_path / "made.zarr"), workers=0)
    assert_made(report.url, weights, store)


def test_images_beyond_the_memory_of_a_worker_are_made_in_strips(trained, small_images_store, tmp_path):
    store, out = small_images_store(shape=SHAPE), str(tmp_path / "made.zarr")
    with pytest.raises(MemoryLimitError, match=r"10 images of 32 x 48 pixels need \d+ MiB .*but max_memory is 329 MiB"):
        mrdist.synthesize(trained(), store.url, out, workers=0, max_memory="329MiB")
    assert not (tmp_path / "made.zarr").exists()
    mrdist.synthesize(trained(), store.url, out, workers=0, max_memory="468MiB")
    assert_made(out, trained(), store)


def test_runs_without_any_image_are_black_chunks_and_not_missing_ones(
    trained, small_images_store, tmp_path, monkeypatch
):
    monkeypatch.setattr("mrdist.storage.images.writer._MAX_RUN", 1)
    store = small_images_store(shape=SHAPE)
    group = zarr.open_group(store.url, mode="r+", use_consolidated=False)
    store.present[:8, 1] = False
    group["present"][...] = store.present
    report = mrdist.synthesize(trained(), store.url, str(tmp_path / "made.zarr"), workers=0)
    assert report.present == 1
    assert_made(report.url, trained(), store)


# --- as commands ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Weights and images in two runs, so that two workers have something to share."""
    folder = tmp_path_factory.mktemp("many")
    pixels = np.random.default_rng(1).integers(0, 256, (2, 300, 40, 40, 1), dtype=np.uint8)
    images = commands.write_store(folder / "images.zarr", dict(zip(("neutral", "happy"), pixels, strict=True)))
    weights = str(folder / "weights.zarr")
    commands.succeed("train", images, weights, "--source", "neutral", "--target", "happy", "--workers", 0)
    return images, weights, pixels[0]


def test_workers_make_the_same_bytes_as_this_process(many, tmp_path):
    images, weights, neutral = many
    alone, shared = tmp_path / "alone.zarr", tmp_path / "shared.zarr"
    found = commands.report("synthesize", weights, images, "--out", alone, "--workers", 0)
    assert (found["url"], found["label"], found["images"], found["present"]) == (str(alone), "happy", 300, 300)
    found = commands.report("synthesize", weights, images, "--out", shared, "--workers", 2, "--max-memory", "1GiB")
    assert found["peak_memory_bytes"] < 1 << 30
    assert commands.files(shared) == commands.files(alone)
    assert (shared / "zarr.json").read_bytes() == (alone / "zarr.json").read_bytes()
    assert list(zarr.open_group(alone, mode="r")["happy"].chunks) == [256, 32, 32, 1]
    wanted = np.rint(mrdist.open_weights(weights).predict(neutral).clip(0, 1) * 255)
    np.testing.assert_array_equal(mrdist.open_images(str(shared))["happy"].values, wanted)
    assert describe(str(shared))["provenance"] == {"weights": weights, "images": images, "source": "neutral"}
    assert (
        "300 of 300 images made happy"
        in commands.succeed("synthesize", weights, images, "--out", alone, "--workers", 0, "--overwrite").stdout
    )


def test_the_result_can_be_evaluated_and_trained_from(many, tmp_path):
    images, weights, _ = many
    made = tmp_path / "made.zarr"
    commands.succeed("synthesize", weights, images, "--out", made, "--workers", 0)
    labels = ("--label", f"neutral={images}/neutral", "--label", f"happy={made}/happy")
    commands.succeed("link", tmp_path / "both.zarr", *labels)
    between = ("--source", "neutral", "--target", "happy", "--workers", 0)
    commands.succeed("train", tmp_path / "both.zarr", tmp_path / "again.zarr", *between)


def test_what_does_not_go_together_is_refused(many, tmp_path):
    images, weights, _ = many
    photograph = tmp_path / "face.png"
    photograph.write_text("never read")
    made = ("--out", tmp_path / "made")
    assert f"{images} is a store" in commands.failure("synthesize", weights, images, *made, "--strict")
    for name, *value in (
        ("--workers", 0),
        ("--scheduler", "tcp://nowhere:1"),
        ("--max-memory", "1GiB"),
        ("--overwrite",),
    ):
        sentence = commands.failure("synthesize", weights, photograph, *made, name, *value)
        assert name in sentence
        assert f"{photograph} is not one" in sentence
    assert f"{weights} is a store of weights" in commands.failure("synthesize", weights, weights, *made)
    assert "is a store of images, not of weights" in commands.failure("synthesize", images, images, *made)
    assert list(tmp_path.iterdir()) == [photograph]


@pytest.mark.parametrize("out", ["", "/", "/inside.zarr"])
def test_no_store_is_synthesized_into_what_it_is_made_from(out, many):
    images, weights, neutral = many
    for source in (images, weights):
        sentence = commands.failure("synthesize", weights, images, "--out", source + out, "--overwrite")
        assert f"would overwrite its input {source}" in sentence
    np.testing.assert_array_equal(mrdist.open_images(images)["neutral"].values, neutral)


def test_a_complete_output_is_replaced_only_if_asked(many, tmp_path):
    images, weights, _ = many
    command = ("synthesize", weights, images, "--out", tmp_path / "made.zarr", "--workers", 0)
    commands.succeed(*command)
    before = commands.files(tmp_path / "made.zarr")
    assert "already holds images; use --overwrite" in commands.failure(*command)
    commands.succeed(*command, "--overwrite")
    assert commands.files(tmp_path / "made.zarr") == before


def test_memory_stores_live_in_one_process(many):
    images, weights, neutral = many
    with pytest.raises(ParameterError, match="memory:// lives in one process"):
        mrdist.synthesize(weights, images, "memory://made.zarr", workers=2)
    report = mrdist.synthesize(weights, images, "memory://made.zarr", workers=0)
    assert mrdist.open_images(report.url)["happy"].shape == neutral.shape


def test_images_that_do_not_fit_the_weights_are_refused(trained, small_images_store, tmp_path):
    weights, out = trained(), str(tmp_path / "made.zarr")
    for name, options in {"size": {"shape": (80, 47)}, "color": {"shape": SHAPE, "n_channels": 1}}.items():
        store = small_images_store(f"{name}.zarr", **options)
        with pytest.raises(DataError, match="maps images of 80 x 48 pixels and 3 channel"):
            mrdist.synthesize(weights, store.url, out, workers=0)
    sad = small_images_store("sad.zarr", shape=SHAPE, labels=("neutral", "sad"))
    with pytest.raises(LabelError, match="no label 'happy'; it has neutral, sad"):
        mrdist.synthesize(weights, sad.url, out, workers=0)
    nobody = small_images_store("nobody.zarr", shape=SHAPE)
    zarr.open_group(nobody.url, mode="r+", use_consolidated=False)["present"][:, 1] = False
    with pytest.raises(DataError, match="no image of split 'all' with happy"):
        mrdist.synthesize(weights, nobody.url, out, workers=0)
    assert not (tmp_path / "made.zarr").exists()


def test_a_failure_leaves_an_incomplete_store_that_the_next_run_replaces(trained, small_images_store, tmp_path):
    store, out = small_images_store(shape=SHAPE), tmp_path / "made.zarr"
    chunk = next(path for path in (tmp_path / "images.zarr" / "happy" / "c").rglob("*") if path.is_file())
    pixels = chunk.read_bytes()
    chunk.unlink()
    with pytest.raises(MissingChunkError, match="happy"):
        mrdist.synthesize(trained(), store.url, str(out), workers=0)
    assert not commands.is_whole(out)
    chunk.write_bytes(pixels)
    mrdist.synthesize(trained(), store.url, str(out), workers=0)
    assert_made(str(out), trained(), store)
