"""Photographs, landmarks, the London layout and the alignment to one frame."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.transform import SimilarityTransform, warp

from mrdist.datasets.alignment import ALIGNERS, FRAME_PUPILS, align_take, hull_mask, reference_shape
from mrdist.datasets.discovery import discover
from mrdist.datasets.landmarks import MOUTH, N_POINTS, OUTLINE, PUPILS, read_tem
from mrdist.datasets.photographs import Photograph, Take, photograph_size, read_photograph
from mrdist.errors import AlignmentError, DataError, LandmarkError, PhotographError

# --- photographs ---------------------------------------------------------------------------------------


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("RGB", (200, 100, 50), (200, 100, 50)),
        ("L", 70, (70, 70, 70)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (200, 100, 50, 0), (255, 255, 255)),
        ("LA", (0, 51), (204, 204, 204)),
        ("I;16", 100 * 257, (100, 100, 100)),
    ],
)
def test_every_mode_becomes_8_bits(tmp_path, mode, color, expected):
    path = save(Image.new(mode, (5, 4), color), tmp_path / "photo.png")
    rgb, gray = read_photograph(path, "rgb"), read_photograph(path, "gray")
    assert (rgb.shape, gray.shape, rgb.dtype, gray.dtype) == ((4, 5, 3), (4, 5, 1), np.uint8, np.uint8)
    assert (rgb == expected).all()
    assert abs(int(gray[0, 0, 0]) - np.dot([0.299, 0.587, 0.114], expected)) <= 0.5


def test_cmyk_and_palette(tmp_path):
    cmyk = save(Image.new("RGB", (16, 16), (180, 90, 30)).convert("CMYK"), tmp_path / "cmyk.jpg", quality=100)
    assert np.abs(read_photograph(cmyk, "rgb") - np.array([180, 90, 30])).max() <= 3
    palette = save(Image.new("RGB", (4, 4), (180, 90, 30)).quantize(8), tmp_path / "palette.png")
    assert (read_photograph(palette, "rgb") == [180, 90, 30]).all()


def cmyk_profile() -> bytes:
    """Return an ICC profile that makes no ink white, all inks black, and every other set of full inks gray (L 50)."""
    lattice = bytes([255, 128, 128]) + bytes([128, 128, 128]) * 14 + bytes([0, 128, 128])
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + lattice + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"text" + bytes(4) + b"made\0"
    tags, data, start = b"", b"", 128 + 4 + 12 * 3
    for name, content in ((b"A2B0", table), (b"wtpt", white), (b"desc", text)):
        content += bytes(-len(content) % 4)
        tags += name + struct.pack(">II", start + len(data), len(content))
        data += content
    head = struct.pack(">I4sI4s4s4s", start + len(data), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ") + bytes(12)
    head += b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + tags + data


def test_cmyk_goes_through_its_profile(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 0), (0, 0, 8, 16))
    for profile, ink in ((cmyk_profile(), (119, 119, 119)), (b"no profile", (0, 255, 255))):
        path = save(image, tmp_path / "cmyk.tif", icc_profile=profile)
        pixels = read_photograph(path, "rgb")
        assert np.abs(pixels[:, :8] - np.array(ink)).max() <= 1
        assert (pixels[:, 8:] >= 254).all()


def test_files_of_several_images(tmp_path):
    first, second = Image.new("RGB", (8, 8), (250, 0, 0)), Image.new("RGB", (8, 8), (0, 250, 0))
    for name in ("film.gif", "film.png", "film.webp"):
        path = save(first, tmp_path / name, save_all=True, append_images=[second])
        with pytest.raises(PhotographError, match=rf"{name} is an animation of 2 frames: save the frame"):
            read_photograph(path, "rgb")
    for name in ("pages.tif", "phone.mpo"):
        path = save(first, tmp_path / name, save_all=True, append_images=[second])
        assert np.abs(read_photograph(path, "rgb") - np.array([250, 0, 0])).max() <= 6
    assert (read_photograph(save(first, tmp_path / "still.gif"), "rgb") == [250, 0, 0]).all()


def test_wide_pixels_are_scaled_to_8_bits(tmp_path):
    levels = np.array([[0, 128, 129, 257, 385, 386, 65535]], dtype=np.uint16)
    path = save(Image.fromarray(levels), tmp_path / "wide.png")
    np.testing.assert_array_equal(read_photograph(path, "gray")[..., 0], np.rint(levels / 257))


def test_halves_of_a_picture(tmp_path):
    pixels = np.zeros((4, 10, 3), np.uint8)
    pixels[:, 5:] = 200
    path = save(Image.fromarray(pixels), tmp_path / "17.png")
    for half, level in (("left", 0), ("right", 200)):
        photograph = Photograph(str(path), half=half)
        assert photograph_size(photograph) == (5, 4)
        image = read_photograph(photograph, "rgb")
        assert image.shape == (4, 5, 3)
        assert (image == level).all()
    odd = save(Image.new("L", (9, 4)), tmp_path / "18.png")
    with pytest.raises(PhotographError, match=r"18.png \(left half\) is 9 pixels wide"):
        read_photograph(Photograph(str(odd), half="left"), "gray")


def test_ghostscript_is_never_run(tmp_path):
    """Pillow would hand an EPS file to Ghostscript, whatever its name says."""
    path = tmp_path / "face.jpg"
    save(Image.new("RGB", (8, 8)), tmp_path / "face.eps").rename(path)
    with pytest.raises(PhotographError, match=r"face.jpg cannot be identified as an image"):
        read_photograph(path, "rgb")


def test_exif_orientation(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    pixels[:, :3] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise by 90 degrees
    path = save(Image.fromarray(pixels), tmp_path / "turned.png", exif=exif)
    assert (read_photograph(path, "gray")[..., 0] == np.rot90(pixels, -1)).all()
    assert photograph_size(path) == (4, 6)


def test_broken_photographs(tmp_path, monkeypatch):
    whole = save(Image.effect_noise((64, 64), 50), tmp_path / "whole.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(whole.read_bytes()[:600])
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    wide = save(Image.new("I", (4, 4)), tmp_path / "wide.tif")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    for path, reason in [
        (cut, "truncated"),
        (empty, "identified as an image"),
        (text, "identified as an image"),
        (tmp_path / "no.jpg", "No such"),
        (wide, "32-bit"),
    ]:
        with pytest.raises(PhotographError, match=reason) as caught:
            read_photograph(path, "gray")
        assert str(path) in str(caught.value)
    for limit in (3000, 1000):  # pillow warns above the limit and raises above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(PhotographError, match=f"whole.jpg has more than {limit} pixels"):
            read_photograph(whole, "gray")


# --- landmarks -----------------------------------------------------------------------------------------


def write_tem(path: Path, points: np.ndarray) -> Path:
    lines = [str(len(points)), *(f"{x}\t{y}" for x, y in points), "1", "0", "2", "0 1"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_read_tem(tmp_path):
    points = np.array([[565.0, 632.5], [778.0, 624.0], [1.0, 2.0]])
    np.testing.assert_array_equal(read_tem(write_tem(tmp_path / "a.tem", points)), points)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with the number of points"),
        ("many\n1 2\n", "not with 'many'"),
        ("0\n", "not with '0'"),
        ("3\n1 2\n3 4\n", "declares 3 points but holds 2"),
        ("2\n1 2\n3\n", "point 1 .line 3."),
        ("2\n1 2 3\n3 4\n", "point 0 .line 2."),
        ("1\nnan 4\n", "two finite numbers"),
        ("1\n1 inf\n", "two finite numbers"),
        ("1\n\N{SNOWMAN}\n", "two finite numbers"),
    ],
)
def test_malformed_tem(tmp_path, text, reason):
    path = tmp_path / "bad.tem"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LandmarkError, match=reason) as caught:
        read_tem(path)
    assert str(path) in str(caught.value)


def test_missing_tem(tmp_path):
    with pytest.raises(LandmarkError, match="No such file"):
        read_tem(tmp_path / "no.tem")


# --- alignment -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """A shape of 189 points with the London template's meaning where the code asks for it."""
    shape = np.random.default_rng(0).uniform([0.2, 0.2], [0.8, 0.7], (N_POINTS, 2))
    shape[PUPILS] = FRAME_PUPILS
    for points, centre, radii in [(MOUTH, (0.5, 0.8), (0.14, 0.05)), (OUTLINE, (0.5, 0.55), (0.40, 0.48))]:
        angle = np.linspace(0, 2 * np.pi, len(points), endpoint=False)
        shape[points] = centre + np.stack([np.cos(angle), np.sin(angle)], axis=-1) * radii
    return shape


