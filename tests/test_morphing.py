"""Shape and appearance against their equations: warps, movements of landmarks, mouths, and what is made of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from mrdist.errors import DataError, ParameterError
from mrdist.geometry import ReceptiveField
from mrdist.morphing.landmark_sums import OPEN, Lips, ShapeSums, is_open
from mrdist.morphing.morph import Morph, to_canonical
from mrdist.morphing.mouths import LIFT, Mouth, MouthRegion, MouthSums, detail, light_of
from mrdist.morphing.shapes import Expression, Shapes
from mrdist.morphing.warps import IDENTITY, SMOOTHING, Controls, Window, inverse, moved, similarity, soft_polygon
from mrdist.synthesis import MaskedWeights, to_pixels

SIDE = 64
#: 8 points of the inner lips, then an outline, a nose and eyes.
LIPS = Lips((0, 1, 2, 3, 4, 5, 6, 7), left=0, right=4, upper=2, lower=6)
_ALONG = np.array([-1, -0.6, 0, 0.6, 1, 0.6, 0, -0.6])
_SIDE_OF = np.array([0, -1, -1, -1, 0, 1, 1, 1])
_TURNS = np.linspace(0, 2 * np.pi, 12, endpoint=False)


def face(width: float = 8.0, gap: float = 0.3) -> np.ndarray:
    """Return the points of a face, shape (point, 2)."""
    lips = np.stack([32 + width * _ALONG, 44 + gap * _SIDE_OF * np.sqrt(1 - 0.9 * _ALONG**2)], axis=-1)
    outline = np.stack([32 + 24 * np.cos(_TURNS), 32 + 26 * np.sin(_TURNS)], axis=-1)
    return np.concatenate([lips, outline, [[32.0, 32.0], [22.0, 24.0], [42.0, 24.0], [20.0, 40.0], [44.0, 40.0]]])


def pairs(n: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return landmarks of people before and after: every third opens the mouth."""
    random = np.random.default_rng(seed)
    before, after = [], []
    for number in range(n):
        shift = random.normal(0, 0.3, face().shape)
        gap = 3.0 if number % 3 == 0 else 0.3
        before.append(face() + shift)
        after.append(face(10 + random.normal(0, 1), gap) + shift + random.normal(0, 0.1, shift.shape))
    return np.stack(before), np.stack(after)


def shapes_of(n: int = 12) -> Shapes:
    return Shapes.fit(ShapeSums.zeros(len(face())).update(*pairs(n), LIPS), (SIDE, SIDE), LIPS)


def control(shapes: Shapes, points: np.ndarray) -> np.ndarray:
    return points[shapes.control]


def pictures(n: int, seed: int = 0, channels: int = 3, side: int = SIDE) -> np.ndarray:
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=(n, side, side, channels)), (0, 2, 2, 0))
    return np.clip(128 + 400 * noise, 0, 255).astype(np.uint8)


