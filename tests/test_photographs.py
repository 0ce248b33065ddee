"""New expressions for photographs of any size: the face changes, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import commands
import fsspec
import numpy as np
import pytest
from commands import NO_DETECTOR
from PIL import Image, ImageCms

import mrdist
from mrdist.datasets._warping import GRID
from mrdist.datasets.alignment import FRAME_PUPILS, place_frame
from mrdist.datasets.locating import locate
from mrdist.datasets.originals import read_original
from mrdist.datasets.retouching import crop_face, feathered, retouch, to_luminance
from mrdist.storage import Images

LABELS = ("--source", "neutral", "--target", "happy")
SIZE = 48
#: Where `scene` puts the frame: (x, y) of its corner, and its side.
CORNER, SIDE = np.array([90.0, 60.0]), 192


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Twenty people, weights of gray and of colour trained on them, and one of them in a large photograph."""
    folder = tmp_path_factory.mktemp("photographs")
    found = SimpleNamespace(folder=folder)
    for color in ("rgb", "gray"):
        images = str(folder / f"{color}-images.zarr")
        options = ("--images", 20, "--size", SIZE, "--labels", "neutral,happy", "--color", color, "--workers", 0)
        commands.succeed("generate", images, *options)
        setattr(found, color, str(folder / f"{color}.zarr"))
        commands.succeed("train", images, getattr(found, color), *LABELS, "--workers", 0)
        setattr(found, f"{color}_images", images)
    face = mrdist.open_images(found.rgb_images)["neutral"].values[0]
    large = np.asarray(Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    found.scene = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    found.scene[60 : 60 + SIDE, 90 : 90 + SIDE] = large
    found.face_mask = mrdist.open_images(found.rgb_images)["face_mask"].values
    return found


PUPILS = CORNER + FRAME_PUPILS * SIDE - 0.5
POINTS = ",".join(f"{value:g}" for value in PUPILS.ravel())


def touched(stores):
    """Return where the mask of `scene` may be above 0, with a pixel of the frame to spare."""
    mask = Image.fromarray(feathered(stores.face_mask) > 0).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    there = np.zeros(stores.scene.shape[:2], dtype=bool)
    there[60 : 60 + SIDE, 90 : 90 + SIDE] = np.asarray(mask)
    grown = there.copy()
    for dy, dx in np.ndindex(9, 9):
        grown |= np.roll(there, (dy - 4, dx - 4), axis=(0, 1))
    return grown


def opened(path):
    with Image.open(path) as picture:
        picture.load()
        return picture


def save(pixels, path, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


# --- the change and its way back -----------------------------------------------------------------------


def test_a_warp_there_and_back_adds_the_change_where_it_belongs():
    """A change that is a smooth function of the place in the frame arrives as that function of the photograph."""
    turn = np.array([[90.0, -25.0], [20.0, 110.0]])

    def bend(points):
        u, v = points.T
        bent = np.stack([u + 0.03 * np.sin(5 * v), v + 0.04 * np.sin(4 * u)], axis=1)
        return bent @ turn.T + (60, 40)

    size = 64
    centres = (np.stack(np.meshgrid(*[np.arange(size)] * 2), axis=-1).reshape(-1, 2) + 0.5) / size
    change = (0.2 * np.sin(3 * centres[:, 0]) * np.cos(2 * centres[:, 1])).reshape(size, size, 1)
    photograph = np.full((220, 240, 1), 30000, dtype=np.uint16)
    made = retouch(photograph, 1, change, np.ones((size, size)), bend(GRID))
    inner = np.random.default_rng(0).uniform(0.05, 0.95, (300, 2))
    at = np.rint(bend(inner)).astype(int)
    # the frame's point that lies on the pixel's centre, by a step of Newton's method from the one nearby
    nearby = inner + np.linalg.solve(turn, (at - bend(inner)).T).T
    expected = 30000 + 65535 * 0.2 * np.sin(3 * nearby[:, 0]) * np.cos(2 * nearby[:, 1])
    found = made[at[:, 1], at[:, 0], 0]
    assert np.abs(found - expected).max() < 65535 * 0.004
    assert np.array_equal(made[:10], photograph[:10])


def test_a_huge_photograph_is_cropped_as_a_large_one():
    y, x = np.mgrid[:1600, :1600] / 1600
    photograph = np.rint(255 * (0.5 + 0.4 * np.sin(9 * x) * np.cos(7 * y))).astype(np.uint8)[..., np.newaxis]
    pupils = FRAME_PUPILS * 1600 - 0.5
    face = crop_face(photograph, place_frame(pupils, None), 32)  # 50 pixels to one, of which 12 are taken together
    exact = photograph.reshape(32, 50, 32, 50).mean(axis=(1, 3))
    assert np.abs(face[..., 0] - exact).max() <= 1


@pytest.mark.parametrize("model", ["rgb", "gray"])
def test_only_the_face_changes(stores, tmp_path, model):
    photograph = save(stores.scene, tmp_path / "scene.png")
    weights = getattr(stores, model)
    found = commands.report("synthesize", weights, photograph, "--points", POINTS, "--out", tmp_path / "made")
    assert found["aligned"] == {str(photograph): "points"}
    made = np.asarray(opened(tmp_path / "made" / "scene.png"))
    assert made.shape == stores.scene.shape
    there = touched(stores)
    np.testing.assert_array_equal(made[~there], stores.scene[~there])
    assert (made != stores.scene)[there].mean() > 0.05

    # in the frame it is what the mapping makes of the face
    positions = place_frame(PUPILS, None)
    gray = np.asarray(Image.fromarray(stores.scene).convert("L"))[..., np.newaxis]
    before = crop_face(stores.scene if model == "rgb" else gray, positions, SIZE)
    gray_made = np.asarray(Image.fromarray(made).convert("L"))[..., np.newaxis]
    after = crop_face(made if model == "rgb" else gray_made, positions, SIZE)
    wanted = mrdist.open_weights(weights).predict(before[np.newaxis])[0].clip(0, 1) * 255
    inside = feathered(stores.face_mask) == 1
    assert np.abs(after - wanted)[inside].mean() < 2.5 < np.abs(before - wanted)[inside].mean()
    if model == "gray":  # chroma is kept where nothing was clipped
        free = ((made > 0) & (made < 255)).all(axis=-1)
        shift = made.astype(int) - stores.scene
        assert np.ptp(shift, axis=-1)[free].max() <= 1


def test_landmarks_beside_the_photograph_are_used_and_points_go_first(stores, tmp_path):
    photograph = save(stores.scene, tmp_path / "scene.png")
    (tmp_path / "scene.tem").write_text("2\n" + "".join(f"{x} {y}\n" for x, y in PUPILS))
    found = commands.report("synthesize", stores.rgb, photograph, "--out", tmp_path / "a")
    assert found["aligned"] == {str(photograph): "landmarks"}
    (tmp_path / "scene.tem").write_text("2\n10 10\n20 10\n")
    commands.report("synthesize", stores.rgb, photograph, "--points", POINTS, "--out", tmp_path / "b")
    assert (tmp_path / "a" / "scene.png").read_bytes() == (tmp_path / "b" / "scene.png").read_bytes()


def test_depth_alpha_profile_and_orientation_are_the_photographs_own(stores, tmp_path):
    scene = stores.scene
    outside = ~touched(stores)
    alpha = np.random.default_rng(1).integers(0, 256, (*scene.shape[:2], 1), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a face", 6  # shown turned clockwise by 90 degrees
    wide = np.asarray(Image.fromarray(scene).convert("L")).astype(np.uint16) * 257 + 3
    files = {
        "alpha.png": save(np.concatenate([scene, alpha], axis=2), tmp_path / "alpha.png", icc_profile=profile),
        "wide.png": save(wide, tmp_path / "wide.png"),
        "turned.png": save(np.ascontiguousarray(np.rot90(scene)), tmp_path / "turned.png", exif=exif),
    }
    made = {}
    for name, path in files.items():
        commands.succeed("synthesize", stores.rgb, path, "--points", POINTS, "--out", tmp_path / "made")
        made[name] = opened(tmp_path / "made" / name)
    found = np.asarray(made["alpha.png"])
    np.testing.assert_array_equal(found[..., 3:], alpha)
    np.testing.assert_array_equal(found[outside, :3], scene[outside])
    assert made["alpha.png"].info["icc_profile"] == profile
    found = np.asarray(made["wide.png"])
    assert made["wide.png"].mode == "I;16"
    np.testing.assert_array_equal(found[outside], wide[outside])
    assert len(np.unique(found[~outside] % 257)) > 50  # more than eight bits
    assert made["turned.png"].size == (400, 300)
    assert dict(made["turned.png"].getexif()) == {0x010E: "a face"}
    np.testing.assert_array_equal(np.asarray(made["turned.png"])[outside], scene[outside])


def test_modes_that_cannot_hold_a_change_are_converted(tmp_path):
    scene = Image.effect_noise((40, 30), 60)
    palette = scene.convert("RGB").quantize(16)
    palette.save(tmp_path / "p.png", transparency=0)
    scene.convert("1").save(tmp_path / "one.png")
    assert read_original(tmp_path / "p.png").pixels.shape == (30, 40, 4)
    assert read_original(tmp_path / "p.png").n_colors == 3
    assert np.array_equal(np.unique(read_original(tmp_path / "one.png").pixels), [0, 255])
    original = read_original(save(np.asarray(scene), tmp_path / "gray.png"))
    assert (original.n_colors, original.pixels.shape) == (1, (30, 40, 1))


@pytest.mark.parametrize("turn", [0, 12])
def test_a_face_without_landmarks_is_found_by_the_mean_face(stores, tmp_path, turn):
    scene = Image.new("RGB", (400, 300), (90, 120, 60))
    scene.paste(Image.fromarray(stores.scene[60 : 60 + SIDE, 90 : 90 + SIDE]), (90, 60))
    middle = CORNER + SIDE / 2
    photograph = tmp_path / "scene.png"
    scene.rotate(-turn, Image.Resampling.BICUBIC, center=tuple(middle)).save(photograph)
    found = commands.report("synthesize", stores.gray, photograph, "--out", tmp_path / "made", constants=NO_DETECTOR)
    assert found["aligned"] == {str(photograph): "registration"}
    frame = mrdist.open_weights(stores.gray).to_xarray()
    gray = np.asarray(opened(photograph).convert("L"))[..., np.newaxis]
    location = locate(gray, to_luminance(frame["mean_face"].values))
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    expected = (GRID - 0.5) * SIDE @ np.array([[cos, sin], [-sin, cos]]) + middle - 0.5
    assert np.linalg.norm(location.mapping(GRID) - expected, axis=1).mean() < 0.05 * SIDE


@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_no_face_in_a_photograph(stores, tmp_path, kind):
    pixels = np.full((120, 150), 99, dtype=np.uint8)
    if kind == "noise":
        pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    photograph = save(pixels, tmp_path / "nobody.png")
    sentence = commands.failure("synthesize", stores.rgb, photograph, "--out", tmp_path / "made", constants=NO_DETECTOR)
    for part in (str(photograph), "150 x 120", "likeness to the mean face", "--points"):
        assert part in sentence


# --- many ----------------------------------------------------------------------------------------------


def test_folders_patterns_and_a_contact_sheet(stores, tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for name in ("a", "b"):
        save(stores.scene, folder / f"{name}.png")
        (folder / f"{name}.tem").write_text("2\n" + "".join(f"{x} {y}\n" for x, y in PUPILS))
    (folder / "notes.txt").write_text("not a face")
    save(np.full((90, 90), 99, dtype=np.uint8), folder / "c.jpg")  # has neither landmarks nor a face
    (folder / "d.png").write_text("not a face")
    out = tmp_path / "made"
    found = commands.report("synthesize", stores.rgb, folder, "--out", out, "--contact-sheet")
    assert [path.rsplit("/", 1)[1] for path in found["written"]] == ["a.png", "b.png"]
    reasons = {entry["what"].rsplit("/", 1)[1]: entry["reason"] for entry in found["left_out"]}
    assert "--points" in reasons["c.jpg"]
    assert "cannot be identified" in reasons["d.png"]
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "contact-sheet.png"]
    assert found["contact_sheet"] == str(out / "contact-sheet.png")
    sheet = np.asarray(opened(out / "contact-sheet.png"))
    assert (sheet[:256, 256:512] != sheet[:256, :256]).any()
    again = commands.report("synthesize", stores.rgb, folder / "[ab].png", "--out", tmp_path / "again")
    assert list(again["written"]) == list(found["written"])
    assert (tmp_path / "again" / "a.png").read_bytes() == (out / "a.png").read_bytes()


def test_photographs_of_and_into_another_filesystem(stores):
    memory = fsspec.filesystem("memory")
    with memory.open("/faces/scene.png", "wb") as stream:
        Image.fromarray(stores.scene).save(stream, format="PNG")
    memory.pipe("/faces/scene.tem", ("2\n" + "".join(f"{x} {y}\n" for x, y in PUPILS)).encode())
    report = mrdist.synthesize(stores.rgb, "memory://faces/*.png", "memory://made")
    assert list(report.written.values()) == ["memory://made/scene.png"]
    with memory.open("/made/scene.png") as stream, Image.open(stream) as picture:
        assert picture.size == (400, 300)


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "code", "said"),
    [
        ("-5,10,80,10", 1, "-5,10,80,10"),
        ("5,10,400,10", 1, "400 x 300"),
        ("50,50,51,50", 1, "50,50,51,50"),
        ("50,50,51", 2, "50,50,51"),
        ("50,50,nan,50", 2, "nan"),
        ("a,b,c,d", 2, "a,b,c,d"),
    ],
)
def test_points_that_are_no_pupils(stores, tmp_path, points, code, said):
    photograph = save(stores.scene, tmp_path / "scene.png")
    command = ("synthesize", stores.rgb, photograph, f"--points={points}", "--out", tmp_path / "made")
    assert said in commands.failure(*command, code=code)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "must begin"), ("2\n1 1\n", "declares 2"), ("2\n9 9\n900 9\n", "scene.tem"), ("1\n9 9\n", "scene.tem")],
)
def test_landmarks_that_cannot_be_used(stores, tmp_path, text, said):
    photograph = save(stores.scene, tmp_path / "scene.png")
    (tmp_path / "scene.tem").write_text(text)
    assert said in commands.failure("synthesize", stores.rgb, photograph, "--out", tmp_path / "made")
    assert list((tmp_path / "made").iterdir()) == []