def texture(seed: int, width: float = 4) -> np.ndarray:
    """Blobs of about `width` pixels, 400 x 400, in 0..1."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((400, 400)), width)
    return np.clip(0.5 + 0.2 * noise / noise.std(), 0, 1)


@pytest.fixture
def take(tmp_path, reference) -> Take:
    """A textured neutral photograph, and the same moved by a known similarity, darker, with a new mouth."""
    pixels = SimilarityTransform(scale=260, translation=(70, 60))
    landmarks = pixels(reference)
    neutral = texture(1)
    rows, columns = np.indices(neutral.shape)
    centre = landmarks[MOUTH].mean(axis=0)
    mouth = ((columns - centre[0]) / 40) ** 2 + ((rows - centre[1]) / 16) ** 2 < 1
    smiling = np.where(mouth, texture(2), neutral)
    moved = SimilarityTransform(scale=1.03, rotation=0.04, translation=(3, -9))
    smiling = warp(smiling, moved.inverse, order=3, mode="reflect") * 0.9
    paths = {"neutral": tmp_path / "1_03.png", "smiling": tmp_path / "1_08.png"}
    for path, image in zip(paths.values(), (neutral, smiling), strict=True):
        save(Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).convert("RGB"), path)
    return Take("1", paths, {"neutral": write_tem(tmp_path / "1_03.tem", landmarks)})


@pytest.mark.parametrize(
    ("method", "size", "color"),
    [*((method, 96, "gray") for method in ALIGNERS if method != "features"), ("tps", 260, "rgb")],
)
def test_alignment_undoes_a_known_similarity(take, reference, method, size, color):
    aligned = align_take(take, reference, size=size, color=color, method=method)
    neutral, smiling = (aligned.images[label].astype(float) for label in ("neutral", "smiling"))
    assert neutral.shape == (size, size, 1 if color == "gray" else 3)
    if size == 260:  # the frame has the photograph's scale: nothing but a shift by 70, 60 is left
        expected = texture(1)[60:320, 70:330] * 255
        assert np.abs(neutral[8:-8, 8:-8, 0] - np.rint(expected[8:-8, 8:-8])).mean() < 6
    quality = aligned.quality["smiling"]
    assert quality["inliers"] >= 20
    assert quality["correlation"] > 0.97
    assert quality["exposure"] == pytest.approx(1 / 0.9, rel=0.02)
    assert aligned.quality["neutral"]["landmarks"] < 0.005
    difference = np.abs(smiling - neutral).mean(axis=2)
    middle = slice(round(0.77 * size), round(0.83 * size)), slice(round(0.4 * size), round(0.6 * size))
    assert difference[middle].mean() > 25  # the mouth is not registered away
    assert np.median(difference[hull_mask(reference, size)]) < 5


def test_alignment_is_repeatable_and_knows_no_other_take(take, reference):
    first, second = (align_take(take, reference, size=64) for _ in range(2))
    alone = align_take(Take("1", {"neutral": take.photographs["neutral"]}, take.landmarks), reference, size=64)
    for label, image in first.images.items():
        np.testing.assert_array_equal(image, second.images[label])
    assert first.quality == second.quality
    np.testing.assert_array_equal(alone.images["neutral"], first.images["neutral"])


def test_shrinking_does_not_alias(tmp_path, reference):
    """Stripes of two pixels, shrunk to less than half, become even gray."""
    stripes = np.where(np.arange(400) // 2 % 2, 255, 0).astype(np.uint8)
    path = save(Image.fromarray(np.tile(stripes, (400, 1))), tmp_path / "1_03.png")
    landmarks = write_tem(tmp_path / "1_03.tem", reference * 384 + 8)
    image = align_take(Take("1", {"neutral": path}, {"neutral": landmarks}), reference, size=48).images["neutral"]
    assert np.abs(image - 127.5).max() < 16


@pytest.mark.parametrize(
    ("other", "reason"), [(np.zeros((400, 400)), "shows no features"), (texture(7), "8 are needed")]
)
def test_unregistrable_photograph(take, reference, other, reason):
    save(Image.fromarray((other * 255).astype(np.uint8)), take.photographs["smiling"])
    with pytest.raises(AlignmentError, match=rf"1_08\.png could not be registered .* {reason}"):
        align_take(take, reference, size=64)


def test_unfit_landmarks(take, reference):
    with pytest.raises(AlignmentError, match="Person 1 has no photograph with landmarks"):
        align_take(Take("1", take.photographs), reference, size=64)
    write_tem(take.landmarks["neutral"], reference[:107] * 260)
    with pytest.raises(LandmarkError, match="holds 107 points"):
        align_take(take, reference, size=64)
    write_tem(take.landmarks["neutral"], reference * 2000)
    with pytest.raises(LandmarkError, match="check that the file belongs to this photograph"):
        align_take(take, reference, size=64)


def test_reference_shape(reference):
    rng = np.random.default_rng(3)
    shapes = [
        SimilarityTransform(scale=scale, rotation=0.1 * scale / 300, translation=(30, scale))(
            reference + 0.01 * rng.standard_normal(reference.shape)
        )
        for scale in np.linspace(150, 400, 40)
    ]
    mean = reference_shape(shapes)
    np.testing.assert_allclose(mean[PUPILS], FRAME_PUPILS, atol=1e-12)
    assert np.abs(mean - reference).max() < 0.02
    np.testing.assert_array_equal(mean, reference_shape(shapes))
    with pytest.raises(DataError, match="no person has landmarks"):
        reference_shape([])
    with pytest.raises(LandmarkError, match=r"templates of \[106, 189\] points"):
        reference_shape([shapes[0], shapes[1][:106]])


def test_hull_mask(reference):
    mask = hull_mask(reference, 200)
    assert mask.shape == (200, 200)
    assert mask.dtype == bool
    assert mask.mean() == pytest.approx(np.pi * 0.40 * 0.48, rel=0.03)
    assert mask[110, 100]
    assert not mask[5, 5]


# --- real photographs ----------------------------------------------------------------------------------


@pytest.mark.skipif("MRDIST_TEST_DATA" not in os.environ, reason="MRDIST_TEST_DATA is not set")
def test_london_photographs():
    found = discover(Path(os.environ["MRDIST_TEST_DATA"]) / "london")
    takes = found.takes
    assert (found.layout, found.left_out) == ("london", {})
    assert all(set(take.photographs) == {"neutral", "smiling"} for take in takes)
    reference = reference_shape([read_tem(take.landmarks["neutral"]) for take in takes])
    assert reference.shape == (N_POINTS, 2)
    assert hull_mask(reference, 128).mean() == pytest.approx(0.66, abs=0.06)
    differences = []
    for take in takes[::20]:
        aligned = align_take(take, reference, size=128, color="rgb")
        quality = aligned.quality["smiling"]
        assert quality["inliers"] >= 12
        assert quality["correlation"] > 0.8
        assert aligned.quality["neutral"]["landmarks"] < 0.01
        neutral, smiling = (aligned.images[label].astype(float) for label in ("neutral", "smiling"))
        differences.append(np.abs(smiling - neutral))
    difference = np.mean(differences, axis=0)
    assert difference[96:112, 48:80].mean() > 1.5 * difference[12:34, 40:88].mean()  # mouth, forehead