def lights(n: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(n).integers(150, 250, (n, channels)).astype(np.uint8)


def weights_of(channels: int = 3, intercept: float = 0.1) -> MaskedWeights:
    """Return weights that make everything brighter."""
    return MaskedWeights(
        ReceptiveField(1), "shared", channels, np.ones((1, SIDE, SIDE)), np.full((SIDE, SIDE), intercept)
    )


def mouth_of(shapes: Shapes, channels: int = 3) -> Mouth:
    region = MouthRegion.of(shapes)
    assert region is not None
    images = pictures(5, 1, channels)[:, *region.window.slices]
    mouth = Mouth.fit(MouthSums.zeros(region, channels).update(images, region).lit(lights(5, channels)), region, 255)
    assert mouth is not None
    return mouth


def bumps(a: np.ndarray, b: np.ndarray, radius: float) -> np.ndarray:
    share = np.linalg.norm(a[:, None] - b[None], axis=-1) / radius
    return np.maximum(1 - share, 0) ** 4 * (4 * share + 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.floats(3, 40), st.integers(0, 99))
def test_a_warp_solves_the_system_of_its_bumps(n: int, radius: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    points, values = random.uniform(-5, 25, (n, 2)), random.normal(size=(n, 2))
    window = Window(3, 2, 17, 13)
    warp = Controls(points, radius).warp(values, window, 1.0)
    loads = np.linalg.solve(bumps(points, points, radius) + SMOOTHING * np.eye(n), values)
    y, x = np.mgrid[3:20, 2:15]
    pixels = np.stack([x.ravel(), y.ravel()], axis=-1)
    expected = (bumps(pixels, points, radius) @ loads).T.reshape(2, 17, 13)
    assert_allclose(warp.nodes, expected, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([np.uint8, np.uint16, np.float32]), st.integers(1, 4), st.floats(1, 7), st.integers(0, 99))
def test_a_warp_by_nothing_gives_the_same_values(dtype: type, channels: int, step: float, seed: int) -> None:
    image = (np.random.default_rng(seed).random((9, 14, channels)) * 200).astype(dtype)
    warp = Controls(np.array([[3.0, 4.0], [9.0, 2.0]]), 6.0).warp(np.zeros((2, 2)), Window(1, 2, 7, 11), step)
    assert_array_equal(warp.apply(image), image[1:8, 2:13].astype(np.float32))


def test_a_shift_by_whole_pixels_moves_them_and_carries_the_border_on() -> None:
    image = np.arange(48, dtype=np.float32).reshape(6, 8, 1)
    shift = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
    warp = Controls(np.array([[3.0, 3.0]]), 5.0).warp(np.zeros((1, 2)), Window(0, 0, 6, 8), 2.0, shift)
    y, x = np.mgrid[:6, :8]
    assert_array_equal(warp.apply(image)[..., 0], image[np.clip(y - 1, 0, 5), np.clip(x + 2, 0, 7), 0])


def test_between_pixels_a_quadratic_is_met_exactly() -> None:
    y, x = np.mgrid[:12, :12].astype(np.float64)
    image = (x * x + 0.5 * y * y - x * y)[..., np.newaxis]
    shift = np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.6]])
    warp = Controls(np.array([[3.0, 3.0]]), 5.0).warp(np.zeros((1, 2)), Window(2, 2, 7, 7), 2.0, shift)
    u, v = x[2:9, 2:9] + 0.3, y[2:9, 2:9] + 0.6
    assert_allclose(warp.apply(image)[..., 0], u * u + 0.5 * v * v - u * v, rtol=1e-6)


def test_points_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 landmarks"):
        Controls(np.array([[1.0, 2.0], [np.nan, 3.0]]), 4.0)


@given(st.floats(-3, 3), st.floats(0.2, 5), st.floats(-50, 50), st.floats(-50, 50))
def test_a_similarity_is_found_again_and_undone(turn: float, scale: float, x: float, y: float) -> None:
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    affine = np.array([[a, -b, x], [b, a, y]])
    points = face()
    there = moved(affine, points)
    assert_allclose(similarity(points, there), affine, atol=1e-9)
    assert_allclose(moved(inverse(affine), there), points, atol=1e-9)


def test_a_soft_polygon_measures_the_distance_from_its_border() -> None:
    corners = np.array([[4.0, 4.0], [14.0, 4.0], [14.0, 12.0], [4.0, 12.0]])
    y, x = np.mgrid[:20, :20]
    inside = np.minimum.reduce([x - 4, 14 - x, y - 4, 12 - y])
    outside = np.hypot(np.maximum(0, np.maximum(4 - x, x - 14)), np.maximum(0, np.maximum(4 - y, y - 12)))
    depth = np.where(inside > 0, inside, -outside)
    assert_allclose(soft_polygon(corners, (20, 20), 4.0, 1.0), np.clip(0.5 + (depth + 1) / 4, 0, 1))


def test_sums_of_shapes_are_exact_however_they_are_taken() -> None:
    before, after = pairs()
    whole = ShapeSums.zeros(len(face())).update(before, after, LIPS)
    parts = [ShapeSums.zeros(len(face())).update(before[k::5], after[k::5], LIPS) for k in (3, 1, 0, 4, 2)]
    merged = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3]).merge(parts[4])
    for name in vars(whole):
        assert_array_equal(getattr(merged, name), getattr(whole, name))
    assert whole.n.tolist() == [12, 4]