def test_what_does_not_go_together(stores, tmp_path):
    one, two = (save(stores.scene, tmp_path / f"{name}.png") for name in ("one", "two"))
    out = ("--out", tmp_path / "made")
    assert "there are 2" in commands.failure("synthesize", stores.rgb, one, two, "--points", POINTS, *out)
    assert "no file matches" in commands.failure("synthesize", stores.rgb, tmp_path / "*.gif", *out)
    images = stores.rgb_images
    assert "points is for photographs" in commands.failure("synthesize", stores.rgb, images, "--points", POINTS, *out)
    sheet = save(stores.scene, tmp_path / "contact-sheet.png")
    assert "the contact sheet" in commands.failure("synthesize", stores.rgb, sheet, *out)
    (tmp_path / "empty").mkdir()
    assert "no photograph in" in commands.failure("synthesize", stores.rgb, tmp_path / "empty", *out)
    assert not (tmp_path / "made").exists()


def test_weights_that_do_not_know_where_faces_lie(stores, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), dtype=np.uint8)
    images = commands.write_store(tmp_path / "oblong.zarr", {"neutral": pixels, "happy": pixels})
    mrdist.train(images, str(tmp_path / "oblong-weights.zarr"), source="neutral", target="happy", workers=0)
    photograph = save(stores.scene, tmp_path / "scene.png")
    command = ("synthesize", tmp_path / "oblong-weights.zarr", photograph, "--points", POINTS)
    assert "only square images" in commands.failure(*command, "--out", tmp_path / "made")


def test_colour_of_16_bits_is_refused_rather_than_halved(stores, tmp_path):
    from skimage.io import imsave

    imsave(tmp_path / "deep.tif", stores.scene.astype(np.uint16) * 257, check_contrast=False)
    sentence = commands.failure(
        "synthesize", stores.rgb, tmp_path / "deep.tif", "--points", POINTS, "--out", tmp_path / "made"
    )
    assert "deep.tif" in sentence


# --- what the weights know -----------------------------------------------------------------------------


def test_weights_and_sums_keep_where_faces_lie(stores, tmp_path):
    images = Images.open(stores.gray_images)
    sums, solved = tmp_path / "sums.zarr", tmp_path / "solved.zarr"
    commands.succeed("accumulate", stores.gray_images, sums, *LABELS, "--workers", 0)
    commands.succeed("solve", sums, solved, "--workers", 0)
    commands.assert_equal_bytes(solved, stores.gray)
    kept = mrdist.open_weights(stores.gray).to_xarray()
    np.testing.assert_array_equal(kept["face_mask"].values, images.face_mask)
