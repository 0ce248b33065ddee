"""The parts of a synthetic face but its hair, each painted onto a canvas."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mrdist.datasets._face_canvas import Canvas, Color, Floats, mix, smoothstep
from mrdist.datasets._face_traits import HEAD_TOP, HEAD_Y, Expression, Person

SHADOW: Color = (0.62, 0.50, 0.48)  # what a fold or a shadow leaves of a skin's colour
LINE: Color = (0.42, 0.28, 0.27)


def paint_background(canvas: Canvas, person: Person) -> None:
    """Gradient with a soft glow on the side of the light."""
    bright, dark = (np.array(color, np.float32)[:, None, None] for color in person.background)
    glow = canvas.spot(0.5 + 0.7 * person.light[0], 0.2, 0.6, 0.7)
    canvas.planes[...] = dark + glow * (bright - dark)


def paint_body(canvas: Canvas, person: Person) -> None:
    """Neck and shoulders."""
    canvas = canvas.window(0, 0.78, 1, 1)
    u = np.abs(canvas.x - 0.5)
    lit = 1 + 0.7 * person.light_side * (canvas.x - 0.5)
    neck = canvas.inside(u - 0.195 + 0 * canvas.y)
    canvas.paint(mix(person.skin, (90, 40, 30), 0.25), neck)
    shoulders = 0.915 + 0.25 * np.maximum(u - 0.19, 0) ** 1.3 + 0.12 * smoothstep((0.23 - u) / 0.1)
    cloth = canvas.below(shoulders)
    canvas.paint(person.clothes, cloth)
    canvas.shade((0.7, 0.7, 0.72), cloth * (1 - canvas.below(shoulders + 0.012, 0.01)))
    canvas.planes[...] *= 1 + cloth * (0.85 * lit - 1)
    neck *= 1 - cloth
    canvas.shade(SHADOW, neck * smoothstep((u - 0.09) / 0.14))
    canvas.shade(SHADOW, neck * canvas.ellipse(0.5, person.chin - 0.14, 0.36, 0.22, 0.10))


class Head(NamedTuple):
    """Position in units of the head's half axes, shape (h, w) or (h, 1); radius 1 is its outline."""

    u: Floats
    v: Floats
    radius: Floats


def head(canvas: Canvas, person: Person) -> Head:
    """Egg, tapered and squared towards the chin."""
    y = canvas.y - np.float32(HEAD_Y)
    v = np.where(y < 0, y / HEAD_TOP, y / (person.chin - HEAD_Y)).astype(np.float32)
    u = (canvas.x - 0.5) / person.width * (1 + person.jaw * np.maximum(v, 0) ** 2)
    uu, vv = u * u, v * v
    return Head(u, v, np.sqrt(np.maximum(uu + vv - person.square * np.minimum(uu, 1) * np.minimum(vv, 1), 0)))