def test_movement_is_the_least_squares_of_strength_and_opening() -> None:
    before, after = (np.rint(points * 256) / 256 for points in pairs())
    shapes = shapes_of()
    control = shapes.control
    movement = (after - before)[:, control] * shapes.share[:, np.newaxis]
    mean = movement.mean(axis=0)
    strength = (movement * mean).sum(axis=(1, 2))
    strength /= np.sqrt((strength**2).mean())
    exact = pairs()[1]
    opening = np.rint(np.linalg.norm(exact[:, 2] - exact[:, 6], axis=-1) * 256) / 256
    design = np.stack([strength, opening], axis=-1)
    fitted = np.linalg.lstsq(design, movement.reshape(12, -1), rcond=None)[0]
    assert_allclose(shapes.movement.reshape(2, -1), fitted, atol=1e-9)
    assert_allclose(shapes.mean_strength, strength.mean())
    measured = [shapes.measure(b, a, LIPS) for b, a in zip(before, after, strict=True)]
    assert_allclose([each.strength for each in measured], strength, atol=1e-9)
    opened = is_open(after, LIPS)
    assert_allclose(shapes.rates[1], opening[opened].sum() / strength[opened].sum())
    assert_allclose(shapes.rates[0], opening[~opened].sum() / strength[~opened].sum())
    assert_allclose(shapes.canonical, before[opened][:, control].mean(axis=0) + movement[opened].mean(axis=0))


def test_what_the_expression_does_not_explain_stays() -> None:
    shapes = shapes_of(60)
    points = {int(point): share for point, share in zip(shapes.control, shapes.share, strict=True)}
    assert [points[k] for k in LIPS.ring] == [1.0] * 8
    assert max(points[k] for k in range(8, 20)) == 0  # the outline
    before, after = (each[0] for each in pairs(60))
    assert_array_equal(shapes.registered(before, after)[list(points).index(8)], before[8])


def test_the_dials_of_an_expression() -> None:
    shapes = shapes_of()
    assert shapes.expression(0.0) == Expression(0.0, 0.0)
    assert shapes.expression(1.0) == shapes.expression(1.0, "open")  # a third of them did
    assert shapes.expression(0.5, "closed").opening < 0.5 * shapes.expression(0.5, "open").opening
    half, full = (shapes.displacement(shapes.expression(s)) for s in (0.5, 1.0))
    assert_allclose(2 * half, full)
    with pytest.raises(ParameterError, match="auto, open or closed, got 'wide'"):
        shapes.expression(1.0, "wide")


def test_a_mouth_that_nobody_opened() -> None:
    before, after = pairs()
    shut = ~is_open(after, LIPS)
    shapes = Shapes.fit(ShapeSums.zeros(len(face())).update(before[shut], after[shut], LIPS), (SIDE, SIDE), LIPS)
    assert shapes.expression(1.0) == shapes.expression(1.0, "closed")
    assert MouthRegion.of(shapes) is None
    with pytest.raises(ParameterError, match="none of the training targets had an open mouth"):
        shapes.expression(1.0, "open")


@pytest.mark.parametrize("lips", [None, LIPS])
def test_faces_that_do_not_move_are_left_alone(lips: Lips | None) -> None:
    before, _ = pairs()
    shapes = Shapes.fit(ShapeSums.zeros(len(face())).update(before, before, lips), (SIDE, SIDE), lips)
    assert not shapes.displacement(shapes.expression(1.0)).any()


def test_sums_without_pairs_or_of_a_line_are_refused() -> None:
    with pytest.raises(DataError, match="no pair of photographs has landmarks"):
        Shapes.fit(ShapeSums.zeros(3), (SIDE, SIDE))
    line = np.arange(10.0)[np.newaxis, :, np.newaxis] * [3.0, 1.0]
    with pytest.raises(DataError, match="lie on a line"):
        Shapes.fit(ShapeSums.zeros(10).update(line, line + 1), (SIDE, SIDE))


def test_a_mouth_is_open_by_a_share_of_its_width() -> None:
    gap = OPEN * 16  # of a face that is 16 pixels wide between the corners
    points = np.stack([face(8, gap / 2 * scale) for scale in (0.99, 1.01)])
    assert is_open(points, LIPS).tolist() == [False, True]


