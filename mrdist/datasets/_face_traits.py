"""What makes a synthetic person, and what an expression does to a face."""

from __future__ import annotations

import colorsys
import math
from dataclasses import astuple, dataclass, replace

import numpy as np

from mrdist.datasets._face_canvas import Color, mix

HEAD_Y = 0.47  # centre of the head
HEAD_TOP = 0.44  # height of the skull above it

SKIN: tuple[Color, ...] = ((243, 209, 188), (230, 182, 150), (208, 154, 114), (160, 106, 74), (112, 72, 52))
DARK_HAIR: tuple[Color, ...] = ((34, 28, 30), (50, 36, 30), (74, 50, 38))
FAIR_HAIR: tuple[Color, ...] = ((112, 76, 48), (156, 110, 66), (214, 174, 112), (160, 78, 40), (64, 44, 34))
GRAY_HAIR: Color = (176, 174, 174)
DARK_EYES: tuple[Color, ...] = ((78, 48, 30), (104, 66, 36))
FAIR_EYES: tuple[Color, ...] = ((84, 124, 166), (92, 128, 84), (120, 138, 150), (126, 96, 52))
STYLES = ("short", "parted", "fringe", "bob", "long", "curly")


@dataclass(frozen=True)
class Expression:
    """Displacements in units of the side, factors of the neutral face, and strengths from 0 to 1."""

    brow_inner: float = 0.0  # raised, by this much
    brow_outer: float = 0.0
    brow_inward: float = 0.0
    upper_lid: float = 1.0  # opening above and below the pupil
    lower_lid: float = 1.0
    mouth_width: float = 1.0
    mouth_lift: float = 0.0
    corner_lift: float = 0.0
    gap_top: float = 0.0  # opening of the lips above and below their line
    gap_bottom: float = 0.0
    squareness: float = 0.0  # of the opening: 0 an almond, 1 a full oval
    lips: float = 1.0
    teeth: float = 0.0  # height of the upper row
    cheeks: float = 0.0
    folds: float = 0.0
    nose_wrinkle: float = 0.0
    furrow: float = 0.0
    forehead: float = 0.0

    def scaled(self, intensity: float) -> Expression:
        """Return the expression at another intensity; 0 is neutral."""
        pairs = zip(astuple(Expression()), astuple(self), strict=True)
        return Expression(*(neutral + intensity * (value - neutral) for neutral, value in pairs))


EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "afraid": Expression(
        brow_inner=0.040, brow_outer=0.012, brow_inward=0.006, upper_lid=1.42, lower_lid=1.1,
        mouth_width=1.16, corner_lift=-0.020, gap_top=0.014, gap_bottom=0.026, squareness=0.8, lips=0.85,
        teeth=0.016, folds=0.2, forehead=0.7,
    ),
    "angry": Expression(
        brow_inner=-0.036, brow_outer=0.010, brow_inward=0.013, upper_lid=0.80, lower_lid=0.72,
        mouth_width=0.94, corner_lift=-0.020, lips=0.55, folds=0.3, furrow=1.0, nose_wrinkle=0.2,
    ),
    "disgusted": Expression(
        brow_inner=-0.024, brow_outer=-0.010, brow_inward=0.007, upper_lid=0.68, lower_lid=0.50,
        mouth_width=1.02, mouth_lift=0.012, corner_lift=-0.030, gap_top=0.016, gap_bottom=0.006,
        squareness=0.6, lips=0.9, teeth=0.020, cheeks=0.5, folds=0.9, nose_wrinkle=1.0, furrow=0.4,
    ),
    "happy": Expression(
        brow_inner=0.004, brow_outer=0.006, upper_lid=0.90, lower_lid=0.55, mouth_width=1.26,
        mouth_lift=0.004, corner_lift=0.046, gap_top=0.008, gap_bottom=0.052, squareness=0.45, lips=0.85,
        teeth=0.040, cheeks=1.0, folds=0.7,
    ),
    "sad": Expression(
        brow_inner=0.036, brow_outer=-0.016, brow_inward=0.007, upper_lid=0.78, lower_lid=0.95,
        mouth_width=0.94, mouth_lift=0.006, corner_lift=-0.044, lips=1.0, folds=0.25, furrow=0.3,
        forehead=0.15,
    ),
    "surprised": Expression(
        brow_inner=0.046, brow_outer=0.046, upper_lid=1.50, lower_lid=1.15, mouth_width=0.64,
        mouth_lift=-0.016, gap_top=0.050, gap_bottom=0.060, squareness=1.0, lips=0.9, teeth=0.009,
        forehead=1.0,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Person:
    """Everything that a person keeps from photograph to photograph."""

    pupils: tuple[tuple[float, float], tuple[float, float]]
    width: float  # half of the face's
    chin: float
    jaw: float  # tapering of the lower face
    square: float
    age: float
    skin: Color
    light: Color  # direction, of length 1, towards the light
    ambient: float
    tint: Color
    hair: Color
    style: str
    hairline: float
    part: float
    volume: float
    brow: Color
    brow_y: float
    brow_thickness: float
    brow_arch: float
    iris: Color
    eye_width: float
    eye_open: float
    eye_tilt: float
    lashes: float
    nose_width: float
    nose_y: float
    nose_height: float
    mouth_y: float
    mouth_width: float
    corner_lift: float
    upper_lip: float
    lower_lip: float
    lip_color: Color
    blush: float
    beard: float
    freckles: tuple[tuple[float, float, float], ...]
    background: tuple[Color, Color]
    clothes: Color
    intensity: float

    @property
    def light_side(self) -> float:
        """-1 where the light comes from the left, 1 from the right."""
        return math.copysign(1, self.light[0])

    def expression(self, label: str) -> Expression:
        """Return the person's own version of an expression."""
        expression = EXPRESSIONS[label].scaled(self.intensity)
        return replace(expression, corner_lift=expression.corner_lift + self.corner_lift)


def draw_person(seed: int, number: int) -> Person:
    """Draw the person with this number from the population of a seed."""
    rng = np.random.default_rng([seed, number])

    def around(centre: float, spread: float) -> float:
        return float(centre + spread * min(max(rng.normal() / 2, -1), 1))

    def one_of(colors: tuple[Color, ...]) -> Color:
        return mix(colors[rng.integers(len(colors))], colors[rng.integers(len(colors))], 0.3 * rng.random())

    masculine = float(rng.random())
    age = float(rng.random())
    darkness = float(rng.random()) * (len(SKIN) - 1.001)
    skin = mix(SKIN[int(darkness)], SKIN[int(darkness) + 1], darkness % 1)
    skin = mix(skin, (skin[0], skin[1] * 0.96, skin[2] * 0.88), float(rng.random()))
    fair = darkness < 1.7 and rng.random() < 0.75
    hair = one_of(FAIR_HAIR if fair else DARK_HAIR)
    if age > 0.75 and rng.random() < 0.7:
        hair = mix(hair, GRAY_HAIR, around(0.65, 0.3))
    brow = mix(mix(hair, (40, 28, 24), 0.5), skin, 0.1)
    side = np.array([rng.choice([-1, 1]) * rng.uniform(0.08, 0.55), -rng.uniform(0.2, 0.5), 1.0])
    lx, ly, lz = (float(v) for v in side / np.linalg.norm(side))
    warmth = around(0, 0.05)
    hue = rng.random()
    back = colorsys.hsv_to_rgb(hue, rng.uniform(0.12, 0.42), rng.uniform(0.62, 0.92))
    cloth = colorsys.hsv_to_rgb((hue + rng.uniform(0.3, 0.7)) % 1, rng.uniform(0.2, 0.65), rng.uniform(0.25, 0.8))
    background: Color = (255 * back[0], 255 * back[1], 255 * back[2])
    freckled = darkness < 1.5 and rng.random() < 0.25
    spots = rng.normal(size=(36, 2)) * (0.15, 0.045) + (0.5, 0.56)
    styles = ("short", "short", "parted", "fringe", "curly") if masculine > 0.5 else STYLES[1:]
    return Person(
        pupils=(
            (0.32 + around(0, 0.003), 0.40 + around(0, 0.003)),
            (0.68 + around(0, 0.003), 0.40 + around(0, 0.003)),
        ),
        width=around(0.366 + 0.010 * masculine, 0.022),
        chin=around(0.945 + 0.014 * masculine, 0.018),
        jaw=around(0.34 - 0.16 * masculine, 0.08),
        square=around(0.20 + 0.24 * masculine, 0.12),
        age=age,
        skin=skin,
        light=(lx, ly, lz),
        ambient=around(0.54, 0.10),
        tint=(1 + warmth, 1 + 0.2 * warmth, 1 - warmth),
        hair=hair,
        style=str(rng.choice(styles)),
        hairline=around(0.155, 0.03),
        part=around(0, 0.16),
        volume=around(0.045, 0.02),
        brow=brow,
        brow_y=around(0.312, 0.008),
        brow_thickness=around(0.011 + 0.005 * masculine, 0.003),
        brow_arch=around(0.020 - 0.008 * masculine, 0.008),
        iris=one_of(FAIR_EYES if fair and rng.random() < 0.7 else DARK_EYES),
        eye_width=around(0.091, 0.006),
        eye_open=around(0.037, 0.004),
        eye_tilt=around(0.004, 0.006),
        lashes=around(0.009 - 0.005 * masculine, 0.001),
        nose_width=around(0.062 + 0.012 * (darkness / 4), 0.010),
        nose_y=around(0.615, 0.010),
        nose_height=around(1.0, 0.3),
        mouth_y=around(0.764, 0.007),
        mouth_width=around(0.128, 0.009),
        corner_lift=around(0.008, 0.006),
        upper_lip=around(0.021 - 0.005 * masculine, 0.004),
        lower_lip=around(0.029 - 0.005 * masculine, 0.005),
        lip_color=mix(skin, (168, 52, 62), around(0.50 - 0.16 * masculine, 0.10)),
        blush=around(0.30 - 0.10 * masculine, 0.15),
        beard=float(rng.choice([0, 0.35, 0.9], p=[0.5, 0.3, 0.2])) if masculine > 0.55 else 0.0,
        freckles=tuple((float(x), float(y), float(rng.uniform(0.3, 0.8))) for x, y in spots) if freckled else (),
        background=(mix(background, (255, 255, 255), 0.25), mix(background, (30, 30, 50), 0.25)),
        clothes=(255 * cloth[0], 255 * cloth[1], 255 * cloth[2]),
        intensity=around(0.98, 0.10),
    )