def light(canvas: Canvas, person: Person, expression: Expression, shape: Head) -> tuple[Floats, Floats]:
    """Diffuse light and gloss on the relief of the face, arrays of shape (h, w)."""
    nose, cheek = person.nose_y, expression.cheeks
    lips, wide = expression.lips, expression.mouth_width
    middle = person.mouth_y - expression.mouth_lift
    top, bottom = middle - expression.gap_top, middle + expression.gap_bottom
    bumps = [  # height, centre x and y, spread x and y
        (0.026 * person.nose_height, 0.5, 0.48, 0.034, 0.110),
        (0.036 * person.nose_height, 0.5, nose - 0.022, 0.040, 0.036),
        (0.020, 0.5, 0.23, 0.20, 0.09),
        (0.008 * lips, 0.5, top - 0.012, 0.080 * wide, 0.012),
        (0.014 * lips, 0.5, bottom + 0.014, 0.070 * wide, 0.014),
        (-0.012, 0.5, bottom + 0.052, 0.070 * wide, 0.016),
        (0.026, 0.5, person.chin - 0.055, 0.075, 0.040),
        (-0.004, 0.5, top - 0.055, 0.012, 0.026),
    ]
    for side in (-1, 1):
        bumps += [
            (0.018, 0.5 + side * 0.85 * person.nose_width, nose - 0.010, 0.022, 0.022),
            (-0.030, 0.5 + side * 0.170, 0.405, 0.075, 0.040),
            (-0.014, 0.5 + side * 0.090, 0.400, 0.036, 0.045),
            (0.016, 0.5 + side * 0.180, 0.400, 0.055, 0.032),
            (0.014, 0.5 + side * 0.160, 0.335, 0.090, 0.026),
            (0.034 + 0.022 * cheek, 0.5 + side * 0.205, 0.575 - 0.020 * cheek, 0.085, 0.070),
        ]
    height, cx, cy, sx, sy = np.array(bumps, np.float32).T[:, :, None]
    du, dv = (canvas.x - cx) / sx, (canvas.y[:, 0] - cy) / sy
    across, down = height * np.exp(-0.5 * du * du), np.exp(-0.5 * dv * dv)
    # einsum without BLAS: the same sums for every number of threads.
    slope_x = np.einsum("nh,nw->hw", down, -across * du / sx)
    slope_y = np.einsum("nh,nw->hw", -down * dv / sy, across)
    dome = np.sqrt(np.maximum(1.10 - shape.radius**2, 0.10))
    slope_x -= np.float32(0.55) * shape.u / dome
    slope_y -= np.float32(0.42) * shape.v / dome

    lx, ly, lz = person.light
    steep = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    facing = (lz - lx * slope_x - ly * slope_y) * steep
    diffuse = person.ambient + (1 - person.ambient) * np.maximum(facing, 0) / np.float32(0.45 + 0.55 * lz)
    half = math.sqrt(2 + 2 * lz)  # length of the sum of the directions to the light and to the camera
    gloss = np.maximum((lz + 1 - lx * slope_x - ly * slope_y) * steep / half, 0)
    for _ in range(5):
        gloss *= gloss  # the 32nd power
    return diffuse, gloss