@pytest.mark.parametrize("box", [3, 7])
def test_detail_is_an_image_less_its_blur(box: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 15, 2))
    blurred = image.astype(float)
    for _ in range(2):
        blurred = ndimage.uniform_filter(blurred, (box, box, 1), mode="nearest")
    assert_allclose(detail(image, box) / box**4, image - blurred, atol=1e-9)


def test_the_picture_of_a_mouth_is_the_mean_with_the_detail_of_real_ones() -> None:
    shapes = shapes_of()
    region = MouthRegion.of(shapes)
    assert region is not None
    images = pictures(6)[:, *region.window.slices]
    sums = (
        MouthSums.zeros(region, 3)
        .update(images[:2], region)
        .lit(lights(6)[:4])
        .merge(MouthSums.zeros(region, 3).lit(lights(6)[4:]).update(images[2:], region))
    )
    mouth = Mouth.fit(sums, region, 255)
    assert mouth is not None
    lips = region.mask > 0
    mean = images.mean(axis=0)
    real = np.sqrt(np.mean([(detail(i.astype(int), region.box) / region.box**4)[lips] ** 2 for i in images]))
    kept = detail(np.rint(mean).astype(int), region.box) / region.box**4
    gain = LIFT * (real / np.sqrt((kept[lips] ** 2).mean()) - 1)
    assert gain > 0.1
    assert_allclose(mouth.picture, np.clip(mean + gain * kept * region.mask[..., None], 0, 255) / 255, atol=1e-6)
    inside, around = (images[:, part].mean(axis=(1, 2)) / 255 for part in (region.core, region.around))
    slope = np.polyfit(around, inside, 1)[0]
    assert_allclose(mouth.tint, np.clip(slope, 0, 1), atol=1e-9)
    assert_allclose(mouth.tone, around.mean())
    light = lights(6) / 255
    assert_allclose(mouth.dim, light.mean(axis=0) - 2 * light.std(axis=0))
    assert Mouth.fit(MouthSums.zeros(region, 3), region, 255) is None


def test_mouths_that_are_all_alike_are_shown_as_they_are() -> None:
    shapes = shapes_of()
    region = MouthRegion.of(shapes)
    assert region is not None
    one = pictures(1)[:, *region.window.slices]
    sums = MouthSums.zeros(region, 3).update(one, region).lit(lights(1))
    mouth = Mouth.fit(sums.update(one, region).lit(lights(1)), region, 255)
    assert mouth is not None
    assert_array_equal(to_pixels(mouth.picture, np.uint8), one[0])
    assert mouth.tint == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("with_mouth", [False, True])
@pytest.mark.parametrize("side", [SIDE, 3 * SIDE])
def test_strength_0_gives_the_photograph_bit_for_bit(dtype: type, with_mouth: bool, side: int) -> None:
    shapes = shapes_of()
    morph = Morph(shapes, weights_of(), mouth_of(shapes) if with_mouth else None)
    photograph = pictures(1, side=side)[0].astype(dtype) * (257 if dtype is np.uint16 else 1)
    made = morph.apply(photograph, control(shapes, face() * side / SIDE), shapes.expression(0.0))
    assert_array_equal(to_pixels(made, dtype), photograph)
    nearly = morph.apply(photograph, control(shapes, face() * side / SIDE), Expression(1e-12, 0.0))
    assert_allclose(nearly, made, atol=1e-4)


def test_far_from_the_face_the_photograph_stays() -> None:
    shapes = shapes_of()
    morph = Morph(shapes, weights_of(), mouth_of(shapes))
    photograph = pictures(1, side=4 * SIDE)[0]
    made = to_pixels(morph.apply(photograph, control(shapes, face() + 100), shapes.expression(1.0)), np.uint8)
    changed = (made != photograph).any(axis=-1)
    y, x = np.nonzero(changed)
    assert changed.any()
    assert min(y.min(), x.min()) > 100 - 20
    assert max(y.max(), x.max()) < 100 + SIDE + 20


def test_a_stronger_expression_is_a_larger_change() -> None:
    shapes = shapes_of()
    morph = Morph(shapes, weights_of(), mouth_of(shapes))
    photograph = pictures(1)[0]
    made = [morph.apply(photograph, control(shapes, face()), shapes.expression(s)) for s in (0.0, 0.25, 0.5, 1.0, 1.5)]
    errors = [float(((each - made[0]) ** 2).mean()) for each in made]
    assert errors == sorted(set(errors))


def test_what_is_learnt_is_added_in_proportion_to_the_strength() -> None:
    shapes = shapes_of()
    morph = Morph(shapes, weights_of(intercept=0.1))
    gray = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    made = morph.apply(gray, control(shapes, face()), Expression(0.6, 0.0), IDENTITY)
    assert_allclose(made[32, 32], 0.5 + 0.1 * 0.6 / shapes.mean_strength, atol=1e-6)


def test_lips_that_open_show_the_picture() -> None:
    shapes = shapes_of()
    mouth = mouth_of(shapes)
    white = Mouth(mouth.region, np.ones_like(mouth.picture), mouth.tone, 0.0, np.full(3, 1e-9))
    dark = np.full((SIDE, SIDE, 3), 25, np.uint8)
    morph = Morph(shapes, weights_of(intercept=0.0), white)
    own = control(shapes, face())
    shown = {name: morph.apply(dark, own, shapes.expression(1.0, name), IDENTITY) for name in ("open", "closed")}
    middle = shapes.reference[list(shapes.ring)].mean(axis=0).round().astype(int)
    assert_allclose(shown["open"][middle[1], middle[0]], 1.0, atol=0.05)
    bright = {name: (made > 0.5).sum() for name, made in shown.items()}
    assert bright["open"] > 3 * bright["closed"]


def test_in_a_dimmer_light_than_any_that_was_seen_the_picture_is_darker() -> None:
    mouth = mouth_of(shapes_of())
    canonical = np.full((SIDE, SIDE, 3), mouth.tone)
    for share, expected in ((0.25, 0.25), (1.0, 1.0), (2.0, 1.0)):
        assert_allclose(mouth.tinted(canonical, share * mouth.dim), expected * mouth.picture, atol=1e-6)


def test_the_light_of_a_face_is_almost_its_brightest_value() -> None:
    shapes = shapes_of()
    canonical = np.zeros((SIDE, SIDE, 1), np.uint8)
    assert light_of(canonical, shapes) == 0
    canonical[30:34, 20:44] = 200  # 1 pixel of 20 in the face
    canonical[0] = 255  # beyond it
    assert light_of(canonical, shapes) == 200


def test_a_larger_photograph_changes_as_a_smaller_one_does() -> None:
    shapes = shapes_of()
    morph = Morph(shapes, weights_of(), mouth_of(shapes))
    small = ndimage.gaussian_filter(pictures(1)[0].astype(np.float32) / 255, (2, 2, 0))
    large = ndimage.zoom(small, (3, 3, 1), order=3, grid_mode=True, mode="nearest").clip(0, 1)
    expression = shapes.expression(1.0)
    made = morph.apply(small, control(shapes, face()), expression)
    larger = morph.apply(large, control(shapes, face() * 3 + 1), expression)
    means = larger.reshape(SIDE, 3, SIDE, 3, 3).mean(axis=(1, 3))
    error, change = np.abs(means - made).mean(), np.abs(made - small).mean()
    assert error < 0.1 * change


def test_pairs_lie_on_each_other_in_the_canonical_frame() -> None:
    shapes = shapes_of()
    before, after = (points[0] for points in pairs())
    y, x = np.mgrid[:SIDE, :SIDE]
    for points in (before[shapes.control], shapes.registered(before, after)):
        spots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2) for px, py in points[[8, 9, 12, -1]])
        made = to_canonical(shapes, np.asarray(spots)[..., np.newaxis], points)[..., 0]
        for px, py in shapes.canonical[[8, 9, 12, -1]]:
            weight = made * (np.hypot(x - px, y - py) < 4)
            centre = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
            assert np.hypot(*(centre - (px, py))) < 0.4