def paint_head(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Ears and the skin of the face with all that lies in it, then the light on it."""
    for side in (-1, 1):
        x = 0.5 + side * (person.width + 0.004)
        ear = canvas.window(x - 0.04, 0.39, x + 0.04, 0.56)
        tone = 0.86 + 0.16 * side * person.light_side
        ear.paint(mix((0, 0, 0), person.skin, tone), ear.ellipse(x, 0.475, 0.036, 0.075))
        ear.shade(SHADOW, 0.7 * ear.ellipse(x + side * 0.004, 0.472, 0.018, 0.05, 0.02))
    canvas = canvas.window(0.5 - person.width - 0.01, HEAD_Y - HEAD_TOP, 0.5 + person.width + 0.01, person.chin + 0.01)
    shape = head(canvas, person)
    cover = canvas.inside((shape.radius - 1) * np.float32(person.width))
    canvas.paint(person.skin, cover)
    paint_complexion(canvas, person, expression)
    if person.beard:
        _paint_beard(canvas, person, cover)
    paint_lips(canvas, person, expression)
    diffuse, gloss = light(canvas, person, expression, shape)
    shade = 1 - diffuse
    sheen = gloss * np.float32(16 + 0.04 * sum(person.skin) / 3)
    # Skin lets red light through: its shadows are warm.
    for plane, tint, warm in zip(canvas.planes, person.tint, (0.14, 0.0, -0.05), strict=True):
        plane *= 1 + cover * (diffuse * (1 + np.float32(warm) * shade) * np.float32(tint) - 1)
        plane += cover * sheen


def paint_complexion(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Colours and folds of the skin."""
    nose, wrinkle = person.nose_y, expression.nose_wrinkle
    red = (1.0, 0.74, 0.72)
    canvas.shade(red, person.blush * canvas.spot(0.5, nose - 0.01, 0.05, 0.04))
    for side in (-1, 1):
        cheek = canvas.window(*((0.08, 0.4, 0.5, 0.82) if side < 0 else (0.5, 0.4, 0.92, 0.82)))
        rosy = person.blush * (1 + 0.6 * expression.cheeks)
        cheek.shade(red, rosy * cheek.spot(0.5 + side * 0.21, 0.58 - 0.015 * expression.cheeks, 0.07, 0.055))
        tired = 0.16 + 0.25 * person.age**2 + 0.15 * expression.cheeks
        cheek.shade(SHADOW, tired * cheek.spot(0.5 + side * 0.165, 0.462, 0.06, 0.012))
        # Nasolabial fold, x as a function of y: a sharp inner and a soft outer edge.
        t = (cheek.y - nose + 0.015) / 0.16
        spread = (0.095 + 0.025 * expression.cheeks) * np.clip(t, 0.01, 1.3) ** 0.75
        along = side * (cheek.x - 0.5) - (person.nose_width + 0.022 + spread)
        strength = min(0.05 + 0.35 * person.age**2 + expression.folds, 1.0)
        ends = smoothstep(t / 0.25) * smoothstep((1.05 - t) / 0.5)
        fold = smoothstep(1 + along / 0.030) * smoothstep(1 - along / 0.014)
        cheek.shade(SHADOW, np.float32(0.75 * strength) * ends * fold)
        # Wing and nostril of the nose.
        wing_x, lift = 0.5 + side * person.nose_width, 0.008 * wrinkle
        wing = cheek.ellipse(wing_x, nose - 0.008 - lift, 0.026, 0.030, 0.012)
        bulge = cheek.ellipse(wing_x - side * 0.008, nose - 0.010 - lift, 0.026, 0.028, 0.02)
        cheek.shade(SHADOW, 0.5 * wing * (1 - bulge))
        nostril_x = 0.5 + side * 0.52 * person.nose_width
        cheek.shade(LINE, 0.85 * cheek.ellipse(nostril_x, nose + 0.006 - lift, 0.017, 0.008, 0.008))
        if wrinkle:
            canvas.shade(SHADOW, 0.4 * wrinkle * canvas.spot(0.5 + side * 0.050, 0.51, 0.018, 0.030))
    canvas.shade(SHADOW, 0.45 * canvas.spot(0.5, nose + 0.014, 0.6 * person.nose_width, 0.010))
    if wrinkle:
        bridge = canvas.window(0.40, 0.38, 0.60, 0.54)
        lines = 0.5 + bridge.waves(bridge.y - 2.5 * (bridge.x - 0.5) ** 2, (300.0,)) * 0.5
        bridge.shade(SHADOW, 0.65 * wrinkle * lines * bridge.spot(0.5, 0.45, 0.030, 0.030))
    if expression.furrow:
        for side in (-1, 1):
            furrow = canvas.spot(0.5 + side * 0.024, 0.315, 0.0055, 0.026)
            canvas.shade(SHADOW, 0.85 * expression.furrow * furrow)
    creases = min(expression.forehead * (0.35 + 0.4 * person.age) + 0.25 * person.age**3, 1.0)
    forehead = canvas.window(0.26, 0.17, 0.74, 0.29)
    waves = 0.5 + 0.5 * forehead.waves(forehead.y + 0.012 * np.cos(12 * (forehead.x - 0.5)), (200.0,))
    forehead.shade(SHADOW, 0.7 * creases * waves**3 * forehead.spot(0.5, 0.235, 0.085, 0.022))
    for x, y, strength in person.freckles:
        dot = canvas.window(x - 0.012, y - 0.012, x + 0.012, y + 0.012)
        dot.shade((0.78, 0.62, 0.52), strength * dot.ellipse(x, y, 0.004, 0.004, 0.004))


def _paint_beard(canvas: Canvas, person: Person, skin: Floats) -> None:
    u = np.abs(canvas.x - 0.5) / person.width
    cheek_line = person.mouth_y + 0.03 - 0.30 * smoothstep((u - 0.42) / 0.62) ** 1.5
    cover = canvas.below(cheek_line, 0.07)
    moustache = canvas.between(person.nose_y + 0.060 + 0.20 * u**2, person.mouth_y + 0.04 + 0 * u, 0.03)
    cover = np.maximum(cover, moustache * smoothstep((0.52 - u) / 0.20))
    fall = (canvas.x - 0.5) * (1 + 0.3 * canvas.y) + 0.004 * np.sin(47 * canvas.y)
    hairs = 0.88 + 0.24 * canvas.waves(fall, (190.0, 337.0, 523.0, 811.0), 1.3)
    canvas.paint(mix(person.hair, (60, 44, 40), 0.3), person.beard * skin * cover * hairs)


class Mouth(NamedTuple):
    """Curves y(x), arrays of shape (1, w): the lips' outer and inner edges, and the line between them."""

    top: Floats
    inner_top: Floats
    line: Floats
    inner_bottom: Floats
    bottom: Floats
    u: Floats  # from -1 to 1 between the corners


def mouth(canvas: Canvas, person: Person, expression: Expression) -> Mouth:
    """Curves of the mouth."""
    u = (canvas.x - 0.5) / (person.mouth_width * expression.mouth_width)
    arch = np.maximum(1 - u * u, 0)
    opening = arch ** (1 - 0.5 * expression.squareness)
    lift = expression.corner_lift
    line = person.mouth_y - expression.mouth_lift + lift * (0.35 - np.minimum(u * u, 1.2))
    inner_top, inner_bottom = line - expression.gap_top * opening, line + expression.gap_bottom * opening
    bow = 1 + 0.20 * np.exp(-(((np.abs(u) - 0.24) / 0.16) ** 2)) - 0.22 * np.exp(-((u / 0.10) ** 2))
    top = inner_top - person.upper_lip * expression.lips * arch**0.8 * bow
    bottom = inner_bottom + person.lower_lip * expression.lips * arch**0.7
    return Mouth(top, inner_top, line, inner_bottom, bottom, u)


def _mouth_window(canvas: Canvas) -> Canvas:
    return canvas.window(0.29, 0.64, 0.71, 0.92)


def paint_lips(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Both lips, before the light falls on them."""
    canvas = _mouth_window(canvas)
    curves = mouth(canvas, person, expression)
    within = smoothstep((1.04 - np.abs(curves.u)) / 0.08)
    upper = canvas.between(curves.top, curves.inner_top, 0.003) * within
    lower = canvas.between(curves.inner_bottom, curves.bottom, 0.005) * within
    arch = np.maximum(1 - 1.5 * curves.u**2, 0)
    canvas.shade(SHADOW, 0.45 * canvas.between(curves.bottom, curves.bottom + 0.022 * arch, 0.02))
    canvas.paint(mix(person.lip_color, (70, 20, 30), 0.16), upper)
    canvas.paint(person.lip_color, lower)
    height = (canvas.y - 0.5 * (curves.inner_bottom + curves.bottom)) / 0.007
    shine = np.exp(-((curves.u / 0.45) ** 2)) * np.exp(-height * height)
    canvas.paint((255, 235, 230), 0.22 * lower * shine)


def paint_mouth(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Line between the lips, or what an open mouth shows."""
    canvas = _mouth_window(canvas)
    curves = mouth(canvas, person, expression)
    width = person.mouth_width * expression.mouth_width
    inside = canvas.between(curves.inner_top, curves.inner_bottom)
    depth = smoothstep((canvas.y - curves.inner_top) / 0.03)
    canvas.paint((64, 18, 22), inside)
    canvas.shade((0.45, 0.4, 0.4), inside * (1 - depth))
    tongue = canvas.ellipse(0.5, person.mouth_y + expression.gap_bottom + 0.012, 0.62 * width, 0.040, 0.02)
    canvas.paint((168, 74, 76), 0.8 * inside * tongue)
    if expression.teeth:
        edge = curves.inner_top + expression.teeth * np.maximum(1 - 0.45 * curves.u**2, 0)
        teeth = inside * canvas.between(curves.inner_top - 0.02, edge, 0.002)
        canvas.paint((246, 241, 230), teeth)
        gaps = np.maximum(canvas.waves(canvas.x - 0.4915, (2 * math.pi / 0.034,)), 0)
        canvas.shade((0.80, 0.74, 0.70), 0.35 * teeth * gaps**4)
        corners = smoothstep((np.abs(curves.u) - 0.45) / 0.5)
        under_lip = 1 - smoothstep((canvas.y - curves.inner_top) / 0.010)
        canvas.shade((0.62, 0.52, 0.48), teeth * np.maximum(0.8 * corners, 0.35 * under_lip))
    thin = 0.0030 * np.sqrt(np.maximum(1.02 - curves.u**2, 0))
    seam = 0.5 * (curves.inner_top + curves.line)
    canvas.shade(LINE, 0.9 * canvas.between(seam - thin, seam + thin, 0.003))
    for side in (-1, 1):
        y = person.mouth_y - expression.mouth_lift - 0.65 * expression.corner_lift
        canvas.shade(SHADOW, 0.55 * canvas.spot(0.5 + side * width, y, 0.009, 0.009))


def paint_eyes(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Eyeballs, lids and lashes."""
    for side, (cx, cy) in zip((-1, 1), person.pupils, strict=True):
        eye = canvas.window(cx - 0.13, cy - 0.10, cx + 0.13, cy + 0.08)
        _paint_eye(eye, person, expression, side, cx, cy)


def _paint_eye(eye: Canvas, person: Person, expression: Expression, side: int, cx: float, cy: float) -> None:
    u = side * (eye.x - cx) / person.eye_width + 0.04
    arch = np.maximum(1 - u * u, 0)
    tilt = person.eye_tilt * u
    upper = cy + 0.010 - tilt - (person.eye_open * expression.upper_lid + 0.008) * arch**0.75 * (1 - 0.10 * u)
    lower = cy + 0.010 - tilt + (person.eye_open * 0.62 * expression.lower_lid) * arch**0.85 * (1 + 0.15 * u)
    ball = eye.between(upper, lower)
    ends = smoothstep((1.12 - np.abs(u)) / 0.3)
    # The fold of the lid, and the lid's own shade.
    crease = upper - 0.016 - 0.006 * arch
    eye.shade(SHADOW, 0.30 * ends * eye.between(crease, upper, 0.012))
    eye.shade(LINE, 0.50 * ends * eye.between(crease - 0.0022, crease + 0.0022, 0.005))
    bright = min(max(0.9 + 0.25 * side * person.light[0], 0.8), 1.0)
    eye.paint(mix((60, 40, 40), (244, 240, 236), bright), ball)
    eye.shade((0.86, 0.72, 0.68), ball * smoothstep((np.abs(u) - 0.55) / 0.45))
    dx, dy = (eye.x - cx), (eye.y - cy)
    radius = np.sqrt(dx * dx + dy * dy)
    iris = ball * eye.inside(radius - np.float32(0.039), 0.003)
    eye.paint(person.iris, iris)
    lit = np.clip(0.5 + (dy - dx * person.light_side) / 0.06, 0, 1) * smoothstep((radius - 0.012) / 0.01)
    eye.paint(mix(person.iris, (255, 226, 170), 0.42), 0.75 * lit * iris)
    eye.shade((0.35, 0.32, 0.34), iris * smoothstep((radius - 0.028) / 0.011))
    eye.paint((16, 12, 14), ball * eye.inside(radius - np.float32(0.0170), 0.003))
    eye.shade((0.45, 0.42, 0.46), ball * (1 - smoothstep((eye.y - upper) / 0.022)))
    glint = 0.012 * person.light_side
    eye.paint((255, 255, 255), 0.95 * ball * eye.ellipse(cx + glint, cy - 0.012, 0.0085, 0.0085, 0.003))
    eye.paint((255, 255, 255), 0.35 * ball * eye.ellipse(cx - glint, cy + 0.015, 0.006, 0.005, 0.004))
    # Lashes thicken towards the outer corner.
    lash = person.lashes * (0.55 + 0.45 * np.clip(u, -1, 1)) * ends
    eye.paint((30, 20, 20), 0.92 * eye.between(upper - lash - 0.0015 * ends, upper + 0.0035 * ends, 0.002))
    eye.shade(LINE, 0.55 * ends * eye.between(lower - 0.001, lower + 0.0025, 0.004))


def paint_brows(canvas: Canvas, person: Person, expression: Expression) -> None:
    """Eyebrows, of soft slanted hairs."""
    for side in (-1, 1):
        centre = 0.5 + side * 0.178
        brow = canvas.window(centre - 0.15, 0.20, centre + 0.15, 0.41)
        u = (side * (brow.x - centre) + expression.brow_inward) / 0.112
        inner = np.clip((1 - u) / 2, 0, 1.2)
        raised = expression.brow_inner * inner**1.5 + expression.brow_outer * (1 - inner)
        middle = person.brow_y + 0.010 - person.brow_arch * (1 - 0.8 * (u - 0.25) ** 2) - raised
        half = person.brow_thickness * np.sqrt(smoothstep((u + 1.10) / 0.5) * smoothstep((1.15 - u) / 1.6))
        cover = brow.between(middle - half, middle + half, 0.006)
        hairs = 0.90 + 0.16 * brow.waves(brow.x * side + 0.8 * (brow.y - middle), (331.0, 523.0, 811.0), 1.3)
        brow.paint(person.brow, 0.92 * cover * hairs)
